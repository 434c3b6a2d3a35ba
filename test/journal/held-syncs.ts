/** The real file system, but for syncs of the log: they come back when the test says so, and fail when it says so. */
import { nodeStorage, type Storage } from '../../server/journal/index.js';
import { eventually } from '../support/deadline.js';

export class HeldSyncs {
  /** Syncs under way; each comes back with the error that it is given. */
  readonly held: ((error?: Error) => void)[] = [];
  /** Descriptors are told apart by what is written through them: only those of the log write batches. */
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
          if (isLog)
            await new Promise<void>((resolve, reject) =>
              this.held.push((error) => (error ? reject(error) : resolve())),
            );
        },
      });
    },
  };

  /** Resolves when so many are under way. */
  async count(count: number): Promise<void> {
    await eventually(
      () => this.held.length,
      (length) => length === count,
      `${count} syncs under way`,
    );
  }

  /** Ends the sync that came `index`-th of those under way. */
  end(index: number, error?: Error): void {
    this.held.splice(index, 1)[0]!(error);
  }
}
