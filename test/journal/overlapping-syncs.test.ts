/** Two syncs under way at a time: a commit's own, and that of the journal when it is about to delete segments. */
import { expect, test } from 'vitest';
import { type FileJournal, nodeStorage, openFileJournal, type Storage } from '../../server/journal/index.js';
import { eventually } from '../support/deadline.js';
import { tempDirectory } from '../support/temp-directory.js';

/** Syncs of the log's own descriptor end when the test says so; descriptors are told apart by what is written through them. */
class HeldSyncs {
  readonly held: (() => void)[] = [];
  readonly storage: Storage = {
    ...nodeStorage,
    open: (path, mode) => {
      const file = nodeStorage.open(path, mode);
      const datasync = file.datasync.bind(file);
      const writev = file.writev.bind(file);
      let isLog = false;
      return Object.assign(file, {
        writev: (parts: readonly Uint8Array[], position: number) => {
          isLog = path.endsWith('.segment');
          return writev(parts, position);
        },
        datasync: async () => {
          await datasync();
          if (isLog) await new Promise<void>((resolve) => this.held.push(resolve));
        },
      });
    },
  };

  async count(count: number): Promise<void> {
    await eventually(
      () => this.held.length,
      (length) => length === count,
      `${count} syncs under way`,
    );
  }

  /** Ends the sync that came `index`-th of those under way. */
  end(index: number): void {
    this.held.splice(index, 1)[0]!();
  }
}

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
