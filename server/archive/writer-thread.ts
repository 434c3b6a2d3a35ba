/** The thread that writes the archive: one request after the other, each answered when it is on disk. */
import { parentPort, workerData } from 'node:worker_threads';
import type { ResultSlice, Shelf } from './archive.js';
import { openDatabase } from './database.js';
import { ArchiveWriter, type Written } from './writer.js';

export type WriteRequest =
  | { readonly type: 'store'; readonly slice: ResultSlice }
  | { readonly type: 'keep'; readonly shelves: readonly Shelf[]; readonly idsBelow: number }
  | { readonly type: 'sweep'; readonly nowMs: number }
  /** The last one. */
  | { readonly type: 'close' };

export type WriteAnswer =
  | { readonly written: Written | null }
  | { readonly failure: { readonly code: string; readonly message: string } };

const { file } = workerData as { readonly file: string };
const port = parentPort!;
const database = openDatabase(file);
const writer = new ArchiveWriter(database);

function carryOut(request: WriteRequest): Written | null {
  switch (request.type) {
    case 'store':
      return writer.store(request.slice);
    case 'keep':
      return writer.keep(request.shelves, request.idsBelow);
    case 'sweep':
      return writer.sweep(request.nowMs);
    case 'close':
      database.close();
      port.close();
      return null;
    default:
      return request satisfies never;
  }
}

port.on('message', (request: WriteRequest) => {
  let answer: WriteAnswer;
  try {
    answer = { written: carryOut(request) };
  } catch (error) {
    const { code = 'INTERNAL_ERROR', message } = error as Error & { code?: string };
    answer = { failure: { code, message } };
  }
  port.postMessage(answer);
});
