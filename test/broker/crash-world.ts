/**
 * A broker over segment files with one client that publishes bodies which are all different, holds some deliveries for ever and settles the rest. At
 * any moment the files are as a broker finds them that was killed there: a copy of the directory is a crash. What the client was told until
 * then says what has to be in it.
 */
import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import {
  CLIENT_OPS,
  decodeFrame,
  FrameReader,
  PublishBatch,
  readDeliver,
  readOp,
  SERVER_OPS,
  type WireDelivery,
} from '@lovage/protocol';
import { type FileJournal, openFileJournal } from '../../server/journal/index.js';
import type { Session } from '../../server/session/session.js';
import { recount } from '../engine/recount.js';
import type { Random } from '../support/random.js';
import { type Message, publishFrame, rangesOf } from '../support/raw-client.js';
import { type FakeWire, SessionHarness } from '../support/session-harness.js';
import { tempDirectory } from '../support/temp-directory.js';

/** Consumed in strict order. */
const QUEUES = ['urgent', 'plain'] as const;
/** Nobody consumes it: its messages lie in old segments until they are copied forward. */
const KEPT = 'kept';
const SEGMENT_BYTES = 16 * 1024;
const NUMBER_BYTES = 4;
const GRACE_MS = 10_000;

export interface Published {
  /** Content type, headers and body as they stood in the frame. */
  readonly payload: Uint8Array;
  readonly queue: string;
  /** 0 until it is known. */
  id: number;
  /** The client has its confirm or has had a delivery of it: it is on disk. */
  isSeen: boolean;
  /** The client has sent an ACK; whether it counts is known when that is confirmed. */
  isAckSent: boolean;
  /** It is gone for good. */
  isSettled: boolean;
  /** Segment in which it was found first; 0 before. */
  segment: number;
}

export class CrashWorld {
  readonly random: Random;
  readonly published: Published[] = [];
  harness!: SessionHarness;
  journal!: FileJournal;
  /** Messages that were found in another segment than before. */
  moved = 0;
  #directory = tempDirectory();
  #session!: Session;
  /** Of the client that is connected. */
  #wire: FakeWire | null = null;
  #nextSeq = 1;
  #settleSeq = 0;
  /** Tag -> number of the message, of deliveries without a settlement on its way. */
  readonly #held = new Map<number, number>();
  /** Seq -> number. */
  readonly #bySeq = new Map<number, number>();
  /** Settlement frame -> numbers that it acknowledges. */
  readonly #acks = new Map<number, readonly number[]>();

  constructor(random: Random) {
    this.random = random;
  }

  async start(): Promise<void> {
    this.journal = await openFileJournal({
      directory: this.#directory,
      segmentBytes: SEGMENT_BYTES,
      cacheBytes: 128 * 1024,
      onFatal: (error) => this.harness.failures.push(error),
    });
    this.harness = await SessionHarness.start({ journal: this.journal });
    const { engine } = this.harness.broker;
    this.harness.clock.advance(Math.max(0, engine.state.nowMs - this.harness.clock.wallMs()));
    recount(engine);
  }

  /** A client comes and consumes; the grace of the one before is over. */
  async connect(): Promise<void> {
    await this.harness.pass(GRACE_MS + 1);
    const { session, wire } = await this.harness.open();
    this.#session = session;
    this.#wire = wire;
    for (const queue of [...QUEUES, KEPT]) this.#send(CLIENT_OPS.QUEUE_DECLARE, 1, queue, null);
    const options = { queues: QUEUES, prefetch: 40, ack: 'late', queueOrder: 'strict' };
    this.#send(CLIENT_OPS.CONSUME, 2, 1, options);
    await this.harness.turn();
    this.hear();
  }

  /** One thing that the client does. */
  act(): void {
    const { random } = this;
    if (random.next() < 0.55) this.#publish(random.whole(1, 6));
    else this.#settle();
  }

  /** What the broker has told so far. */
  hear(): void {
    for (const frame of this.#wire?.frames.splice(0) ?? []) {
      const op = readOp(frame);
      if (op === SERVER_OPS.DELIVER) this.#delivered(frame);
      else if (op === SERVER_OPS.CONFIRM) this.#confirmed(decodeFrame(frame).slice(1) as number[]);
      else if (op === SERVER_OPS.SETTLED) this.#settled(decodeFrame(frame)[1] as number);
      else assert.ok(op !== SERVER_OPS.ERROR && op !== SERVER_OPS.REJECT && op !== SERVER_OPS.REFUSED, `op ${op}`);
    }
  }

  /** The files as they are now, under a new broker; the old one is closed and heard no more. */
  async crash(): Promise<void> {
    this.hear();
    const copy = tempDirectory();
    copyAsIs(this.#directory, copy);
    const { broker } = this.harness;
    this.#directory = copy;
    this.#forgetClient();
    await broker.close();
    assert.deepEqual(this.harness.failures, []);
    await this.start();
  }

  /** Stopped as it should be, and started again. */
  async restart(): Promise<void> {
    await this.harness.turn();
    await this.harness.broker.close();
    this.hear();
    this.#forgetClient();
    await this.start();
  }

  /** Every message that the broker has, with its bytes from the journal, and no other. Returns how many there are. */
  checkMessages(): number {
    const { state } = this.harness.broker.engine;
    const { table } = state;
    const found = new Set<number>();
    table.forEach((slot) => {
      const payload = Uint8Array.from(
        this.journal.read(table.segment[slot]!, table.offset[slot]!, table.length[slot]!),
      );
      const number = numberOf(payload);
      const published = this.published[number];
      assert.ok(published !== undefined, 'a message is one that was published');
      assert.ok(!found.has(number), `message ${number} is there once`);
      assert.deepEqual(Buffer.from(payload), Buffer.from(published.payload), `the bytes of message ${number}`);
      assert.equal(state.queueOf(slot).name, published.queue);
      assert.ok(!published.isSettled, `message ${number} is gone`);
      if (published.id !== 0) assert.equal(table.id[slot], published.id, `the id of message ${number}`);
      published.id = table.id[slot]!;
      if (published.segment !== 0 && published.segment !== table.segment[slot]) this.moved++;
      published.segment = table.segment[slot]!;
      found.add(number);
    });
    for (const [number, published] of this.published.entries()) {
      const { isSeen, isAckSent, isSettled } = published;
      assert.ok(found.has(number) || !isSeen || isAckSent || isSettled, `message ${number} is there`);
      // What was not certain is certain now.
      published.isSettled = !found.has(number);
      published.isSeen = found.has(number);
      published.isAckSent = false;
    }
    return found.size;
  }

  #publish(count: number): void {
    const messages = Array.from({ length: count }, (_, i) => this.#message(this.published.length + i));
    const frame = publishFrame(messages, { firstSeq: this.#nextSeq });
    const batch = new PublishBatch().scan(new FrameReader().open(frame), {
      bodyBytesMax: Number.MAX_SAFE_INTEGER,
      headerBytesMax: Number.MAX_SAFE_INTEGER,
    });
    for (const [i, { queue }] of messages.entries()) {
      const start = batch.payloadOffset[i]!;
      const payload = frame.slice(start, start + batch.payloadLength[i]!);
      this.#bySeq.set(this.#nextSeq + i, this.published.length);
      this.published.push({ payload, queue, id: 0, isSeen: false, isAckSent: false, isSettled: false, segment: 0 });
    }
    this.#nextSeq += count;
    this.#session.receive(frame, this.harness.clock.monotonicMs());
    // The bytes are the connection's again as soon as they are taken.
    frame.fill(0xee);
  }

  #message(number: number): Message {
    const { random } = this;
    const bytes = random.next() < 0.02 ? random.whole(10_000, 60_000) : random.whole(NUMBER_BYTES, 900);
    const body = Buffer.from(random.bytes(bytes));
    body.writeUInt32BE(number);
    const queue = random.next() < 0.03 ? KEPT : random.pick(QUEUES);
    return { queue, priority: random.pick([0, 5, 9]), body };
  }

  #settle(): void {
    const { random } = this;
    const free = [...this.#held.keys()].filter(() => random.next() < 0.5);
    if (free.length === 0) return;
    const kind = random.next();
    const op = kind < 0.2 ? CLIENT_OPS.START : kind < 0.9 ? CLIENT_OPS.ACK : CLIENT_OPS.NACK;
    const settleSeq = ++this.#settleSeq;
    const tags = free.sort((a, b) => a - b);
    if (op === CLIENT_OPS.NACK) this.#send(op, settleSeq, rangesOf(tags), true, 0, null);
    else this.#send(op, settleSeq, rangesOf(tags));
    if (op === CLIENT_OPS.START) return;
    const numbers = tags.map((tag) => this.#held.get(tag)!);
    for (const tag of tags) this.#held.delete(tag);
    if (op === CLIENT_OPS.NACK) return;
    this.#acks.set(settleSeq, numbers);
    for (const number of numbers) this.published[number]!.isAckSent = true;
  }

  #delivered(frame: Uint8Array): void {
    const reader = new FrameReader().open(frame);
    readDeliver(reader, (_consumer: number, delivery: WireDelivery) => {
      const body = Buffer.from(delivery.body);
      const number = body.readUInt32BE(0);
      const published = this.published[number]!;
      const { payload } = published;
      published.isSeen = true;
      assert.ok(
        body.equals(payload.subarray(payload.length - body.length)),
        `delivery of message ${number} has its bytes`,
      );
      this.#held.set(delivery.tag, number);
    });
  }

  #confirmed([firstSeq, count, firstId]: number[]): void {
    for (let i = 0; i < count!; i++) {
      const published = this.published[this.#bySeq.get(firstSeq! + i)!]!;
      published.id = firstId! + i;
      published.isSeen = true;
    }
  }

  #settled(settleSeq: number): void {
    for (const [seq, numbers] of this.#acks) {
      if (seq > settleSeq) continue;
      for (const number of numbers) this.published[number]!.isSettled = true;
      this.#acks.delete(seq);
    }
  }

  #send(op: number, ...fields: unknown[]): void {
    this.harness.send(this.#session, [op, ...fields]);
  }

  #forgetClient(): void {
    this.#wire = null;
    this.#nextSeq = 1;
    this.#settleSeq = 0;
    this.#held.clear();
    this.#bySeq.clear();
    this.#acks.clear();
  }
}

/** The first bytes of a body are the message's number. */
function numberOf(payload: Uint8Array): number {
  const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.length);
  // nil, nil, and the body with its head of 2, 3 or 5 bytes.
  const head = { 196: 2, 197: 3, 198: 5 }[bytes[2]!];
  assert.ok(head !== undefined, 'a body follows');
  return bytes.readUInt32BE(2 + head);
}

/** The files as a kill leaves them: a thread of the pool may be deleting one meanwhile, and then it is gone. */
function copyAsIs(from: string, to: string): void {
  for (const entry of readdirSync(from, { withFileTypes: true })) {
    const source = join(from, entry.name);
    const target = join(to, entry.name);
    if (entry.isDirectory()) {
      mkdirSync(target);
      copyAsIs(source, target);
      continue;
    }
    try {
      copyFileSync(source, target);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
}
