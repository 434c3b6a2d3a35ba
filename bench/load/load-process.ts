import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { atEnd } from '../run/cleanup.js';
import type { RoleName, RoleOptions } from './child.js';
import type { Target } from './driver.js';
import type { Calls } from './role.js';

const CHILD = fileURLToPath(new URL('./child.js', import.meta.url));
/** ms that closing may take before the process is killed. */
const CLOSE_MS = 10_000;

interface Waiting {
  readonly resolve: (result: never) => void;
  readonly reject: (error: Error) => void;
}

/** The parent's side of `child.ts`: one producer or consumer in a process of its own. */
export class LoadProcess {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, Waiting>();
  readonly #forget: () => Promise<void>;
  #lastNumber = 0;

  private constructor(name: string) {
    this.#child = fork(CHILD, { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
    this.#forget = atEnd(() => this.#child.kill('SIGKILL'));
    this.#child.on('message', (answer) => this.#answered(answer as { number: number; result: never; error?: string }));
    this.#child.on('exit', (code, signal) => this.#ended(new Error(`A ${name} process ended (${code ?? signal})`)));
  }

  /** Starts a process in a role and connects it. */
  static async start<R extends RoleName>(role: R, target: Target, options: RoleOptions[R]): Promise<LoadProcess> {
    const load = new LoadProcess(role);
    load.#child.send({ role, target, options }, () => undefined);
    await load.call('open');
    return load;
  }

  /** Starts several, one after the other. */
  static async startAll<R extends RoleName>(
    role: R,
    target: Target,
    options: readonly RoleOptions[R][],
  ): Promise<LoadProcess[]> {
    const processes: LoadProcess[] = [];
    for (const each of options) processes.push(await LoadProcess.start(role, target, each));
    return processes;
  }

  call<C extends keyof Calls>(call: C): Promise<Calls[C]> {
    const number = ++this.#lastNumber;
    return new Promise<Calls[C]>((resolve, reject) => {
      this.#waiting.set(number, { resolve, reject });
      // A process that is gone is told to who asks, not to the whole program.
      this.#child.send({ number, call }, (error) => {
        if (error !== null) reject(error);
      });
    });
  }

  /** Closes its connections and ends it. */
  async close(): Promise<void> {
    const gone = once(this.#child, 'exit');
    const late = setTimeout(() => this.#child.kill('SIGKILL'), CLOSE_MS);
    await this.call('close').catch(() => undefined);
    clearTimeout(late);
    await this.#forget();
    await gone;
  }

  #answered({ number, result, error }: { number: number; result: never; error?: string }): void {
    const waiting = this.#waiting.get(number);
    this.#waiting.delete(number);
    if (error === undefined) waiting?.resolve(result);
    else waiting?.reject(new Error(error));
  }

  #ended(error: Error): void {
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}
