/** A server of somebody else: in a process group of its own, so that all of it can be ended, and nothing but it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, readdirSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { atEnd } from '../run/cleanup.js';
import { until } from '../run/delay.js';
import { Mishap } from '../run/mishap.js';

export interface PeerCommand {
  readonly program: string;
  readonly words: readonly string[];
  readonly variables?: Readonly<Record<string, string>>;
  /** Where it writes what it has to say. */
  readonly logDirectory: string;
}

const READY_MS = 60_000;
const STOP_MS = 10_000;

export class PeerProcess {
  readonly #child: ChildProcess;
  readonly #forget: () => Promise<void>;
  readonly #mishap = new Mishap();
  #isEnding = false;

  constructor({ program, words, variables = {}, logDirectory }: PeerCommand) {
    this.#child = spawn(program, words, {
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...variables },
    });
    const log = createWriteStream(join(logDirectory, 'peer.log'), { flags: 'a' });
    this.#child.stdout!.pipe(log, { end: false });
    this.#child.stderr!.pipe(log, { end: false });
    this.#child.on('exit', (code, signal) => {
      if (!this.#isEnding) this.#mishap.tell(new Error(`"${program}" ended by itself (${code ?? signal})`));
    });
    this.#forget = atEnd(() => this.#end('SIGKILL'));
  }

  /** Rejects when it ends without having been asked to. */
  get died(): Promise<never> {
    return this.#mishap.happened;
  }

  /** Every process of the group. */
  get pids(): readonly number[] {
    return processesOfGroup(this.#child.pid!);
  }

  /** Resolves when something accepts connections on the port. */
  async listensOn(port: number): Promise<void> {
    await until(`a server on port ${port}`, READY_MS, () => {
      if (this.#hasEnded) throw new Error(`Cannot use "${this.#child.spawnfile}": it ended (${this.#child.exitCode})`);
      return accepts(port);
    });
  }

  /** SIGTERM, and SIGKILL if that takes too long. */
  async stop(): Promise<void> {
    const late = setTimeout(() => void this.#end('SIGKILL'), STOP_MS);
    await this.#end('SIGTERM');
    clearTimeout(late);
    await this.#forget();
  }

  get #hasEnded(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    this.#isEnding = true;
    if (this.#child.pid === undefined || this.#hasEnded) return;
    const gone = once(this.#child, 'exit');
    process.kill(-this.#child.pid, signal);
    await gone;
  }
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.on('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}

/** Ids of all processes of a group. From /proc: the group is the third field behind the name in brackets. */
export function processesOfGroup(group: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^[0-9]+$/.test(name))
    .map(Number)
    .filter((pid) => groupOf(pid) === group);
}

function groupOf(pid: number): number | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[2]);
  } catch {
    return null;
  }
}
