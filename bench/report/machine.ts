/** Where and what was measured, so that a number can be traced to its circumstances. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus, release, tmpdir, totalmem, type } from 'node:os';
import { ROOT } from '../broker/build.js';

export interface Circumstances {
  readonly date: string;
  readonly command: string;
  readonly commit: string;
  readonly node: string;
  readonly system: string;
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGib: number;
  /** File system of the brokers' data. */
  readonly disk: string;
}

export function circumstances(directory: string = tmpdir()): Circumstances {
  const [cpu] = cpus();
  return {
    date: new Date().toISOString(),
    command: ['npm run bench --', ...process.argv.slice(2)].join(' '),
    commit: commit(),
    node: process.version,
    system: `${distribution()} (${type()} ${release()})`,
    cpu: cpu?.model ?? 'unknown',
    cores: cpus().length,
    memoryGib: Math.round(totalmem() / 1_073_741_824),
    disk: said('stat', ['-f', '-c', '%T', directory]) ?? 'unknown',
  };
}

/** One line each, for people. */
export function circumstanceLines(facts: Circumstances): (readonly [string, string])[] {
  return [
    ['Command', facts.command],
    ['Commit', facts.commit],
    ['Date', facts.date],
    ['Machine', `${facts.cpu}, ${facts.cores} cores, ${facts.memoryGib} GiB, data on ${facts.disk}`],
    ['System', `${facts.system}, Node ${facts.node}`],
  ];
}

/** The commit, and whether what is measured differs from it. */
function commit(): string {
  const hash = said('git', ['-C', ROOT, 'rev-parse', '--short=12', 'HEAD']);
  if (hash === null) return 'unknown';
  return said('git', ['-C', ROOT, 'status', '--porcelain', '--untracked-files=no']) === ''
    ? hash
    : `${hash} with changes`;
}

function distribution(): string {
  try {
    return /^PRETTY_NAME="?([^"\n]+)/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? type();
  } catch {
    return type();
  }
}

function said(program: string, words: readonly string[]): string | null {
  try {
    return execFileSync(program, words, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  } catch {
    return null;
  }
}
