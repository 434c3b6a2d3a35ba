/** A `lovage` command that goes on while the test looks at what it prints. */
import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { atEnd } from '../support/cleanup.js';
import { within } from '../support/deadline.js';
import { type Ended, spawnCommand } from './command.js';

export class Running {
  readonly child: ChildProcessWithoutNullStreams;
  readonly #ended: Promise<Ended>;
  readonly #waiters = new Set<() => void>();
  #out = '';
  #error = '';

  constructor(words: readonly string[], variables: Record<string, string> = {}, wrapper: readonly string[] = []) {
    const child = spawnCommand(words, variables, wrapper);
    this.child = child;
    child.stdin.on('error', () => undefined);
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.#out += text;
      this.#wake();
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#error += text;
      this.#wake();
    });
    this.#ended = new Promise((resolve) => {
      child.on('close', (code, signal) => resolve({ code, signal, out: this.#out, error: this.#error }));
    });
    void this.#ended.then(() => this.#wake());
    atEnd(async () => {
      child.kill('SIGKILL');
      await this.#ended;
    });
  }

  /** Standard output so far. */
  get out(): string {
    return this.#out;
  }

  /** Standard error so far. */
  get error(): string {
    return this.#error;
  }

  /** Whole lines of standard output so far, each parsed as JSON. */
  get lines(): Record<string, unknown>[] {
    const lines = this.#out.split('\n').slice(0, -1);
    return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  }

  /** Waits until what was printed is as wanted. */
  async until(isMet: (running: this) => boolean, what: string): Promise<void> {
    let look: () => void = () => undefined;
    const met = new Promise<void>((resolve) => {
      look = () => {
        if (isMet(this)) resolve();
      };
    });
    this.#waiters.add(look);
    look();
    await within(met, () => `${what}; it printed:\n${this.#out}${this.#error}`);
    this.#waiters.delete(look);
  }

  signal(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  /** How it ended. */
  ended(): Promise<Ended> {
    return within(this.#ended, () => `the end of the command; it printed:\n${this.#out}${this.#error}`);
  }

  #wake(): void {
    for (const look of this.#waiters) look();
  }
}
