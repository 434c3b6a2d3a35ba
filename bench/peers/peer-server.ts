import type { Target } from '../load/driver.js';
import type { Server } from '../load/server.js';
import type { TempDirectory } from '../run/temp-directory.js';
import type { PeerProcess } from './peer-process.js';

/** A peer that runs: its processes and its directory. */
export class PeerServer implements Server {
  readonly name: string;
  readonly version: string;
  readonly target: Target;
  readonly #process: PeerProcess;
  readonly #directory: TempDirectory;
  readonly #afterwards: () => Promise<void>;

  constructor(
    facts: { readonly name: string; readonly version: string; readonly target: Target },
    parts: {
      readonly process: PeerProcess;
      readonly directory: TempDirectory;
      /** What is to be ended after the server. */
      readonly afterwards?: () => Promise<void>;
    },
  ) {
    this.name = facts.name;
    this.version = facts.version;
    this.target = facts.target;
    this.#process = parts.process;
    this.#directory = parts.directory;
    this.#afterwards = parts.afterwards ?? (async () => undefined);
  }

  get died(): Promise<never> {
    return this.#process.died;
  }

  get pids(): readonly number[] {
    return this.#process.pids;
  }

  async close(): Promise<void> {
    await this.#process.stop();
    await this.#afterwards();
    await this.#directory.remove();
  }
}
