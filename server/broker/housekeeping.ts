/**
 * Keeps the journal as short as what is alive: deletes segments from the head when nothing in them lives, and copies the few live messages of an old
 * segment forward, so that one stuck message never pins a gigabyte (rules W18, W19).
 *
 *     head ──► [1: dead][2: 3 live][3: dead][4: live][5: being written]
 *              delete    copy 3 messages to 5, then 2 and 3 go, too
 */
import type { Engine } from '../engine/engine.js';
import type { CompleteRecord, MovedMessage, MoveRecord, PublishRecord } from '../engine/record.js';
import { forEachRouted } from '../engine/routes.js';
import type { Journal, ReplayedRecord } from '../journal/journal.js';
import type { EffectRouter } from './effect-router.js';
import { RecordReader } from './record-codec.js';

/** Bytes of payload in one move record, and messages: with its history as a dead letter and its failed attempts a message has some 120 values, and a
 * head two million at most. */
const MOVE_BYTES = 256 * 1024;
const MOVE_MESSAGES = 8_192;
/**
 * The head is copied forward when more of the journal is dead than alive, and more than so many segments' worth. Copying sooner would buy disk with
 * time that publishes need: with priorities the messages of an old segment go in any order, and most of them would be gone soon anyway
 * (measured: below half alive in the head alone, a fifth of the broker's time went into copies; so far none).
 */
const DEAD_SEGMENTS = 4;
// Nor are more bytes copied than others append meanwhile. While publishes come in, that keeps the journal from growing, because a head that is mostly dead
// gives back more than it costs; and a long queue that is only drained is not copied again and again on its way to nothing (measured: it cost
// 10 of 12 us a message in the second half of a drain of 10 million with ten priorities).

/** The broker, which owns the gathering batch. */
export interface BatchOwner {
  /** Before the first record of a batch. */
  begin(): void;
  /** Something was staged and wants to be committed. */
  staged(): void;
}

interface Copy {
  readonly id: number;
  readonly segment: number;
  readonly offset: number;
  /** That of the copy before, if the two are of one message that went to several queues. */
  readonly payload: Uint8Array;
}

export class Housekeeping {
  readonly #engine: Engine;
  readonly #journal: Journal;
  readonly #router: EffectRouter;
  readonly #batch: BatchOwner;
  readonly #reader = new RecordReader();
  #work: Promise<void> = Promise.resolve();
  #isBusy = false;
  #isClosed = false;
  /** Segments below this had nothing alive when the batch under way was sealed. */
  #deadBelow = 0;
  #copies: Copy[] = [];
  #copiedBytes = 0;
  /** Bytes appended since most of the journal is dead, without copies and less the bytes copied. */
  #allowedBytes = 0;

  constructor(engine: Engine, journal: Journal, router: EffectRouter, batch: BatchOwner) {
    this.#engine = engine;
    this.#journal = journal;
    this.#router = router;
    this.#batch = batch;
  }

  /** A batch is being sealed: what is dead now is dead on disk when it is committed. */
  sealed(): void {
    const usage = this.#engine.state.table.journalUsage;
    let segment = this.#journal.firstSegment;
    while (segment < this.#journal.stagedSegment && usage.countOf(segment) === 0) segment++;
    this.#deadBelow = segment;
    this.#allowedBytes = this.#isMostlyDead() ? this.#allowedBytes + this.#journal.stagedBytes : 0;
  }

  /** A batch is on disk. */
  committed(): void {
    if (this.#isBusy || this.#isClosed) return;
    if (this.#deadBelow > this.#journal.firstSegment) this.#run(this.#reclaim(this.#deadBelow));
    else if (this.#wantsCopying()) this.#run(this.#copyHead());
  }

  /** Waits for what is under way; nothing new starts. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#work;
  }

  #run(work: Promise<void>): void {
    this.#isBusy = true;
    this.#work = work.finally(() => {
      this.#isBusy = false;
    });
  }

  async #reclaim(below: number): Promise<void> {
    await this.#journal.reclaim(below);
    this.#engine.state.table.journalUsage.forgetBelow(below);
  }

  #wantsCopying(): boolean {
    const liveBytes = this.#engine.state.table.journalUsage.bytesOf(this.#journal.firstSegment);
    return this.#allowedBytes >= liveBytes && this.#isMostlyDead();
  }

  #isMostlyDead(): boolean {
    const journal = this.#journal;
    if (journal.stagedSegment - journal.firstSegment <= DEAD_SEGMENTS) return false;
    const { bytes, segments } = journal.stats();
    const liveBytes = this.#engine.state.table.journalUsage.bytes;
    return bytes - liveBytes > Math.max(liveBytes, (DEAD_SEGMENTS * bytes) / segments);
  }

  /** Copies what lives in the head segment to the end of the journal; when that is on disk the head is dead. */
  async #copyHead(): Promise<void> {
    const head = this.#journal.firstSegment;
    await this.#journal.replaySegment(head, (record) => {
      this.#copyRecord(record);
      return !this.#isClosed;
    });
    this.#stageCopies();
  }

  #copyRecord(replayed: ReplayedRecord): void {
    const record = this.#reader.read(replayed);
    if (record.type === 'publish') {
      this.#copyPublished(record);
    } else if (record.type === 'complete') {
      const { batch, entries } = record;
      for (let e = 0; e < entries.length; e += 5)
        this.#copy(entries[e + 1]!, record, batch.payloadOffset[entries[e]!]!, replayed.body);
      if (record.follow !== null) this.#copyPublished(record.follow);
    } else if (record.type === 'move') {
      for (const message of record.messages) {
        this.#copy(message.id, record, message.offset, replayed.body);
      }
    }
  }

  #copyPublished(record: PublishRecord): void {
    const { batch, baseId, routes } = record;
    if (routes === null)
      for (let i = 0; i < batch.count; i++) this.#copy(baseId + i, record, batch.payloadOffset[i]!, batch.bytes);
    else
      forEachRouted(record, routes, (i, firstId, queues) => {
        for (let copy = 0; copy < queues.length; copy++)
          this.#copy(firstId + copy, record, batch.payloadOffset[i]!, batch.bytes);
      });
  }

  /** Message `id`, if it is alive and its payload begins at `start` of this record's body. */
  #copy(id: number, record: PublishRecord | MoveRecord | CompleteRecord, start: number, body: Uint8Array): void {
    const { segment } = record;
    const offset = record.offset + start;
    const message = this.#engine.movable(id, segment, offset);
    if (message === null) return;
    const last = this.#copies.at(-1);
    if (last !== undefined && last.segment === segment && last.offset === offset) {
      // Another copy of the same message: its bytes are there.
      this.#copies.push({ id, segment, offset, payload: last.payload });
    } else {
      if (this.#copiedBytes >= MOVE_BYTES) this.#stageCopies();
      // A copy: `body` is the reader's, and `slice` of a Buffer would only be another view of it.
      this.#copies.push({ id, segment, offset, payload: new Uint8Array(body.subarray(start, start + message.length)) });
      this.#copiedBytes += message.length;
    }
    if (this.#copies.length >= MOVE_MESSAGES) this.#stageCopies();
  }

  /** A message may have been settled or started since its bytes were read, so what is written of it is asked for now. */
  #stageCopies(): void {
    const messages: MovedMessage[] = [];
    const body = new Uint8Array(this.#copiedBytes);
    let length = 0;
    let written: Uint8Array | null = null;
    for (const copy of this.#copies) {
      const message = this.#engine.movable(copy.id, copy.segment, copy.offset);
      if (message === null) continue;
      if (copy.payload !== written) {
        written = copy.payload;
        body.set(written, length);
        length += written.length;
      }
      messages.push({ ...message, offset: length - written.length });
    }
    this.#copies = [];
    this.#copiedBytes = 0;
    if (messages.length === 0) return;
    this.#batch.begin();
    this.#engine.move(messages, body.subarray(0, length), this.#router);
    // The batch that these are staged in counts them as appended.
    this.#allowedBytes -= 2 * length;
    this.#batch.staged();
  }
}
