/** What the parts of the reference model share, and the questions that they all ask of it. */
import type { NamespaceSettings } from '@lovage/protocol';
import type { Token } from '../../../server/engine/access.js';
import type { Command } from '../../../server/engine/command.js';
import type { EngineOptions } from '../../../server/engine/state.js';
import { ExchangeModel } from '../exchange-model.js';
import type { Delivered, Effect } from '../recorder.js';
import type {
  Answer,
  ModelConsumer,
  ModelMessage,
  ModelProducer,
  ModelQueue,
  ModelSession,
  Sweep,
} from './entities.js';
import { type ModelRateLimit, ModelRates } from './rates.js';

export class ModelState {
  readonly options: EngineOptions;
  /** By namespace and name. */
  readonly queues = new Map<string, ModelQueue>();
  readonly messages = new Map<number, ModelMessage>();
  readonly sessions = new Map<number, ModelSession>();
  readonly producers = new Map<string, ModelProducer>();
  readonly exchanges = new ExchangeModel();
  readonly tokens = new Map<string, Token>();
  readonly namespaces = new Map<string, NamespaceSettings>();
  /** By namespace and name. */
  readonly rateLimits = new Map<string, ModelRateLimit>();
  readonly rates = new ModelRates(this);
  /** Sessions that watch for the result of a message. */
  readonly watches = new Map<number, Set<number>>();
  sweeps: Sweep[] = [];
  nowMs = 0;
  nextId = 1;
  nextSession = 1;
  refusal: 'DISK_FULL' | 'FLOW_BLOCKED' | null = null;
  isRefusalForNow = false;
  /** Whether the engine has made a queue during the command at hand: where several want the last free place the model takes its choice. */
  engineMade: (namespace: string, name: string) => boolean = () => true;
  /** Index that the engine has given to a queue: the copies of a message get their ids by it. */
  indexOf: (queue: ModelQueue) => number = () => 0;
  /** Whether the engine has still to look for ids that a session watches for. */
  isLookingUp: (session: number) => boolean = () => false;
  /** Sessions of which that was so before the command at hand. */
  wasLookingUp: ReadonlySet<number> = new Set();
  // Of the command at hand:
  /** The queue whose results are in the archive was neither purged nor deleted since they were taken. */
  isArchiveCurrent = false;
  /** Why messages became dead letters first. */
  readonly died = new Map<number, string>();
  /** What the engine said, still to be accounted for. */
  told: readonly Effect[] = [];
  deliveries: Delivered[] = [];
  answers: Answer[] = [];
  /** Queues that got messages, and consumers that got credit: in which order those are served is left open. */
  readonly touched = new Set<ModelQueue>();
  readonly gained = new Set<ModelConsumer>();
  /** Session and tag of deliveries that are taken from their consumers for good, and not to make room. */
  readonly calledBack = new Set<string>();
  yielding: ReadonlySet<ModelConsumer> = new Set();
  /** Namespace of a queue that was not made and that the engine has not made either: there must have been no room for it. */
  deniedIn: string | null = null;
  #turn = 0;

  constructor(options: EngineOptions) {
    this.options = options;
  }

  begin(nowMs: number, effects: readonly Effect[]): void {
    this.touched.clear();
    this.rates.touching(() => this.clock(nowMs));
    this.gained.clear();
    this.calledBack.clear();
    this.told = effects;
    this.deliveries = effects.filter((effect) => effect.type === 'deliver');
    this.answers = [];
    this.deniedIn = null;
  }

  clock(nowMs: number): void {
    this.nowMs = Math.max(this.nowMs, nowMs);
  }

  /** A number that is higher than all before. */
  nextTurn(): number {
    return ++this.#turn;
  }

  watch(id: number, session: number): void {
    this.watches.set(id, (this.watches.get(id) ?? new Set()).add(session));
  }

  forgetWatches(session: number): void {
    for (const sessions of this.watches.values()) sessions.delete(session);
  }

  queue(namespace: string, name: string): ModelQueue | null {
    return this.queues.get(`${namespace} ${name}`) ?? null;
  }

  /** The queue that a request names; answers for one that is missing. */
  named({ session, request, name }: { session: number; request: number; name: string }): ModelQueue | null {
    const queue = this.queue(this.sessions.get(session)!.namespace, name);
    if (queue === null) this.answer({ type: 'fail', session, request, code: 'QUEUE_NOT_FOUND' });
    return queue;
  }

  producer(namespace: string, name: string): ModelProducer {
    const key = `${namespace} ${name}`;
    const producer = this.producers.get(key) ?? { taken: new Map(), confirmedSeq: 0 };
    this.producers.set(key, producer);
    return producer;
  }

  messagesOf(queue: ModelQueue): ModelMessage[] {
    return [...this.messages.values()].filter((message) => message.queue === queue);
  }

  consumersOf(queue: ModelQueue): ModelConsumer[] {
    const found: ModelConsumer[] = [];
    for (const session of this.sessions.values())
      for (const consumer of session.consumers.values())
        if (consumer.isActive && consumer.queues.includes(queue)) found.push(consumer);
    return found;
  }

  unsettled(consumer: ModelConsumer): number {
    let count = 0;
    for (const lease of consumer.session.leases.values()) if (lease.consumer === consumer) count++;
    return count;
  }

  unsettledBytes(consumer: ModelConsumer): number {
    let bytes = 0;
    for (const lease of consumer.session.leases.values()) if (lease.consumer === consumer) bytes += lease.bytes;
    return bytes;
  }

  hasCredit(consumer: ModelConsumer): boolean {
    const { isActive, prefetch, session } = consumer;
    if (!isActive || this.yielding.has(consumer) || session.unsentBytes >= this.options.unsentBytesMax) return false;
    if (this.unsettledBytes(consumer) >= this.options.consumerBytesMax) return false;
    return prefetch === 0 || this.unsettled(consumer) < prefetch;
  }

  isLapsed(message: ModelMessage): boolean {
    const { state, expiryMs } = message;
    return (state === 'waiting' || state === 'delayed') && expiryMs !== 0 && expiryMs <= this.nowMs;
  }

  answer(answer: Answer): void {
    this.answers.push(answer);
  }

  fail({ session, request }: { session: number; request: number }, code: (Answer & { type: 'fail' })['code']): void {
    this.answer({ type: 'fail', session, request, code });
  }

  reply({ session, request }: Extract<Command, { request: number }>, result: unknown): void {
    this.answer({ type: 'reply', session, request, result });
  }
}
