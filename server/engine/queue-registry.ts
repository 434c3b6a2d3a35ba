/** Which queues there are, by index and by name. */
import type { QueueSettings } from '@lovage/protocol';
import type { Refusal } from './command.js';
import type { EffectSink } from './effects.js';
import { addTotals, Queue } from './queue.js';
import type { QueueExpiry } from './queue-expiry.js';
import type { EngineState } from './state.js';

export class QueueRegistry {
  readonly #state: EngineState;
  readonly #expiry: QueueExpiry;
  readonly #freeIndexes: number[] = [];

  constructor(state: EngineState, expiry: QueueExpiry) {
    this.#state = state;
    this.#expiry = expiry;
  }

  /** Makes a queue and writes its record; null when there are too many, in all or in the namespace. */
  create(namespace: string, name: string, settings: QueueSettings, out: EffectSink): Queue | null {
    if (!this.hasRoom(namespace)) return null;
    const index = this.#freeIndexes.pop() ?? this.#state.queues.length;
    const queue = this.put(index, namespace, name, settings);
    if (queue.isResults) this.setEra(queue, this.#nextEra());
    const { era } = queue;
    out.record({ type: 'queue', timeMs: this.#state.nowMs, index, namespace, name, settings, era });
    this.#expiry.watch(queue);
    return queue;
  }

  /** What was archived of a queue's results counts no more. */
  beginEra(queue: Queue, out: EffectSink): void {
    this.setEra(queue, this.#nextEra());
    out.record({ type: 'results-era', index: queue.index, era: queue.era });
  }

  #nextEra(): number {
    return Math.max(this.#state.nowMs, this.#state.lastEra + 1);
  }

  /** Live or on replay. */
  setEra(queue: Queue, era: number): void {
    queue.era = era;
    this.#state.lastEra = Math.max(this.#state.lastEra, era);
  }

  /** Why there may not be one queue more, as whoever wants queue `name` is told. */
  refusal(namespace: string, name: string): Refusal {
    const { queuesByName, options } = this.#state;
    const { queuesMax } = options;
    if (queuesByName.size >= queuesMax) {
      const message = `Cannot declare queue "${name}": there are ${queuesMax} queues, expected fewer`;
      return { code: 'TOO_MANY_QUEUES', message, details: { limit: queuesMax } };
    }
    const limit = queuesByName.space(namespace)?.settings?.queuesMax;
    const message = `Cannot declare queue "${name}": namespace "${namespace}" has ${limit} queues, expected fewer (queuesMax)`;
    return { code: 'QUOTA_EXCEEDED', message, details: { quota: 'queuesMax', limit, namespace } };
  }

  /** Whether there may be one queue more, in all and in the namespace. */
  hasRoom(namespace: string): boolean {
    const { queuesByName, options } = this.#state;
    if (queuesByName.size >= options.queuesMax) return false;
    const space = queuesByName.space(namespace);
    return space === undefined || space.queues < (space.settings?.queuesMax ?? Number.POSITIVE_INFINITY);
  }

  /** Puts a queue at an index, live or on replay. */
  put(index: number, namespace: string, name: string, settings: QueueSettings): Queue {
    const queue = new Queue(index, namespace, name, settings, this.#state);
    queue.usedMs = this.#state.nowMs;
    const { queues, queuesByName } = this.#state;
    while (queues.length < index) queues.push(undefined);
    queues[index] = queue;
    queuesByName.set(`${namespace} ${name}`, queue);
    return queue;
  }

  /** The name is free; what is left in the queue goes slice by slice, and then `remove` follows. */
  unname(queue: Queue): void {
    queue.isDeleted = true;
    queue.dedup.drop();
    this.#state.queuesByName.delete(`${queue.namespace} ${queue.name}`);
  }

  /** The queue is empty: its index is free. */
  remove(queue: Queue): void {
    this.#state.queues[queue.index] = undefined;
    addTotals(this.#state.deletedTotals, queue.totals);
    this.#freeIndexes.push(queue.index);
  }

  /** After replay: which indexes are free is known only now. */
  findFreeIndexes(): void {
    this.#freeIndexes.length = 0;
    const { queues } = this.#state;
    for (let i = queues.length - 1; i >= 0; i--) if (queues[i] === undefined) this.#freeIndexes.push(i);
  }
}
