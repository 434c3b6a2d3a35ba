/** A broker with an archive and a client that completes messages and asks what came of them. */
import { setImmediate as turn } from 'node:timers/promises';
import { CLIENT_OPS, RESULTS_QUEUE, SERVER_OPS } from '@lovage/protocol';
import type { Archive } from '../../server/archive/index.js';
import type { Journal } from '../../server/journal/index.js';
import type { Session } from '../../server/session/session.js';
import { type FakeWire, type HarnessOptions, SessionHarness } from '../support/session-harness.js';

export const AGE_MS = 10_000;
export const SWEEP_MS = 60_000;

export interface WorldOptions extends HarnessOptions {
  readonly archive: Archive;
  readonly journal?: Journal;
  readonly namespace?: string;
}

/** What a client is told of an id. */
export interface Told {
  readonly result: unknown;
  readonly whereabouts: unknown;
}

export class ArchiveWorld {
  readonly harness: SessionHarness;
  readonly session: Session;
  readonly wire: FakeWire;
  #request = 10;
  #settleSeq = 0;
  #seq = 1;
  #tag = 1;

  constructor(harness: SessionHarness, { session, wire }: { session: Session; wire: FakeWire }) {
    this.harness = harness;
    this.session = session;
    this.wire = wire;
  }

  static async start({ namespace = 'default', ...options }: WorldOptions): Promise<ArchiveWorld> {
    const harness = new SessionHarness(options);
    await harness.broker.recover();
    return await ArchiveWorld.join(harness, namespace);
  }

  static async join(harness: SessionHarness, namespace: string): Promise<ArchiveWorld> {
    harness.clock.advance(Math.max(0, harness.broker.engine.state.nowMs - harness.clock.wallMs()));
    const world = new ArchiveWorld(harness, await harness.open({ namespace }));
    await world.ask(CLIENT_OPS.QUEUE_DECLARE, 'work', null);
    await world.ask(CLIENT_OPS.CONSUME, 1, { queues: ['work'], prefetch: 0, ack: 'late', queueOrder: 'strict' });
    return world;
  }

  /** Messages that are published and completed, with these bodies. Returns their ids, when that is on disk. */
  async complete(bodies: readonly string[], ttlMs = 0, flags = 0): Promise<number[]> {
    const before = this.wire.deliveries.length;
    this.harness.publish(
      this.session,
      this.#seq,
      bodies.map(() => ({ queue: 'work', body: '' })),
      flags,
    );
    this.#seq += bodies.length;
    await this.harness.turn();
    const ids = this.wire.deliveries.slice(before).map(({ id }) => id);
    const results = bodies.map((body) => [ttlMs, 'text/plain', null, Buffer.from(body)]);
    this.harness.send(this.session, [CLIENT_OPS.COMPLETE, ++this.#settleSeq, [this.#tag, bodies.length], results]);
    this.#tag += bodies.length;
    await this.harness.turn();
    return ids;
  }

  /** A request's answer: the fields of REPLY or of ERROR behind its number. */
  async ask(op: number, ...fields: unknown[]): Promise<unknown[]> {
    const request = ++this.#request;
    this.harness.send(this.session, [op, request, ...fields]);
    for (let turns = 0; turns < 1_000; turns++) {
      await this.harness.turn();
      for (const answer of [SERVER_OPS.REPLY, SERVER_OPS.ERROR]) {
        const found = this.wire.fieldsOf(answer).find(([number]) => number === request);
        if (found !== undefined) return found.slice(1);
      }
    }
    throw new Error(`Cannot tell the answer of op ${op}: there is none`);
  }

  /** What is told of each id. */
  async told(ids: readonly number[]): Promise<Told[]> {
    const told = this.wire.frames.length;
    await this.ask(CLIENT_OPS.RESULT_WATCH, ids);
    const results = new Map<number, unknown[]>();
    while (results.size < new Set(ids).size) {
      await this.harness.turn();
      for (const [entries] of this.wire.fieldsOf(SERVER_OPS.RESULT))
        for (const [id, ...result] of entries as [number, ...unknown[]][]) results.set(id, result);
    }
    const whereabouts: unknown[] = [];
    for (let from = 0; from < ids.length; from += 1_000) {
      const [reply] = await this.ask(CLIENT_OPS.MESSAGE_STATE, ids.slice(from, from + 1_000));
      whereabouts.push(...(reply as { messages: unknown[] }).messages);
    }
    this.wire.frames.splice(told);
    return ids.map((id, i) => ({ result: plain(results.get(id)), whereabouts: whereabouts[i] }));
  }

  /** Results that stand in the queue. */
  get queued(): number {
    return this.queueInfo?.ready ?? 0;
  }

  get queueInfo() {
    return this.harness.broker.queueInfo(this.namespace, RESULTS_QUEUE);
  }

  get namespace(): string {
    return this.harness.broker.engine.state.session(this.session.number).namespace;
  }

  /** Waits until something is so, as the threads and disks of the archive take their time. */
  async until(isSo: () => boolean, what: string, clockMs = 0): Promise<void> {
    for (let turns = 0; !isSo(); turns++) {
      if (turns > 20_000) throw new Error(`Cannot wait any longer until ${what}`);
      this.harness.clock.advance(clockMs);
      await turn();
    }
  }

  /** All results are old enough, and go. */
  async archiveAll(): Promise<void> {
    await this.harness.pass(AGE_MS);
    await this.until(() => this.queued === 0, 'the queue of results is empty', 1);
    await this.harness.turn();
  }
}

function plain(result: unknown): unknown {
  return (result as unknown[]).map((field) => (field instanceof Uint8Array ? Buffer.from(field).toString() : field));
}

/** What is told of an id that nothing is known of. */
export const NOTHING: Told = { result: [1], whereabouts: null };
