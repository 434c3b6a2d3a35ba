/** A broker in a process of its own, as `lovage start` runs it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { atEnd } from '../run/cleanup.js';
import { note } from '../run/progress.js';
import { type Build, buildIn, ROOT } from './build.js';

const LOG_CHARACTERS_MAX = 20_000;

export interface BrokerOptions {
  readonly dataDir: string;
  /** Default: any free one. */
  readonly port?: number;
  readonly flags?: readonly string[];
  /** Default: this checkout. */
  readonly build?: Build;
  /** Called when it ends without having been asked to, once it was ready; default: it is told on stderr. */
  readonly onDeath?: (error: Error) => void;
}

/** What the broker says when it is ready. */
interface ReadyFacts {
  readonly url: string;
  readonly pid: number;
}

/** What `GET /api/v1/overview` tells, as far as it is used here. */
export interface Overview {
  readonly version: string;
  readonly connections: number;
  readonly consumers: number;
  readonly messages: { readonly ready: number; readonly leased: number; readonly started: number };
  readonly journal: {
    readonly batches: number;
    readonly records: number;
    readonly syncs: number;
    readonly bytes: number;
  };
}

export class BrokerProcess {
  readonly url: string;
  readonly pid: number;
  /** ms from starting the process to its ready line. */
  readonly readyMs: number;
  readonly #child: ChildProcess;
  #isEnding = false;

  private constructor(child: ChildProcess, facts: ReadyFacts, readyMs: number) {
    this.#child = child;
    this.url = facts.url;
    this.pid = facts.pid;
    this.readyMs = readyMs;
  }

  /** Resolves when the broker has said that it is ready; rejects with what it wrote when it ends before. */
  static async start(options: BrokerOptions): Promise<BrokerProcess> {
    const { dataDir, port = 0, flags = [], build = buildIn(ROOT), onDeath = tellDeath } = options;
    const words = ['start', '--json', '--port', String(port), '--data-dir', dataDir, '--log-level', 'warn', ...flags];
    const startedMs = performance.now();
    const child = spawn(process.execPath, [build.command, ...words], { stdio: ['ignore', 'pipe', 'pipe'] });
    let broker: BrokerProcess | null = null;
    atEnd(() => (broker === null ? end(child, 'SIGKILL') : broker.kill()));
    const log = lastWords(child);
    child.on('exit', (code, signal) => {
      if (broker === null || broker.#isEnding) return;
      onDeath(new Error(`The broker ended by itself (${code ?? signal}): ${log()}`));
    });
    const facts = await readyFacts(child, log);
    broker = new BrokerProcess(child, facts, performance.now() - startedMs);
    return broker;
  }

  get port(): number {
    return Number(new URL(this.url).port);
  }

  /** SIGKILL: the process has no say. Resolves when it is gone. */
  kill(): Promise<void> {
    return this.#end('SIGKILL');
  }

  /** SIGTERM: the process ends when what it has taken is safe. */
  stop(): Promise<void> {
    return this.#end('SIGTERM');
  }

  async overview(): Promise<Overview> {
    const answer = await fetch(`${this.url.replace('ws:', 'http:')}/api/v1/overview`);
    if (!answer.ok) throw new Error(`Cannot ask the broker: HTTP ${answer.status}`);
    return (await answer.json()) as Overview;
  }

  #end(signal: NodeJS.Signals): Promise<void> {
    this.#isEnding = true;
    return end(this.#child, signal);
  }
}

function tellDeath({ message }: Error): void {
  note(message);
}

/** What a process has written to stderr last. */
function lastWords(child: ChildProcess): () => string {
  let log = '';
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    log = (log + text).slice(-LOG_CHARACTERS_MAX);
  });
  return () => log;
}

function readyFacts(child: ChildProcess, log: () => string): Promise<ReadyFacts> {
  return new Promise((resolve, reject) => {
    createInterface({ input: child.stdout! }).on('line', (line) => resolve(JSON.parse(line) as ReadyFacts));
    child.on('error', reject);
    child.on('close', (code, signal) => reject(new Error(`The broker ended (${code ?? signal}):\n${log()}`)));
  });
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  child.kill(signal);
  await gone;
}
