import type { Server } from '../load/server.js';

/** Another broker, at the settings that its own documentation recommends for work that must not be lost. */
export interface Peer {
  /** For `--only` and file names. */
  readonly name: string;
  readonly title: string;
  /** What a confirm means. */
  readonly durability: string;
  /** Whether the messages' priorities are used. */
  readonly hasPriorities: boolean;
  /** Program that must be there, and the Debian package that it comes with. */
  readonly program: string;
  readonly debianPackage: string;
  /** The npm package that talks to it, null for a driver of our own. */
  readonly client: string | null;
  /** What was chosen, and why; one sentence. */
  readonly settings: string;
  /** Starts the server on a free port of 127.0.0.1 with a temporary directory. */
  start(directory: string | undefined): Promise<Server>;
}
