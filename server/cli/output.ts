/**
 * Standard output of a command. What is written in one turn of the event loop leaves in one write, and a write is over when the reader has accepted
 * it, so a slow reader slows the command down instead of filling the memory.
 */
import { once } from 'node:events';
import type { Writable } from 'node:stream';

/** Bytes waiting for the reader above which `lines` makes the caller wait. */
const WAITING_BYTES_MAX = 1_048_576;

/** Whoever read standard output has gone (EPIPE), as `head` does when it has seen enough. Nothing failed: a command that only prints is done. */
export class ReaderGone extends Error {
  readonly code = 'EPIPE';

  constructor(cause: Error) {
    super('Cannot print: nobody reads standard output any more', { cause });
    this.name = 'ReaderGone';
  }
}

export class Output {
  readonly isJson: boolean;
  readonly #stream: Writable;
  #gathered: string[] = [];
  #flush: Promise<void> | null = null;
  /** What a write failed with: the stream takes nothing after it, and never says that it has drained. */
  #failure: Error | null = null;

  /** `stream` is standard output unless a test says otherwise. */
  constructor(isJson: boolean, stream: Writable = process.stdout) {
    this.isJson = isJson;
    this.#stream = stream;
    // Failed writes are reported by their own callbacks; without a listener the stream would end the process.
    stream.on('error', () => undefined);
  }

  /** Prints a result that is one thing: `text` for people, `value` as one JSON document with --json. */
  async print(value: unknown, text: string): Promise<void> {
    await this.line(this.isJson ? JSON.stringify(value) : text);
  }

  /** Adds a line and resolves when the reader has accepted it. Rejects with ReaderGone, or the system's error (ENOSPC, EIO). */
  line(text: string): Promise<void> {
    this.#gathered.push(text);
    this.#flush ??= this.#write();
    return this.#flush;
  }

  /** Adds a line; resolves at once while little waits, else when the reader has caught up. */
  async item(text: string): Promise<void> {
    const written = this.line(text);
    if (this.#stream.writableLength > WAITING_BYTES_MAX) await written;
    else written.catch(() => undefined);
    if (this.#failure !== null) throw this.#failure;
  }

  /** Resolves when everything is accepted. */
  async end(): Promise<void> {
    await this.#flush;
    if (this.#stream.writableNeedDrain && this.#failure === null) await once(this.#stream, 'drain');
  }

  async #write(): Promise<void> {
    await null;
    const text = `${this.#gathered.join('\n')}\n`;
    this.#gathered = [];
    this.#flush = null;
    if (this.#failure !== null) throw this.#failure;
    await new Promise<void>((resolve, reject) => {
      this.#stream.write(text, (error) => {
        if (!error) return resolve();
        this.#failure ??= named(error);
        reject(this.#failure);
      });
    });
  }
}

function named(error: Error & { code?: string }): Error {
  return error.code === 'EPIPE' || error.code === 'ERR_STREAM_DESTROYED' ? new ReaderGone(error) : error;
}
