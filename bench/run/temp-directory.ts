import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { atEnd } from './cleanup.js';

/** A directory that is removed by `remove`, or at the end of the program unless it is kept. */
export interface TempDirectory {
  readonly path: string;
  remove(): Promise<void>;
  keep(): void;
}

/** A new directory below `parent`, by default the system's place for temporary files. */
export async function tempDirectory(parent: string = tmpdir()): Promise<TempDirectory> {
  await mkdir(parent, { recursive: true });
  const path = await mkdtemp(join(parent, 'lovage-bench-'));
  let isKept = false;
  const remove = atEnd(async () => {
    if (!isKept) await rm(path, { recursive: true, force: true, maxRetries: 3 });
  });
  const keep = (): void => {
    isKept = true;
  };
  return { path, remove, keep };
}
