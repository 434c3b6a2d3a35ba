/** Two syncs under way at a time: a commit's own, and that of the journal when it is about to delete segments. */
import { expect, test } from 'vitest';
import { type FileJournal, openFileJournal } from '../../server/journal/index.js';
import { tempDirectory } from '../support/temp-directory.js';
import { HeldSyncs } from './held-syncs.js';

function commit(journal: FileJournal): Promise<void> {
  journal.prepare();
  journal.stage(1, new Uint8Array(0), new Uint8Array(10));
  return journal.commit();
}

test('a sync before deleting segments may come back after that of a later commit', async () => {
  const syncs = new HeldSyncs();
  const errors: Error[] = [];
  const journal = await openFileJournal({
    directory: tempDirectory(),
    storage: syncs.storage,
    onFatal: (error) => errors.push(error),
  });
  await journal.replay(() => undefined);
  const first = commit(journal);
  await syncs.count(1);
  const reclaimed = journal.reclaim(1);
  await syncs.count(2);
  syncs.end(0);
  await first;
  const second = commit(journal);
  await syncs.count(2);
  syncs.end(1);
  await second;
  syncs.end(0);
  await reclaimed;
  expect(errors).toEqual([]);
  expect(journal.isDurable(1, 64)).toBe(true);
  const third = commit(journal);
  await syncs.count(1);
  syncs.end(0);
  await third;
  expect(errors).toEqual([]);
  const closed = journal.close();
  await syncs.count(1);
  syncs.end(0);
  await closed;
});
