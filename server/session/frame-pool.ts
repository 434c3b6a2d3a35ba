// hot path
/** Buffers for large frames, used again when the socket has taken them: at full speed a fresh one each time is a gigabyte in ten seconds to collect. */

/** Bytes of a pooled buffer. Larger frames are made for themselves, and so are small ones, which would waste it. */
const BUFFER_BYTES = 192 * 1024;
const POOLED_BYTES_MIN = 8 * 1024;
/** Buffers in use and free, 6 MiB together; what sockets that take nothing hold beyond them is not pooled. */
const BUFFERS_MAX = 32;

export class FramePool {
  readonly #make: (bytes: number) => Buffer;
  readonly #free: Buffer[] = [];
  #made = 0;

  /** `make` gives a buffer for good. */
  constructor(make: (bytes: number) => Buffer) {
    this.#make = make;
  }

  /** A buffer of at least so many bytes, whatever they were; null if the frame should be made for itself. */
  take(bytes: number): Buffer | null {
    if (bytes < POOLED_BYTES_MIN || bytes > BUFFER_BYTES) return null;
    const free = this.#free.pop();
    if (free !== undefined) return free;
    if (this.#made >= BUFFERS_MAX) return null;
    this.#made++;
    return this.#make(BUFFER_BYTES);
  }

  /** Its bytes have left. */
  give(buffer: Buffer): void {
    this.#free.push(buffer);
  }
}
