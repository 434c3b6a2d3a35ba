import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { atEnd } from '../run/cleanup.js';

const WORKER = fileURLToPath(new URL('./worker.js', import.meta.url));

/** The parent's side of `worker.ts`. */
export class WorkerProcess {
  readonly #child: ChildProcess;
  readonly #exit: Promise<unknown>;

  constructor(url: string) {
    this.#child = fork(WORKER, [url]);
    this.#exit = once(this.#child, 'exit');
    atEnd(() => this.#child.kill('SIGKILL'));
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Lets it finish what it has begun. */
  async stop(): Promise<void> {
    if (!this.isRunning) return;
    this.#child.send('stop');
    await this.#exit;
  }
}
