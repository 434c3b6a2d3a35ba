// hot path
/** Frames kept in memory for the messages in them: a frame goes when the last of its messages is released. Numbers are used again. */
export class FrameStore {
  readonly #frames: (Uint8Array | undefined)[] = [];
  readonly #holds: number[] = [];
  readonly #free: number[] = [];
  #bytes = 0;

  /** Bytes of all frames kept. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Keeps a frame, held once; returns its number. */
  add(frame: Uint8Array): number {
    const number = this.#free.pop() ?? this.#frames.length;
    this.#frames[number] = frame;
    this.#holds[number] = 1;
    this.#bytes += frame.length;
    return number;
  }

  hold(number: number): void {
    this.#holds[number]!++;
  }

  release(number: number): void {
    if (--this.#holds[number]! > 0) return;
    this.#bytes -= this.#frames[number]!.length;
    this.#frames[number] = undefined;
    this.#free.push(number);
  }

  get(number: number): Uint8Array {
    return this.#frames[number]!;
  }
}
