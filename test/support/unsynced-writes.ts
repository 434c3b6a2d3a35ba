/**
 * What a cut of the power, or a kernel that dropped the pages of a failed sync, would have taken from a process that ran under strace: everything
 * written since the last good sync of its file.
 *
 *     900 pwritev(19</data/journal/0000000001.segment>, [...], 4, 64) = 73
 *     901 fdatasync(19</data/journal/0000000001.segment> <unfinished ...>
 *     900 pwrite64(20</data/journal/0000000001.segment>, ""..., 262144, 4096) = 262144
 *     901 <... fdatasync resumed>) = -1 EIO (Input/output error) (INJECTED)           both writes may be lost
 */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { overwrite } from './data-directory.js';

export interface Write {
  readonly path: string;
  readonly offset: number;
  readonly bytes: number;
}

interface Call {
  readonly name: string;
  readonly path: string;
  /** The arguments' text, from behind the file on. */
  readonly text: string;
  /** Line on which it began. */
  readonly line: number;
}

/** Sectors of a disk are written whole or not at all. */
const SECTOR_BYTES = 512;
const CALL = /^(\w+)\(\d+<([^>]+)>(.*)$/;
const RESULT = /\) += (-?\d+)/;

export interface TracedWrites {
  /** Writes to segments in all. */
  readonly count: number;
  /** Those that no later sync has covered: one that began before a write ended does not cover it. */
  readonly unsynced: readonly Write[];
}

/** Reads what strace has written. */
export function tracedWrites(tracePath: string): TracedWrites {
  /** By thread: null for a call that does not concern segments, so that its end is not taken for that of an earlier one. */
  const unfinished = new Map<string, Call | null>();
  let writes: (Write & { readonly line: number })[] = [];
  let count = 0;
  for (const [line, text] of readFileSync(tracePath, 'utf8').split('\n').entries()) {
    const [, thread, rest] = /^(\d+) +(.*)$/.exec(text) ?? [];
    if (thread === undefined) continue;
    const found = callOf(rest!, line);
    if (rest!.endsWith('<unfinished ...>')) unfinished.set(thread, found);
    const call = rest!.startsWith('<... ') ? unfinished.get(thread) : found;
    const result = Number(RESULT.exec(rest!)?.[1] ?? Number.NaN);
    if (call === null || call === undefined || !(result >= 0)) continue;
    if (call.name.endsWith('sync')) {
      writes = writes.filter((write) => write.path !== call.path || write.line >= call.line);
    } else {
      writes.push({ path: call.path, offset: offsetOf(call), bytes: result, line });
      count += 1;
    }
  }
  return { count, unsynced: writes.map(({ path, offset, bytes }) => ({ path, offset, bytes })) };
}

/** The call that a line begins, if it writes to or syncs a segment. */
function callOf(text: string, line: number): Call | null {
  const [, name, path, args] = CALL.exec(text) ?? [];
  if (name === undefined || !path!.endsWith('.segment')) return null;
  return ['pwrite64', 'pwritev', 'fdatasync', 'fsync'].includes(name) ? { name, path: path!, text: args!, line } : null;
}

/** The last argument. */
function offsetOf({ text }: Call): number {
  return Number(/, (\d+)(?:\)| <unfinished)/.exec(text)![1]);
}

/**
 * Takes the writes from the files, which have zeros there then, as they had before: the journal writes where nothing was or where zeros are. `isLost` is
 * asked for each sector.
 */
export function lose(writes: readonly Write[], isLost: () => boolean): void {
  for (const { path, offset, bytes } of writes) {
    const end = Math.min(offset + bytes, existsSync(path) ? statSync(path).size : 0);
    for (let at = offset; at < end; ) {
      const next = Math.min(end, (Math.floor(at / SECTOR_BYTES) + 1) * SECTOR_BYTES);
      if (isLost()) overwrite(path, at, Buffer.alloc(next - at));
      at = next;
    }
  }
}
