/** A journal on a small disk, used as a broker uses it: publishes only while there is room, settlements always. */
import { setImmediate as turn } from 'node:timers/promises';
import { expect } from 'vitest';
import { type FileJournal, openFileJournal } from '../../server/journal/index.js';
import { DEADLINE_MS } from '../support/deadline.js';
import { tempDirectory } from '../support/temp-directory.js';
import { ManualClock } from './crash/manual-clock.js';
import { SmallDisk } from './small-disk.js';

const KIB = 1024;
export const MIB = 1024 * KIB;
export const CAPACITY_BYTES = 24 * MIB;
/** A quarter of the disk for settlements, a sixteenth as a margin. */
export const KEPT_BYTES = 6 * MIB;
export const MARGIN_BYTES = 1.5 * MIB;
export const PUBLISH_BYTES = 64 * KIB;
const SETTLE_BYTES = 8 * KIB;
/** The journal looks at the disk so often. ms */
const LOOK_MS = 250;

export class Service {
  readonly disk: SmallDisk;
  readonly directory: string;
  readonly fatal: Error[] = [];
  journal!: FileJournal;
  #clock = new ManualClock();
  #fail: (error: Error) => void = () => undefined;
  /** Never resolves; rejects when the journal has failed. */
  readonly #failed = new Promise<never>((_, reject) => {
    this.#fail = reject;
  });
  /** Acknowledged records: their number and length, oldest first. */
  readonly acknowledged: string[] = [];

  constructor(disk = new SmallDisk(CAPACITY_BYTES), directory = tempDirectory()) {
    this.disk = disk;
    this.directory = directory;
    this.#failed.catch(() => undefined);
  }

  static async started(disk?: SmallDisk): Promise<Service> {
    const service = new Service(disk);
    expect(await service.open()).toEqual([]);
    await service.look();
    return service;
  }

  /** Returns what was replayed. */
  async open(): Promise<string[]> {
    this.#clock = new ManualClock();
    this.journal = await openFileJournal({
      directory: this.directory,
      storage: this.disk,
      clock: this.#clock,
      segmentBytes: MIB,
      cacheBytes: MIB,
      onFatal: (error) => {
        this.fatal.push(error);
        this.#fail(error);
      },
    });
    const found: string[] = [];
    await this.journal.replay(({ head, body }) => found.push(`${Buffer.from(head).toString()} ${body.length}`));
    return found;
  }

  /** Lets the journal look at the disk, and do what it then wants to do, until nothing changes any more. */
  async look(): Promise<void> {
    this.#clock.advance(LOOK_MS);
    const endsAtMs = performance.now() + DEADLINE_MS;
    // From one step to the next it needs no turn of the event loop.
    for (let quietTurns = 0; quietTurns < 3; quietTurns = this.disk.pending === 0 ? quietTurns + 1 : 0) {
      await turn();
      if (performance.now() > endsAtMs) throw new Error('Waited for the end of the zeros written ahead');
    }
  }

  /** As the broker does it: refused when there is no room. */
  async publish(bytes = PUBLISH_BYTES): Promise<boolean> {
    if (!this.journal.hasRoom(bytes)) return false;
    await this.write(bytes);
    return true;
  }

  async settle(): Promise<void> {
    await this.write(SETTLE_BYTES);
  }

  async write(bytes: number): Promise<void> {
    this.journal.prepare();
    const name = String(this.acknowledged.length);
    this.journal.stage(1, Buffer.from(name), Buffer.alloc(bytes, name));
    await Promise.race([this.journal.commit(), this.#failed]);
    this.acknowledged.push(`${name} ${bytes}`);
  }

  /** Bytes published until it was refused. */
  async publishAll(): Promise<number> {
    let bytes = 0;
    while (await this.publish()) {
      bytes += PUBLISH_BYTES;
      expect(bytes).toBeLessThan(CAPACITY_BYTES);
      // What is written in the background goes on beside.
      await turn();
    }
    return bytes;
  }

  async settleAll(bytes: number): Promise<void> {
    for (let done = 0; done < bytes; done += SETTLE_BYTES) {
      await this.settle();
      if (done % (10 * SETTLE_BYTES) === 0) this.#clock.advance(LOOK_MS);
      await turn();
    }
  }

  /** Closes it and looks at what the next process finds. */
  async checkLog(first = 0): Promise<void> {
    await this.journal.close();
    this.disk.othersBytes = 0;
    expect(await this.open()).toEqual(this.acknowledged.slice(first));
    expect(this.journal.torn).toBe(null);
    await this.journal.close();
  }
}
