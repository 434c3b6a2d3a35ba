/** The journal by itself: batches of two PUBLISH frames, a write and a sync each, as a full window makes them. */
import { type FileJournal, openFileJournal } from '@lovage/server/internal/journal/index';
import { STANDARD } from '../load/standard.js';
import { type TempDirectory, tempDirectory } from '../run/temp-directory.js';
import { FRAME_MESSAGES, PublishFrames } from './frames.js';
import type { Micro } from './micro.js';

const FRAMES = 2;
/** The journal does not look at types and heads. */
const RECORD_TYPE = 1;
const HEAD = new Uint8Array(24);

export function journalAppendMicros(seed: number, directory: string | undefined): readonly Micro[] {
  return (['always', 'never'] as const).map((syncClass) => {
    const frame = new PublishFrames(seed).next();
    let data: TempDirectory;
    let journal: FileJournal;
    return {
      name: `journal, append and commit ${FRAMES * FRAME_MESSAGES}, sync ${syncClass}`,
      unit: 'message',
      unitsPerRun: FRAMES * FRAME_MESSAGES,
      unitBytes: STANDARD.bytes,
      async open() {
        data = await tempDirectory(directory);
        journal = await openFileJournal({ directory: data.path, onFatal, syncClass });
      },
      async run() {
        // A new segment begins with a record of its own.
        if (journal.prepare()) journal.stage(RECORD_TYPE, HEAD);
        for (let i = 0; i < FRAMES; i++) journal.stage(RECORD_TYPE, HEAD, frame);
        await journal.commit();
        if (journal.stagedSegment - journal.firstSegment > 1) await journal.reclaim(journal.stagedSegment - 1);
      },
      async close() {
        await journal.close();
        await data.remove();
      },
    };
  });
}

function onFatal(error: Error): void {
  throw error;
}
