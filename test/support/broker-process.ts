/** A real broker in a process of its own, on a free port, as `lovage start` runs it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { QueueInfo } from '@lovage/protocol';
import { atEnd } from './cleanup.js';
import { within } from './deadline.js';
import { tempDirectory } from './temp-directory.js';

const COMMAND = fileURLToPath(new URL('../../server/bin/lovage.js', import.meta.url));
/** Characters of standard error that are kept. */
const LOG_CHARACTERS_MAX = 1_000_000;

export interface BrokerProcessOptions {
  /** A new temporary directory when absent. */
  readonly dataDir?: string;
  /** Further words of the command line. */
  readonly flags?: readonly string[];
  /** What stands before `node`: strace and its words. */
  readonly wrapper?: readonly string[];
  readonly variables?: Readonly<Record<string, string>>;
  /** Told of the process when it has been spawned, before it is ready: for killing it while it starts. */
  readonly onSpawn?: (broker: BrokerProcess) => void;
}

/** How a process ended: one of the two is null. */
export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface Finished {
  readonly exit: Exit;
  readonly stdout: string;
  readonly stderr: string;
}

/** A broker that ended before it was ready. */
export class StartError extends Error {
  readonly finished: Finished;

  constructor(finished: Finished) {
    super(`The broker ended before it was ready: ${JSON.stringify(finished.exit)}\n${finished.stderr}`);
    this.finished = finished;
  }
}

export class BrokerProcess {
  readonly dataDir: string;
  readonly exit: Promise<Exit>;
  readonly #child: ChildProcess;
  #url = '';
  #pid = 0;
  #stdout = '';
  #stderr = '';
  #ended: Exit | null = null;

  private constructor(dataDir: string, child: ChildProcess) {
    this.dataDir = dataDir;
    this.#child = child;
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-LOG_CHARACTERS_MAX);
    });
    this.exit = new Promise((resolve, reject) => {
      child.on('error', reject);
      child.on('close', (code, signal) => {
        this.#ended = { code, signal };
        resolve(this.#ended);
      });
    });
    this.exit.catch(() => undefined);
  }

  /** Resolves when the broker has said that it is ready; rejects with StartError when it ends before. */
  static async start(options: BrokerProcessOptions = {}): Promise<BrokerProcess> {
    const dataDir = options.dataDir ?? tempDirectory();
    const words = ['start', '--port', '0', '--data-dir', dataDir, '--json', ...(options.flags ?? [])];
    const broker = new BrokerProcess(dataDir, launch(words, options));
    atEnd(() => broker.kill().then(() => undefined));
    options.onSpawn?.(broker);
    await within(broker.#ready(), () => `the broker's ready line; its log so far:\n${broker.log}`);
    return broker;
  }

  /** `ws://127.0.0.1:<port>` */
  get url(): string {
    return this.#url;
  }

  /** Of the broker itself, not of what it is wrapped in. */
  get pid(): number {
    return this.#pid;
  }

  /** What it has written to standard error. */
  get log(): string {
    return this.#stderr;
  }

  get isRunning(): boolean {
    return this.#ended === null;
  }

  signal(signal: NodeJS.Signals): void {
    if (this.#ended !== null) return;
    if (this.#pid !== 0) process.kill(this.#pid, signal);
    else this.#child.kill(signal);
  }

  /** SIGKILL; resolves when the process is gone. */
  kill(): Promise<Exit> {
    this.signal('SIGKILL');
    return within(this.exit, 'the end of a killed broker');
  }

  /** SIGTERM; resolves when the process is gone. */
  stop(): Promise<Exit> {
    this.signal('SIGTERM');
    return within(this.exit, () => `the end of a broker that was told to stop; its log so far:\n${this.log}`);
  }

  /** Any document of the HTTP API. */
  async get<T>(path: string): Promise<T> {
    const answer = await fetch(`${this.#url.replace('ws:', 'http:')}${path}`).catch((cause: unknown) => {
      const end = this.#ended === null ? 'the broker runs' : `the broker ended with ${JSON.stringify(this.#ended)}`;
      throw new Error(`GET ${path}: no answer; ${end}; its log so far:\n${this.log}`, { cause });
    });
    if (!answer.ok) throw new Error(`GET ${path}: ${answer.status} ${await answer.text()}`);
    return (await answer.json()) as T;
  }

  queue(name: string, namespace = 'default'): Promise<QueueInfo> {
    return this.get<QueueInfo>(`/api/v1/queues/${encodeURIComponent(namespace)}/${encodeURIComponent(name)}`);
  }

  /** All queues of a namespace, or of all of them. */
  async queues(namespace?: string): Promise<QueueInfo[]> {
    const found: QueueInfo[] = [];
    for (let after: string | null = ''; after !== null; ) {
      const fields: string[] = ['limit=1000'];
      if (namespace !== undefined) fields.push(`namespace=${encodeURIComponent(namespace)}`);
      if (after !== '') fields.push(`after=${encodeURIComponent(after)}`);
      const page: { queues: QueueInfo[]; next: string | null } = await this.get(`/api/v1/queues?${fields.join('&')}`);
      found.push(...page.queues);
      after = page.next;
    }
    return found;
  }

  async #ready(): Promise<void> {
    const lines = createInterface({ input: this.#child.stdout! });
    const said = new Promise<void>((resolve, reject) => {
      lines.on('line', (line) => {
        this.#stdout += `${line}\n`;
        if (!line.startsWith('{')) return;
        const facts = JSON.parse(line) as { ready?: boolean; url: string; pid: number };
        if (facts.ready !== true) return;
        this.#url = facts.url;
        this.#pid = facts.pid;
        resolve();
      });
      this.exit.then((exit) => {
        reject(new StartError({ exit, stdout: this.#stdout, stderr: this.#stderr }));
      }, reject);
    });
    await said;
  }
}

/** Any command, to its end: what it printed and how it ended. */
export async function runCommand(words: readonly string[], options: BrokerProcessOptions = {}): Promise<Finished> {
  const child = launch(words, options);
  atEnd(() => {
    child.kill('SIGKILL');
  });
  let stdout = '';
  let stderr = '';
  child.stdout!.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const exit = new Promise<Exit>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => resolve({ code, signal }));
  });
  return {
    exit: await within(exit, () => `the end of "lovage ${words.join(' ')}"; ${stdout}${stderr}`),
    stdout,
    stderr,
  };
}

/** A broker that is expected to end before it is ready: how it ended. */
export async function startExpectingFailure(options: BrokerProcessOptions): Promise<Finished> {
  try {
    const broker = await BrokerProcess.start(options);
    await broker.kill();
  } catch (error) {
    if (error instanceof StartError) return error.finished;
    throw error;
  }
  throw new Error('The broker was ready, expected it to refuse to start');
}

function launch(words: readonly string[], { wrapper = [], variables = {} }: BrokerProcessOptions): ChildProcess {
  const [program, ...rest] = [...wrapper, process.execPath, COMMAND, ...words] as [string, ...string[]];
  const inherited = Object.entries(process.env).filter(([name]) => !/^(LOVAGE_|VITEST|NODE_OPTIONS)/.test(name));
  const child = spawn(program, rest, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...Object.fromEntries(inherited), ...variables },
  });
  return child;
}
