/** The broker's numbers for the HTTP API and the metrics. */
import type { BindingInfo, ExchangeInfo, QueueInfo, WorkerList } from '@lovage/protocol';
import type { Broker } from './broker.js';
import type { Clock } from './clock.js';
import { Rates } from './rates.js';
import type { BrokerView, Overview } from './view.js';

/** What only the gateway knows. */
export interface Doors {
  readonly connections: number;
  readonly sessions: number;
}

export class LiveBrokerView implements BrokerView {
  readonly #broker: Broker;
  readonly #clock: Clock;
  readonly #doors: () => Doors;
  readonly #version: string;
  readonly #startedAt: number;
  readonly #startedMs: number;
  readonly #rates = new Rates();
  isStopping = false;

  constructor(broker: Broker, clock: Clock, version: string, doors: () => Doors) {
    this.#broker = broker;
    this.#clock = clock;
    this.#doors = doors;
    this.#version = version;
    this.#startedAt = clock.wallMs();
    this.#startedMs = clock.monotonicMs();
  }

  get isReady(): boolean {
    return this.#broker.isReady && !this.isStopping;
  }

  get recoveredShare(): number {
    return this.#broker.recoveredShare;
  }

  /** Keeps a sample for the rates; to be called about every second. */
  sample(): void {
    const nowMs = this.#clock.monotonicMs();
    if (this.#rates.isDue(nowMs)) this.#rates.sample(nowMs, this.#broker.engine.totals());
  }

  overview(): Overview {
    const { engine, journal } = this.#broker;
    const totals = engine.totals();
    const nowMs = this.#clock.monotonicMs();
    this.sample();
    return {
      version: this.#version,
      startedAt: this.#startedAt,
      uptimeMs: nowMs - this.#startedMs,
      syncClass: journal.syncClass,
      isReady: this.isReady,
      isStopping: this.isStopping,
      connections: this.#doors().connections,
      sessions: this.#doors().sessions,
      consumers: engine.consumerCount(),
      queues: engine.state.queuesByName.size,
      dedupKeys: engine.state.dedupUsage.keys,
      messages: engine.messageCounts(),
      totals: { ...totals, refused: this.#broker.refusedMessages },
      rates: this.#rates.read(nowMs, totals),
      journal: journal.stats(),
      archive: this.#broker.archive?.stats() ?? null,
      flow: this.#broker.flow.stats(),
    };
  }

  queues(namespace: string | null, after: string | null, limit: number): QueueInfo[] {
    return this.#broker.engine.queueInfos(namespace, after, limit);
  }

  queue(namespace: string, name: string): QueueInfo | null {
    return this.#broker.engine.queueInfo(namespace, name);
  }

  exchanges(namespace: string | null, after: string | null, limit: number): ExchangeInfo[] {
    return this.#broker.engine.exchangeInfos(namespace, after, limit);
  }

  workers(namespace: string): WorkerList {
    return this.#broker.workers.list(namespace);
  }

  bindings(namespace: string | null, exchange: string | null, after: number, limit: number): BindingInfo[] {
    return this.#broker.engine.bindingInfos(namespace, exchange, after, limit);
  }

  onSync(observe: (ms: number) => void): void {
    this.#broker.onSync(observe);
  }
}
