/** Another process that opens a data directory, with the built journal, as a broker does. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { atEnd } from '../support/cleanup.js';
import { within } from '../support/deadline.js';

const JOURNAL = new URL('../../server/dist/journal/index.js', import.meta.url).href;

/** Opens the directory, tells how that went, and stays. With a third word it first starts a process of its own. */
const PROGRAM = `
  import { spawn } from 'node:child_process';
  const { openFileJournal } = await import(process.argv[1]);
  const tell = (news) => process.stdout.write(JSON.stringify(news) + '\\n');
  try {
    const journal = await openFileJournal({ directory: process.argv[2], onFatal: (error) => { throw error; } });
    await journal.replay(() => undefined);
    const child = process.argv[3] === 'with a child'
      ? spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore', detached: true })
      : null;
    tell({ type: 'open', childPid: child?.pid ?? null });
    process.stdin.once('data', async () => {
      await journal.close();
      process.exit(0);
    });
  } catch (error) {
    tell({ type: 'refused', code: error.code, pid: error.pid, startedAt: error.startedAt, message: error.message });
    process.exit(1);
  }
`;

export interface OpenNews {
  readonly type: 'open';
  /** Of the process that it has started in turn. */
  readonly childPid: number | null;
}

export interface RefusedNews {
  readonly type: 'refused';
  readonly code: string;
  readonly pid: number | null;
  readonly startedAt: string | null;
  readonly message: string;
}

export class LockHolder {
  readonly news: OpenNews | RefusedNews;
  readonly #child: ChildProcess;
  readonly #exit: Promise<unknown>;

  private constructor(child: ChildProcess, exit: Promise<unknown>, news: OpenNews | RefusedNews) {
    this.#child = child;
    this.#exit = exit;
    this.news = news;
  }

  /** Resolves when the process has the directory or has been refused. */
  static async start(directory: string, ...words: readonly string[]): Promise<LockHolder> {
    const child = spawn(process.execPath, ['--input-type=module', '-e', PROGRAM, JOURNAL, directory, ...words], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    atEnd(() => {
      child.kill('SIGKILL');
    });
    const exit = once(child, 'exit');
    const lines = createInterface({ input: child.stdout! });
    const [line] = await within(once(lines, 'line'), 'word from the other process');
    const news: OpenNews | RefusedNews = JSON.parse(line);
    const { childPid } = news.type === 'open' ? news : { childPid: null };
    if (childPid !== null) atEnd(() => endOf(childPid));
    return new LockHolder(child, exit, news);
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** `kill -9`; resolves when the process is gone. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await within(this.#exit, 'the end of the other process');
  }

  /** Lets it close the journal and end. */
  async stop(): Promise<void> {
    this.#child.stdin!.write('stop\n');
    await within(this.#exit, 'the end of the other process');
  }
}

function endOf(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}
