/** What any process of this machine has used, from Linux's /proc; null elsewhere. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

/** Fields of /proc/<pid>/stat behind the name in brackets (proc(5) counts from 1, with the name as the second). */
const UTIME_AT = 14 - 3;
const STIME_AT = 15 - 3;

let ticksPerSecond: number | null = null;

/** CPU seconds of a process since it began, its threads included. */
export function cpuSeconds(pid: number): number | null {
  const stat = readProc(pid, 'stat');
  if (stat === null) return null;
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  ticksPerSecond ??= Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));
  return (Number(fields[UTIME_AT]) + Number(fields[STIME_AT])) / ticksPerSecond;
}

/** Bytes of memory that a process has resident. */
export function residentBytes(pid: number): number | null {
  const found = /^VmRSS:\s+([0-9]+) kB$/m.exec(readProc(pid, 'status') ?? '');
  return found === null ? null : Number(found[1]) * 1_024;
}

/** Sums over processes; null when one of them cannot be read. */
export function sumOf(pids: readonly number[], read: (pid: number) => number | null): number | null {
  let sum = 0;
  for (const pid of pids) {
    const value = read(pid);
    if (value === null) return null;
    sum += value;
  }
  return sum;
}

function readProc(pid: number, file: string): string | null {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    return null;
  }
}
