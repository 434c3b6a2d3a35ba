/** The files of a folder, and what is to be done with each. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { opendir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';

export interface FoundFile {
  readonly path: string;
  readonly bytes: number;
}

const KIB = 1_024;

/** Small files overtake big ones. */
const PRIORITIES = [
  { bytesMax: 4 * KIB, priority: 9 },
  { bytesMax: 64 * KIB, priority: 6 },
  { bytesMax: KIB * KIB, priority: 3 },
] as const;

/** At most `limit` regular files below `folder`. Links are not followed. */
export async function* filesBelow(folder: string, limit: number): AsyncGenerator<FoundFile> {
  const folders = [folder];
  let found = 0;
  for (let next = folders.pop(); next !== undefined; next = folders.pop()) {
    for await (const entry of await opendir(next)) {
      const path = join(next, entry.name);
      if (entry.isDirectory()) folders.push(path);
      if (!entry.isFile()) continue;
      yield { path, bytes: (await stat(path)).size };
      if (++found >= limit) return;
    }
  }
}

/** Priority of a file's message, 0-9. */
export function priorityOf(bytes: number): number {
  return PRIORITIES.find(({ bytesMax }) => bytes <= bytesMax)?.priority ?? 0;
}

/** SHA-256 of a file in hex, or why it cannot be read: a result as well, and one that does not get better by trying again. */
export async function digestOf(path: string): Promise<string> {
  try {
    const hash = createHash('sha256');
    await pipeline(createReadStream(path), hash);
    return hash.digest('hex');
  } catch (error) {
    return `unreadable: ${(error as NodeJS.ErrnoException).code}`;
  }
}
