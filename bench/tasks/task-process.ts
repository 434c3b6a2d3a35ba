/**
 * A producer or a worker: a process that says a line when it is ready and, if it is a producer, answers each line with a line.
 *
 *     ◄── ready
 *     ──► 1000            send so many tasks
 *     ◄── 8123456.25      all are sent; the first one at this moment, in ms of the clock that all processes share
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface, type Interface } from 'node:readline';
import { processesOfGroup } from '../peers/peer-process.js';
import { atEnd } from '../run/cleanup.js';
import { Mishap } from '../run/mishap.js';

export interface TaskCommand {
  readonly program: string;
  readonly words: readonly string[];
  readonly variables?: Readonly<Record<string, string>>;
}

const STOP_MS = 10_000;
const LOG_CHARACTERS_MAX = 4_000;

export class TaskProcess {
  readonly #child: ChildProcess;
  readonly #lines: Interface;
  readonly #forget: () => Promise<void>;
  readonly #mishap = new Mishap();
  #log = '';
  #isEnding = false;

  private constructor({ program, words, variables = {} }: TaskCommand) {
    // A group of its own, so that its children are counted and end with it.
    this.#child = spawn(program, words, { detached: true, env: { ...process.env, ...variables } });
    this.#lines = createInterface({ input: this.#child.stdout! });
    this.#child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.#log = (this.#log + text).slice(-LOG_CHARACTERS_MAX);
    });
    this.#child.on('error', this.#mishap.tell);
    this.#child.on('close', (code, signal) => {
      const how = `"${[program, ...words].join(' ')}" ended by itself (${code ?? signal}): ${this.#log}`;
      if (!this.#isEnding) this.#mishap.tell(new Error(how));
    });
    this.#forget = atEnd(() => this.#end('SIGKILL'));
  }

  /** Resolves when it has said that it is ready; rejects with what it wrote when it ends before. */
  static async start(command: TaskCommand): Promise<TaskProcess> {
    const made = new TaskProcess(command);
    await made.#line();
    return made;
  }

  /** Rejects when it ends without having been asked to. */
  get died(): Promise<never> {
    return this.#mishap.happened;
  }

  /** It and its children. */
  get pids(): readonly number[] {
    return processesOfGroup(this.#child.pid!);
  }

  /** Has a producer send so many tasks; resolves with the moment of the first call. */
  async send(count: number): Promise<number> {
    const answer = this.#line();
    this.#child.stdin!.write(`${count}\n`);
    return Number(await answer);
  }

  /** SIGTERM, and SIGKILL if that takes too long. */
  async stop(): Promise<void> {
    const late = setTimeout(() => void this.#end('SIGKILL'), STOP_MS);
    await this.#end('SIGTERM');
    clearTimeout(late);
    await this.#forget();
  }

  #line(): Promise<string> {
    const line = once(this.#lines, 'line') as Promise<[string]>;
    return Promise.race([line.then(([text]) => text), this.died]);
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    this.#isEnding = true;
    const { pid, exitCode, signalCode } = this.#child;
    if (pid === undefined || exitCode !== null || signalCode !== null) return;
    const gone = once(this.#child, 'exit');
    process.kill(-pid, signal);
    await gone;
  }
}
