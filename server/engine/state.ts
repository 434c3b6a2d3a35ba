/** What the parts of the engine share. Each field is written by the part that is named; the others read it. */
import { defaultQueueSettings, LIMITS, LovageError, type QueueSettings } from '@lovage/protocol';
import { TokenTable } from './access.js';
import type { DedupUsage } from './dedup-window.js';
import type { Binding, Exchange } from './exchange.js';
import { LeaseTable } from './lease-table.js';
import { MessageTable } from './message-table.js';
import { Notes } from './notes.js';
import { Producers } from './producers.js';
import { noTotals, type Queue } from './queue.js';
import { QueueDirectory } from './queue-directory.js';
import { ResultArrivals } from './result-arrivals.js';
import { ResultWatches } from './result-watches.js';
import type { Session } from './session.js';
import { Timers } from './timers.js';

export interface EngineOptions {
  /** Messages alive at a time, waiting and unsettled; memory is taken as they come. Default 2^24. */
  readonly messagesMax: number;
  /** Bytes of publishes kept in memory only (durability memory). Default 256 MiB. */
  readonly memoryBytesMax: number;
  /** Queues in all namespaces together. Default 100,000. */
  readonly queuesMax: number;
  /** Exchanges in all namespaces together. Default 100,000. */
  readonly exchangesMax: number;
  /** Bindings of all exchanges together. Default 1,000,000. */
  readonly bindingsMax: number;
  /** Names of producers remembered. Default 100,000. */
  readonly producersMax: number;
  /** ms that a producer is remembered after its last use. Default 3,600,000. */
  readonly producerTtlMs: number;
  /** ms that started deliveries wait for a client that lost its connection. Default 10,000. */
  readonly graceMs: number;
  /** Bytes of messages unsettled at one consumer, above which it gets no more. Default 256 MiB. */
  readonly consumerBytesMax: number;
  /** Bytes decided for one connection and not yet sent, above which it gets no more deliveries and kept results. Default 1 MiB. */
  readonly unsentBytesMax: number;
}

export const ENGINE_DEFAULTS: EngineOptions = {
  messagesMax: 2 ** 24,
  memoryBytesMax: 256 * 1024 * 1024,
  queuesMax: 100_000,
  exchangesMax: 100_000,
  bindingsMax: 1_000_000,
  producersMax: 100_000,
  producerTtlMs: 3_600_000,
  graceMs: 10_000,
  consumerBytesMax: 256 * 1024 * 1024,
  unsentBytesMax: 1024 * 1024,
};

export class EngineState {
  readonly options: EngineOptions;
  readonly table: MessageTable;
  readonly leases = new LeaseTable();
  readonly timers: Timers;
  readonly producers: Producers;
  /** By index; a hole where a queue was deleted. Written by `queues.ts`. */
  readonly queues: (Queue | undefined)[] = [];
  readonly queuesByName = new QueueDirectory();
  /** By namespace and name. Written by `exchanges.ts`, as are the bindings, which stand in the order in which they were made. */
  readonly exchanges = new Map<string, Exchange>();
  readonly bindings = new Set<Binding>();
  /** Of the windows of all queues. */
  readonly dedupUsage: DedupUsage = { keys: 0, bytes: 0 };
  /** When results came, for the archive. */
  readonly arrivals: ResultArrivals;
  /** The last era that a queue of results was given, see `queue.ts`. Written by `queue-registry.ts`. */
  lastEra = 0;
  /** Who waits for which result. */
  readonly watches = new ResultWatches();
  /** What is told of messages before they are done. Written by `results.ts`, and by `places.ts` when a delivery is over. */
  readonly notes = new Notes();
  /** Totals of queues that are gone. */
  readonly deletedTotals = noTotals();
  /** Written by `sessions.ts`. */
  readonly sessions = new Map<number, Session>();
  readonly sessionsByKey = new Map<string, Session>();
  nextSession = 1;
  /** Written by `access.ts`. */
  readonly tokens = new TokenTable();
  /** Written by `publishing.ts`. */
  nextId = 1;
  /** Engine time: never runs back. */
  nowMs = 0;

  constructor(options: EngineOptions) {
    this.options = options;
    this.table = new MessageTable(options.messagesMax);
    this.arrivals = new ResultArrivals(this.table);
    this.timers = new Timers(options.messagesMax);
    this.producers = new Producers(options.producersMax, options.producerTtlMs);
  }

  queue(namespace: string, name: string): Queue | null {
    return this.queuesByName.get(`${namespace} ${name}`) ?? null;
  }

  /** What a queue has that is made without settings of its own: the defaults of all, or what its namespace puts in their place. */
  defaultSettings(namespace: string, name: string): QueueSettings {
    const settings = { ...defaultQueueSettings(), ...this.queuesByName.space(namespace)?.settings?.queueDefaults };
    // The dead letters of a namespace go to a queue that has none.
    if (settings.deadLetterQueue !== name) return settings;
    const { deadLetterQueue, overflow } = defaultQueueSettings();
    return { ...settings, deadLetterQueue, overflow };
  }

  exchange(namespace: string, name: string): Exchange | null {
    return this.exchanges.get(`${namespace} ${name}`) ?? null;
  }

  queueOf(slot: number): Queue {
    return this.queues[this.table.queue[slot]!]!;
  }

  /** The session of a command: the broker closes a connection before it forgets its session. */
  session(number: number): Session {
    const session = this.sessions.get(number);
    if (session === undefined) throw new LovageError('INTERNAL_ERROR', `Cannot find session ${number}: it has ended`);
    return session;
  }
}

/** Consumers of one session, the bound that CONSUME checks. */
export const CONSUMERS_MAX = LIMITS.consumersMax;
