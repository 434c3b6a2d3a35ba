/** Faults of the disk in a real process: strace makes a system call fail, or kills the process in it. Linux only. */
import { spawnSync } from 'node:child_process';
import { test } from 'vitest';

/** Why strace cannot be used here, null if it can. */
const obstacle = findObstacle();

function findObstacle(): string | null {
  const { error, status, stderr } = spawnSync('strace', ['-f', '-qq', '-o', '/dev/null', 'true'], { encoding: 'utf8' });
  if (error !== undefined) return 'there is no strace; on Debian and Ubuntu: apt-get install strace';
  return status === 0 ? null : `strace may not trace here: ${stderr.trim().split('\n')[0]}`;
}

/** A test that is listed as skipped, with the reason in its name, where strace cannot be used. */
export function testWithStrace(name: string, run: () => Promise<void>, timeoutMs = 60_000): void {
  if (obstacle === null) test(name, run, timeoutMs);
  else test.skip(`${name} (skipped: ${obstacle})`, run);
}

/** System calls by what they do. A `?` stands before names that not every machine has. */
export const CALLS = {
  datasync: 'fdatasync',
  sync: 'fsync',
  write: 'pwrite64,pwritev',
  rename: '?rename,?renameat,?renameat2',
  unlink: '?unlink,?unlinkat',
} as const;

export interface Injection {
  readonly calls: string;
  /** What happens in the call: `error=EIO`, `signal=SIGKILL`, `delay_enter=<microseconds>`. */
  readonly fault: string;
  /** Which call of each thread it is, from 1; with a `+` behind it all from there on. */
  readonly when: string;
}

/** What stands before `node`, for `BrokerProcess`: a trace of everything that concerns the disk goes to `tracePath`. */
export function strace(tracePath: string, { calls, fault, when }: Injection): string[] {
  const traced = Object.values(CALLS).join(',');
  const inject = `inject=${calls}:${fault}:when=${when}`;
  return ['strace', '-f', '-qq', '-y', '-s', '0', '-o', tracePath, '-e', `trace=${traced}`, '-e', inject];
}
