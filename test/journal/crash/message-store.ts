/**
 * The least that uses a journal as the broker does: messages are put, settled, copied forward and forgotten with their segment. What lives
 * follows from the records alone, so the same class says what should live and what a replay has made of it.
 *
 *     put         head: id                       body: the message
 *     settle      head: id
 *     move        head: id, bytes, id, bytes …   body: the messages one behind the other, copied from the oldest segment
 *     checkpoint  head: the next id              first record of each segment
 */
import type { FileJournal } from '../../../server/journal/index.js';

export const PUT = 1;
export const SETTLE = 2;
export const MOVE = 3;
export const CHECKPOINT = 4;

const NONE = Buffer.alloc(0);

/** A record as it was handed to the journal or came back from it. The bytes are copies. */
export interface StoredRecord {
  readonly type: number;
  readonly head: Buffer;
  readonly body: Buffer;
  readonly segment: number;
  readonly bodyOffset: number;
}

export interface Place {
  readonly segment: number;
  readonly offset: number;
  readonly length: number;
}

interface Copy extends Place {
  readonly id: number;
  readonly payload: Buffer;
}

const bodies = new Map<number, Buffer>();

/** The one body of a message: a length and bytes that no other id has, 12 bytes to 6 KiB. */
export function bodyOf(id: number): Buffer {
  let body = bodies.get(id);
  if (body === undefined) {
    let state = Math.imul(id, 0x9e37_79b1) >>> 0;
    body = Buffer.alloc(id % 11 === 0 ? 3000 + (state % 3000) : 12 + (state % 900));
    for (let at = 0; at < body.length; at += 1) {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      body[at] = state >>> 24;
    }
    bodies.set(id, body);
  }
  return body;
}

/** What lives after some records, and where. */
export class LiveMessages {
  readonly places = new Map<number, Place>();
  nextId = 1;

  apply({ type, head, body, segment, bodyOffset: offset }: StoredRecord): void {
    if (type === PUT) this.#put(head.readUInt32LE(0), { segment, offset, length: body.length });
    if (type === SETTLE) this.places.delete(head.readUInt32LE(0));
    if (type === MOVE) this.#move(head, segment, offset);
    if (type === CHECKPOINT) this.nextId = Math.max(this.nextId, head.readUInt32LE(0));
  }

  #put(id: number, place: Place): void {
    this.places.set(id, place);
    this.nextId = Math.max(this.nextId, id + 1);
  }

  #move(head: Buffer, segment: number, start: number): void {
    let offset = start;
    for (let at = 0; at < head.length; at += 8) {
      const length = head.readUInt32LE(at + 4);
      this.#put(head.readUInt32LE(at), { segment, offset, length });
      offset += length;
    }
  }
}

export class MessageStore {
  readonly live = new LiveMessages();
  readonly #journal: FileJournal;
  readonly #onStaged: (record: StoredRecord) => void;
  #copies: Copy[] = [];
  isCopying = false;

  /** `onStaged` sees every record in the journal's order. */
  constructor(journal: FileJournal, onStaged: (record: StoredRecord) => void) {
    this.#journal = journal;
    this.#onStaged = onStaged;
  }

  /** Before the first record of a batch. Copies that were read since the last one come first. */
  begin(): void {
    if (this.#journal.prepare()) this.#stage(CHECKPOINT, numbers(this.live.nextId), NONE);
    this.#stageCopies();
  }

  put(): void {
    const id = this.live.nextId;
    this.#stage(PUT, numbers(id), bodyOf(id));
  }

  settle(id: number): void {
    this.#stage(SETTLE, numbers(id), NONE);
  }

  /** Segments below this hold nothing that lives. */
  get deadBelow(): number {
    let first = this.#journal.stagedSegment;
    for (const { segment } of this.live.places.values()) first = Math.min(first, segment);
    return Math.max(first, this.#journal.firstSegment);
  }

  /** Reads what lives in the oldest segment; the next batch takes it along. */
  async copyHead(): Promise<void> {
    this.isCopying = true;
    const found: Copy[] = [];
    await this.#journal.replaySegment(this.#journal.firstSegment, ({ segment, bodyOffset, body }) => {
      for (const [id, place] of this.live.places) {
        const from = place.offset - bodyOffset;
        if (place.segment !== segment || from < 0 || from + place.length > body.length) continue;
        found.push({ id, ...place, payload: Buffer.from(body.subarray(from, from + place.length)) });
      }
      return true;
    });
    this.#copies = found;
    this.isCopying = false;
  }

  #stageCopies(): void {
    // Some may have been settled since they were read.
    const copies = this.#copies.filter(({ id, segment, offset }) => {
      const place = this.live.places.get(id);
      return place?.segment === segment && place.offset === offset;
    });
    this.#copies = [];
    if (copies.length === 0) return;
    const head = numbers(...copies.flatMap(({ id, length }) => [id, length]));
    this.#stage(MOVE, head, Buffer.concat(copies.map(({ payload }) => payload)));
  }

  #stage(type: number, head: Buffer, body: Buffer): void {
    const bodyOffset = this.#journal.stage(type, head, body);
    const record = { type, head, body, segment: this.#journal.stagedSegment, bodyOffset };
    this.live.apply(record);
    this.#onStaged(record);
  }
}

function numbers(...values: number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  for (const [index, value] of values.entries()) bytes.writeUInt32LE(value, 4 * index);
  return bytes;
}
