/**
 * What handlers tell of messages before they are done: the latest progress, and the last lines of a log. Kept in memory only, as long as the delivery is unsettled;
 * what is too many bytes together is told to whoever watches and not kept.
 */
import { LIMITS, type Note } from '@lovage/protocol';

/** Bytes of all notes together. */
const BYTES_MAX = 64 * 1024 * 1024;
/** Of a note beyond its progress and the characters of its lines, and of a line. */
const OVERHEAD_BYTES = 128;

export class Notes {
  readonly #notes = new Map<number, Note>();
  #bytes = 0;

  get isEmpty(): boolean {
    return this.#notes.size === 0;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** What has been told of a message, null for nothing. */
  of(id: number): Note | null {
    return this.#notes.get(id) ?? null;
  }

  /** A progress replaces the one before, lines are added. */
  add(id: number, { progress, log }: Note): void {
    const before = this.of(id);
    this.forget(id);
    const lines = [...(before?.log ?? []), ...log].slice(-LIMITS.logLinesMax);
    const note = { progress: progress ?? before?.progress ?? null, log: lines };
    const bytes = bytesOf(note);
    if (this.#bytes + bytes > BYTES_MAX) return;
    this.#bytes += bytes;
    this.#notes.set(id, note);
  }

  forget(id: number): void {
    const note = this.#notes.get(id);
    if (note === undefined) return;
    this.#notes.delete(id);
    this.#bytes -= bytesOf(note);
  }
}

/** Bytes that a note takes in memory and, about, on the wire. */
export function bytesOf({ progress, log }: Note): number {
  let bytes = OVERHEAD_BYTES + (progress?.[1].length ?? 0);
  for (const line of log) bytes += 2 * line.length + OVERHEAD_BYTES;
  return bytes;
}
