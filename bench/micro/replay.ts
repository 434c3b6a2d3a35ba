/** Recovery: the journal read and checked, without and with the state that is built from it. */

import { FrameReader, LIMITS, PublishBatch } from '@lovage/protocol';
import { Broker } from '@lovage/server/internal/broker/broker';
import { SYSTEM_CLOCK } from '@lovage/server/internal/broker/clock';
import { Outlet } from '@lovage/server/internal/broker/outlet';
import { Engine } from '@lovage/server/internal/engine/engine';
import { type FileJournal, openFileJournal } from '@lovage/server/internal/journal/index';
import { STANDARD } from '../load/standard.js';
import { whole } from '../report/format.js';
import { type TempDirectory, tempDirectory } from '../run/temp-directory.js';
import { FRAME_MESSAGES, PublishFrames, QUEUE } from './frames.js';
import type { Micro } from './micro.js';

const MESSAGES = 200_000;

export function replayMicros(seed: number, directory: string | undefined): readonly Micro[] {
  const data = new FilledJournal(seed, directory);
  const common = { unit: 'message', unitsPerRun: MESSAGES, unitBytes: STANDARD.bytes } as const;
  const life = { open: () => data.fill(), close: () => data.remove() };
  return [
    {
      ...common,
      ...life,
      name: `journal, replay of ${whole(MESSAGES)}`,
      async run() {
        const journal = await data.open();
        let records = 0;
        await journal.replay(() => {
          records++;
        });
        if (records < MESSAGES / FRAME_MESSAGES) throw new Error(`Cannot trust the replay: ${records} records`);
        await journal.close();
      },
    },
    {
      ...common,
      ...life,
      name: `broker, recovery of ${whole(MESSAGES)}`,
      async run() {
        const broker = brokerOn(await data.open());
        await broker.recover();
        const { size } = broker.engine.state.table;
        if (size !== MESSAGES) throw new Error(`Cannot trust the recovery: ${size} messages, expected ${MESSAGES}`);
        await broker.close();
      },
    },
  ];
}

/** A data directory with messages in it, written by a broker. */
class FilledJournal {
  readonly #seed: number;
  readonly #parent: string | undefined;
  #directory: TempDirectory | null = null;

  constructor(seed: number, parent: string | undefined) {
    this.#seed = seed;
    this.#parent = parent;
  }

  async fill(): Promise<void> {
    this.#directory = await tempDirectory(this.#parent);
    const broker = brokerOn(await this.open());
    await broker.recover();
    const outlet = new Outlet({ flush: (bucket) => bucket.clear(), superseded: () => undefined });
    const opening = { namespace: 'default', producer: null, resumeKey: null, lastTag: 0 } as const;
    const { session } = broker.open({ ...opening, type: 'open', key: 'micro' }, outlet);
    broker.submit({ type: 'declare', session, request: 1, name: QUEUE, settings: null, mode: 'check' });
    const frames = new PublishFrames(this.#seed);
    const batch = new PublishBatch();
    for (let done = 0; done < MESSAGES; done += FRAME_MESSAGES) {
      batch.scan(new FrameReader().open(frames.next()), LIMITS);
      broker.submit({ type: 'publish', session, batch });
      await broker.settle();
    }
    await broker.close();
  }

  /** The journal, to be closed by the caller. */
  open(): Promise<FileJournal> {
    return openFileJournal({ directory: this.#directory!.path, onFatal });
  }

  async remove(): Promise<void> {
    await this.#directory?.remove();
  }
}

function brokerOn(journal: FileJournal): Broker {
  return new Broker({ engine: new Engine({ messagesMax: MESSAGES * 2 }), journal, clock: SYSTEM_CLOCK });
}

function onFatal(error: Error): void {
  throw error;
}
