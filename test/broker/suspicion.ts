/**
 * Clients that do random things over a journal that is held, and look at every frame at the moment at which it leaves: is what it rests on on disk?
 *
 *     CONFIRM, DUPLICATE   the publish of that id
 *     DELIVER              the publish of that id; if it was out before, what brought it back; in ack mode none its settlement; and those of one
 *                          queue and priority leave in the order in which they were decided
 *     SETTLED, REFUSED     the records of that frame and of all before
 *     REPLY, ERROR         the records of that request
 */
import assert from 'node:assert/strict';
import { CLIENT_OPS, decodeFrame, PUBLISH_FLAGS, readOp, SERVER_OPS } from '@lovage/protocol';
import { RecordReader } from '../../server/broker/record-codec.js';
import type { Random } from '../support/random.js';
import { rangesOf, tagsOf } from '../support/raw-client.js';
import { type HandClient, HandHarness } from './hand-harness.js';

const CLIENTS = 3;
const QUEUES = ['a', 'b'] as const;
const IN_MEMORY = 3;

interface Watched {
  readonly client: HandClient;
  /** Batch that the records of a request, of a settlement frame stand in; 0 if it has none. */
  readonly requests: Map<number, number>;
  readonly settlements: Map<number, number>;
  readonly publishes: Set<number>;
  /** Tags that may be settled. */
  readonly held: Map<number, number>;
  readonly isNone: boolean;
  lastSettled: number;
  /** By queue and priority: tag of the last delivery. */
  readonly lastTags: Map<string, number>;
}

export class Suspicion {
  readonly harness: HandHarness;
  /** Frames looked at. */
  heard = 0;
  readonly #random: Random;
  readonly #clients: Watched[] = [];
  readonly #reader = new RecordReader();
  /** Id -> batch of the record that stored it; of the last that brought it back; of its settlement. */
  readonly #stored = new Map<number, number>();
  readonly #returned = new Map<number, number>();
  readonly #settled = new Map<number, number>();
  /** The first frame that left too early, as an error. */
  #failure: unknown = null;
  /** Records that `#read` has seen. */
  #seen = 0;

  constructor(harness: HandHarness, random: Random) {
    this.harness = harness;
    this.#random = random;
  }

  static async start(random: Random): Promise<Suspicion> {
    const harness = await HandHarness.start();
    const suspicion = new Suspicion(harness, random);
    for (let i = 0; i < CLIENTS; i++) await suspicion.#connect(i === 0);
    harness.journal.isHeld = true;
    return suspicion;
  }

  /** Requests, publishes and settlements without an answer. */
  get unanswered(): number {
    return this.#clients.reduce(
      (sum, { requests, settlements, publishes }) => sum + requests.size + settlements.size + publishes.size,
      0,
    );
  }

  /** One thing that a client does. Throws what has been found since the last. */
  act(): void {
    this.check();
    const watched = this.#random.pick(this.#clients);
    const kind = this.#random.next();
    if (kind < 0.4) this.#publish(watched);
    else if (kind < 0.75) this.#settle(watched);
    else this.#ask(watched);
    this.#read();
  }

  /** Throws if a frame has left too early. */
  check(): void {
    if (this.#failure !== null) throw this.#failure;
  }

  async #connect(isNone: boolean): Promise<void> {
    const client = await this.harness.connect();
    const watched: Watched = {
      client,
      requests: new Map(),
      settlements: new Map(),
      publishes: new Set(),
      held: new Map(),
      isNone,
      lastSettled: 0,
      lastTags: new Map(),
    };
    client.declare(...QUEUES);
    client.consume(QUEUES, { prefetch: 4, ack: isNone ? 'none' : 'late' });
    await this.harness.turns();
    client.heard();
    this.#clients.push(watched);
    client.wire.onSend = (frame, taken) => {
      try {
        this.#look(watched, frame);
      } catch (error) {
        this.#failure ??= error;
      }
      taken?.();
    };
  }

  #publish({ client, publishes }: Watched): void {
    const random = this.#random;
    const isMemory = random.next() < 0.2;
    const messages = Array.from({ length: random.whole(1, 4) }, () => ({
      queue: random.pick(QUEUES),
      body: 'x'.repeat(random.next() < 0.03 ? 60_000 : random.whole(0, 50)),
      priority: random.whole(0, 3),
      // Keys of messages in memory are told of without a record, and would only make the books here longer.
      ...(!isMemory && random.next() < 0.3 && { dedupKey: `k${random.whole(0, 9)}` }),
    }));
    const firstSeq = client.publish(messages, isMemory ? PUBLISH_FLAGS.MEMORY : 0);
    for (let i = 0; i < messages.length; i++) publishes.add(firstSeq + i);
  }

  #settle({ client, held, settlements }: Watched): void {
    const tags = [...held.keys()].filter(() => this.#random.next() < 0.6).sort((a, b) => a - b);
    if (tags.length === 0) return;
    const { START, ACK, NACK, RELEASE } = CLIENT_OPS;
    const op = this.#random.pick([START, ACK, ACK, NACK, RELEASE]);
    const ids = new Set(tags.map((tag) => held.get(tag)!));
    if (op !== START) for (const tag of tags) held.delete(tag);
    const from = this.harness.journal.staged.length;
    // Some tags twice: the second time they are refused for what the first has done.
    const settleSeq = client.settle(op, [...rangesOf(tags), ...(this.#random.next() < 0.2 ? [tags[0]!, 1] : [])]);
    // A RELEASE writes nothing itself, but what it gives back may go out and be settled by that.
    settlements.set(settleSeq, op === RELEASE ? 0 : this.#batchOf(from, ids));
  }

  /** Batch of the records from `from` on that tell of one of these messages, 0 if none does. */
  #batchOf(from: number, ids: ReadonlySet<number>): number {
    for (const { batch, ...replayed } of this.harness.journal.staged.slice(from)) {
      const record = this.#reader.read(replayed);
      if (record.type === 'settle' && tagsOf(record.ids).some((id) => ids.has(id))) return batch;
      if (
        (record.type === 'start' || record.type === 'return') &&
        record.entries.some((id, i) => i % 3 === 0 && ids.has(id))
      )
        return batch;
    }
    return 0;
  }

  #ask({ client, requests }: Watched): void {
    const random = this.#random;
    const records = this.harness.journal.staged.length;
    const batch = this.harness.journal.gatheringBatch;
    const { QUEUE_DECLARE, QUEUE_PAUSE, QUEUE_RESUME, QUEUE_INSPECT, QUEUE_PURGE } = CLIENT_OPS;
    const op = random.pick([QUEUE_DECLARE, QUEUE_PAUSE, QUEUE_RESUME, QUEUE_RESUME, QUEUE_INSPECT, QUEUE_PURGE]);
    const isNew = op === QUEUE_DECLARE && random.next() < 0.5;
    const name = isNew ? `q${random.whole(0, 99)}` : random.pick(QUEUES);
    const request = op === QUEUE_DECLARE ? client.ask(op, name, null) : client.ask(op, name);
    requests.set(request, this.harness.journal.staged.length > records ? batch : 0);
  }

  /** The records that were written since, into the books. */
  #read(): void {
    const { staged } = this.harness.journal;
    for (; this.#seen < staged.length; this.#seen++) {
      const { batch, ...replayed } = staged[this.#seen]!;
      const record = this.#reader.read(replayed);
      if (record.type === 'publish') {
        for (let i = 0; i < record.batch.count; i++) this.#stored.set(record.baseId + i, batch);
      } else if (record.type === 'return') {
        for (let i = 0; i < record.entries.length; i += 3) this.#returned.set(record.entries[i]!, batch);
      } else if (record.type === 'settle') {
        for (const id of tagsOf(record.ids)) this.#settled.set(id, batch);
      }
    }
  }

  #look(watched: Watched, frame: Uint8Array): void {
    this.#read();
    this.heard++;
    const fields = decodeFrame(frame).slice(1);
    const look = LOOKS[readOp(frame)];
    assert.ok(look !== undefined, `op ${readOp(frame)} was expected`);
    look(this, watched, fields);
  }

  confirmed(watched: Watched, [firstSeq, count, firstId, durability]: number[]): void {
    for (let i = 0; i < count!; i++) {
      assert.ok(watched.publishes.delete(firstSeq! + i), `publish ${firstSeq! + i} is answered once`);
      if (durability !== IN_MEMORY)
        this.#assertSafe(this.#stored.get(firstId! + i), `confirm of message ${firstId! + i}`);
    }
  }

  duplicate(watched: Watched, [seq, id]: number[]): void {
    assert.ok(watched.publishes.delete(seq!), `publish ${seq} is answered once`);
    this.#assertSafe(this.#stored.get(id!), `duplicate of message ${id}`);
  }

  delivered(watched: Watched, [, deliveries]: [number, unknown[][]]): void {
    for (const [tag, id, queueIndex, priority, attempt, redelivered] of deliveries as [
      number,
      number,
      number,
      number,
      number,
      boolean,
    ][]) {
      const stored = this.#stored.get(id);
      if (stored !== undefined) this.#assertSafe(stored, `delivery of message ${id}`);
      const returned = this.#returned.get(id);
      if (attempt > 1 && returned !== undefined) {
        assert.ok(redelivered);
        this.#assertSafe(returned, `delivery ${attempt} of message ${id}`);
      }
      // Messages in memory may overtake those that wait for the disk.
      if (stored !== undefined) {
        const place = `${queueIndex} ${priority}`;
        const last = watched.lastTags.get(place) ?? 0;
        assert.ok(tag > last, `delivery ${tag} comes behind delivery ${last} of its queue and priority (P3)`);
        watched.lastTags.set(place, tag);
      }
      // A message that is settled by being sent must not come again.
      if (watched.isNone && stored !== undefined)
        this.#assertSafe(this.#settled.get(id), `last delivery of message ${id}`);
      watched.held.set(tag, id);
    }
  }

  settled(watched: Watched, settleSeq: number): void {
    assert.ok(settleSeq > watched.lastSettled, 'settlements are told in their order');
    watched.lastSettled = settleSeq;
    for (const [seq, batch] of watched.settlements) {
      if (seq > settleSeq) continue;
      if (batch > 0) this.#assertSafe(batch, `SETTLED ${settleSeq}`);
      watched.settlements.delete(seq);
    }
  }

  refused(watched: Watched, [settleSeq]: number[]): void {
    const batch = watched.settlements.get(settleSeq!);
    if (batch !== undefined && batch > 0) this.#assertSafe(batch, `REFUSED of frame ${settleSeq}`);
  }

  replied(watched: Watched, [request]: number[]): void {
    const batch = watched.requests.get(request!);
    assert.ok(batch !== undefined, `request ${request} is answered once`);
    if (batch > 0) this.#assertSafe(batch, `reply to request ${request}`);
    watched.requests.delete(request!);
  }

  #assertSafe(batch: number | undefined, what: string): void {
    const { durableBatch } = this.harness.journal;
    assert.ok(
      batch !== undefined && batch <= durableBatch,
      `${what} rests on batch ${batch}, ${durableBatch} is on disk`,
    );
  }
}

type Look = (suspicion: Suspicion, watched: Watched, fields: unknown[]) => void;

const LOOKS: Readonly<Record<number, Look>> = {
  [SERVER_OPS.CONFIRM]: (suspicion, watched, fields) => suspicion.confirmed(watched, fields as number[]),
  [SERVER_OPS.DUPLICATE]: (suspicion, watched, fields) => suspicion.duplicate(watched, fields as number[]),
  [SERVER_OPS.DELIVER]: (suspicion, watched, fields) => suspicion.delivered(watched, fields as [number, unknown[][]]),
  [SERVER_OPS.SETTLED]: (suspicion, watched, fields) => suspicion.settled(watched, fields[0] as number),
  [SERVER_OPS.REFUSED]: (suspicion, watched, fields) => suspicion.refused(watched, fields as number[]),
  [SERVER_OPS.REPLY]: (suspicion, watched, fields) => suspicion.replied(watched, fields as number[]),
  [SERVER_OPS.RECALL]: () => undefined,
};
