/** An engine under a test's own hand: one call a command, effects by their type, and a clock that stands still. */
import type { ExchangeType, QueueSettings } from '@lovage/protocol';
import type { Command, ConsumeCommand } from '../../server/engine/command.js';
import { Engine } from '../../server/engine/engine.js';
import type { BindingFacts } from '../../server/engine/exchange.js';
import type { EngineOptions } from '../../server/engine/state.js';
import { completeBatch, type TestResult } from './complete-batch.js';
import { publishBatch, type TestFrame, type TestMessage } from './publish-batch.js';
import { type Effect, Recorder, replayed, TestLog } from './recorder.js';
import { recount } from './recount.js';

const OPTIONS: Partial<EngineOptions> = { messagesMax: 4_096, graceMs: 1_000 };

export class EngineDriver {
  readonly log = new TestLog();
  engine: Engine;
  readonly sink: Recorder;
  nowMs = 1_000_000;
  readonly #options: Partial<EngineOptions>;
  readonly #nextSeqs = new Map<number, number>();
  readonly #settleSeqs = new Map<number, number>();
  #keys = 0;

  constructor(options: Partial<EngineOptions> = {}) {
    this.#options = { ...OPTIONS, ...options };
    this.engine = new Engine(this.#options);
    this.sink = new Recorder(this.log, () => this.engine);
    this.sink.record(this.engine.checkpoint());
    this.tick();
  }

  /** Carries out a command and returns what it caused. */
  apply(command: Command): Effect[] {
    this.engine.apply(command, this.nowMs, this.sink);
    recount(this.engine);
    return this.sink.take();
  }

  tick(ms = 0): Effect[] {
    this.nowMs += ms;
    const effects: Effect[] = [];
    do {
      this.engine.tick(this.nowMs, this.sink);
      effects.push(...this.sink.take());
    } while (this.engine.nextDeadline() <= this.nowMs);
    recount(this.engine);
    return effects;
  }

  /** Number of a new session, or of the one that goes on. */
  open(options: { producer?: string; resumeKey?: string; lastTag?: number } = {}): number {
    const { producer = null, resumeKey = null, lastTag = 0 } = options;
    const key = `key${++this.#keys}`;
    const effects = this.apply({ type: 'open', key, namespace: 'default', producer, resumeKey, lastTag });
    return of(effects, 'opened')[0]!.session;
  }

  declare(session: number, name: string, settings: Partial<QueueSettings> = {}): void {
    this.apply({ type: 'declare', session, request: 1, name, settings, mode: 'check' });
  }

  /** Changes settings of a queue. */
  merge(session: number, name: string, settings: Partial<QueueSettings>): Effect[] {
    return this.apply({ type: 'declare', session, request: 1, name, settings, mode: 'merge' });
  }

  exchange(session: number, name: string, kind: ExchangeType, alternate: string | null = null): Effect[] {
    return this.apply({ type: 'exchange-declare', session, request: 1, name, kind, alternate });
  }

  /** Binds a queue, or an exchange if `to` says so. */
  bind(session: number, exchange: string, name: string, facts: Partial<BindingFacts> = {}): Effect[] {
    const binding = { exchange, to: 'queue', name, key: '', headers: null, match: null, ...facts } as const;
    return this.apply({ type: 'bind', session, request: 1, binding });
  }

  /** Publishes with the session's next numbers. */
  publish(session: number, ...messages: TestMessage[]): Effect[] {
    return this.frame(session, { firstSeq: this.#nextSeqs.get(session) ?? 1, messages });
  }

  frame(session: number, frame: TestFrame): Effect[] {
    this.#nextSeqs.set(session, Math.max(this.#nextSeqs.get(session) ?? 1, frame.firstSeq + frame.messages.length));
    return this.apply({ type: 'publish', session, batch: publishBatch(frame) });
  }

  consume(
    session: number,
    queues: readonly string[],
    options: Partial<ConsumeCommand['options']> = {},
    consumerId = 1,
  ): Effect[] {
    return this.apply({
      type: 'consume',
      session,
      request: 1,
      consumerId,
      options: {
        queues,
        prefetch: 1,
        ack: 'late',
        queueOrder: 'strict',
        weights: [],
        exclusive: false,
        priority: 0,
        ...options,
      },
    });
  }

  answer(type: 'start' | 'ack' | 'release', session: number, ranges: readonly number[]): Effect[] {
    return this.apply({ type, session, settleSeq: this.#settleSeq(session), ranges });
  }

  nack(session: number, ranges: readonly number[], requeue: boolean, delayMs = 0): Effect[] {
    const settleSeq = this.#settleSeq(session);
    return this.apply({ type: 'nack', session, settleSeq, ranges, requeue, delayMs, reason: null, cause: 'failed' });
  }

  /** Completes deliveries, each with a body. */
  complete(session: number, results: readonly TestResult[], follow: Uint8Array | null = null): Effect[] {
    return this.apply({ type: 'complete', session, batch: completeBatch(this.#settleSeq(session), results, follow) });
  }

  /** A new segment begins with a checkpoint. */
  roll(): void {
    this.log.roll();
    this.sink.record(this.engine.checkpoint());
  }

  /** The segments below are gone. */
  reclaim(below: number): void {
    this.log.reclaim(below);
    this.engine.state.table.journalUsage.forgetBelow(below);
  }

  /** Killed and started again from the journal. */
  restart(): void {
    this.engine = replayed(this.log, this.#options);
    this.engine.recovered(this.nowMs);
    this.tick();
  }

  #settleSeq(session: number): number {
    const settleSeq = (this.#settleSeqs.get(session) ?? 0) + 1;
    this.#settleSeqs.set(session, settleSeq);
    return settleSeq;
  }
}

/** The effects of one type. */
export function of<T extends Effect['type']>(effects: readonly Effect[], type: T): Extract<Effect, { type: T }>[] {
  return effects.filter((effect): effect is Extract<Effect, { type: T }> => effect.type === type);
}

/** Ids of what was delivered, in order. */
export function idsOf(effects: readonly Effect[]): number[] {
  return of(effects, 'deliver').map(({ id }) => id);
}
