import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { atEnd } from './cleanup.js';

/** A new empty directory, gone at the end of the test file. */
export function tempDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'lovage-test-'));
  atEnd(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}
