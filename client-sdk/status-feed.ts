/** The states of a client, for whoever wants to watch them. */
import type { LovageError } from '@lovage/protocol';

/** `connecting` at first, `connected`, `reconnecting` after a loss, `closed` for good. */
export type ConnectionState = 'connecting' | 'connected' | 'reconnecting' | 'closed';

/** The broker is short of `memory` or of `disk` and takes no messages; consuming goes on. */
export interface Blocked {
  readonly reason: string;
  /** ms after which it is worth trying from elsewhere; this client is told when it is over. */
  readonly retryAfterMs: number;
}

/** A state and why it was entered. */
export interface Status {
  readonly state: ConnectionState;
  /** What ended the last connection; null if nothing did (the first one, a wanted close). */
  readonly reason: LovageError | null;
  /** Why publishes wait, in state `connected`; null if they do not. */
  readonly blocked: Blocked | null;
}

/** States that one iterator keeps for a reader that does not come; the oldest are dropped. */
const KEPT_MAX = 256;

interface Reader {
  readonly kept: Status[];
  wake: (() => void) | null;
}

/** Async iterable of states: an iterator gets the present one first, then each change, and ends after `closed`. */
export class StatusFeed implements AsyncIterable<Status> {
  #current: Status = { state: 'connecting', reason: null, blocked: null };
  readonly #readers = new Set<Reader>();

  /** The present state. */
  get current(): Status {
    return this.#current;
  }

  /** A change of state. Called by the connection only. */
  enter(state: ConnectionState, reason: LovageError | null, blocked: Blocked | null = null): void {
    this.#current = { state, reason, blocked };
    for (const reader of this.#readers) {
      reader.kept.push(this.#current);
      if (reader.kept.length > KEPT_MAX) reader.kept.shift();
      reader.wake?.();
    }
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Status, void, undefined> {
    const reader: Reader = { kept: [this.#current], wake: null };
    this.#readers.add(reader);
    try {
      for (;;) {
        const status = reader.kept.shift();
        if (status === undefined) {
          await new Promise<void>((resolve) => {
            reader.wake = resolve;
          });
          reader.wake = null;
          continue;
        }
        yield status;
        if (status.state === 'closed') return;
      }
    } finally {
      this.#readers.delete(reader);
    }
  }
}
