/** A broker under load, whichever it is. */
import type { Target } from './driver.js';

export interface Server {
  /** For people. */
  readonly name: string;
  readonly version: string;
  readonly target: Target;
  /** The processes that are the broker: their CPU time and memory are its own. */
  readonly pids: readonly number[];
  /** Rejects when it ends without having been asked to. */
  readonly died: Promise<never>;
  /** Ends it and removes its data. */
  close(): Promise<void>;
}
