/** Declarations and changes of queues, purges and deletions, and queues that go because nobody uses them. */
import { type QueueSettings, settingsConflict } from '@lovage/protocol';
import type { CommandOf, ModelConsumer, ModelQueue } from './entities.js';
import type { ModelFlow } from './flow.js';
import type { ModelMessages } from './messages.js';
import { defaultsOf } from './namespaces.js';
import type { ModelState } from './state.js';

type QueueCommand = CommandOf<'purge' | 'pause' | 'resume' | 'inspect'>;

export class ModelQueues {
  readonly #state: ModelState;
  readonly #messages: ModelMessages;
  readonly #flow: ModelFlow;

  constructor(state: ModelState, messages: ModelMessages, flow: ModelFlow) {
    this.#state = state;
    this.#messages = messages;
    this.#flow = flow;
  }

  declare(command: CommandOf<'declare'>): void {
    const { namespace } = this.#state.sessions.get(command.session)!;
    const { name, mode, settings } = command;
    const queue = this.#state.queue(namespace, name);
    const isMerge = queue !== null && mode === 'merge';
    const base = isMerge ? queue.settings : defaultsOf(this.#state, namespace, name);
    const wanted: QueueSettings = { ...base, ...settings };
    if (settingsConflict(wanted, name) !== null) return this.#state.fail(command, 'INVALID_ARGUMENT');
    if (queue === null) {
      const made = this.#messages.createQueue(namespace, name, wanted);
      const isFull = this.#state.queues.size >= this.#state.options.queuesMax;
      if (made === null) return this.#state.fail(command, isFull ? 'TOO_MANY_QUEUES' : 'QUOTA_EXCEEDED');
      return this.#state.reply(command, { created: true, settings: wanted, version: 1 });
    }
    const names = Object.keys(wanted) as (keyof QueueSettings)[];
    const differs = settings !== null && names.some((field) => wanted[field] !== queue.settings[field]);
    if (differs && !isMerge) return this.#state.fail(command, 'QUEUE_MISMATCH');
    queue.usedMs = this.#state.nowMs;
    if (differs) this.#change(queue, wanted);
    this.#state.reply(command, { created: false, settings: { ...queue.settings }, version: queue.version });
  }

  delete(command: CommandOf<'delete'>): void {
    const queue = this.#state.named(command);
    if (queue === null) return;
    if (command.ifEmpty && this.#state.messagesOf(queue).length > 0)
      return this.#state.fail(command, 'QUEUE_NOT_EMPTY');
    if (command.ifUnused && this.#state.consumersOf(queue).length > 0) return this.#state.fail(command, 'QUEUE_IN_USE');
    this.#delete(queue, command);
  }

  purge(command: QueueCommand): void {
    const queue = this.#state.named(command);
    if (queue === null) return;
    queue.purgeBelowId = this.#state.nextId;
    queue.purges++;
    const { session, request } = command;
    this.#state.sweeps.push({ queue, isDelete: false, session, request, removed: 0 });
  }

  pause(command: QueueCommand, isPaused: boolean): void {
    const queue = this.#state.named(command);
    if (queue === null) return;
    queue.isPaused = isPaused;
    this.#state.reply(command, { isPaused });
    this.#flow.flow();
  }

  inspect(command: QueueCommand): void {
    const queue = this.#state.named(command);
    if (queue !== null) this.#state.reply(command, this.info(queue));
  }

  list(command: CommandOf<'list'>): void {
    const { namespace } = this.#state.sessions.get(command.session)!;
    const { after, limit } = command;
    const found = [...this.#state.queues.values()]
      .filter((queue) => queue.namespace === namespace && (after === null || queue.name > after))
      .sort((a, b) => (a.name < b.name ? -1 : 1));
    const page = found.slice(0, limit);
    const next = found.length > limit ? page.at(-1)!.name : null;
    this.#state.reply(command, { queues: page.map((queue) => this.info(queue)), next });
  }

  /** As QUEUE_INSPECT tells it. */
  info(queue: ModelQueue): Record<string, unknown> {
    const counts = { waiting: 0, delayed: 0, leased: 0, started: 0 };
    let bytes = 0;
    for (const message of this.#state.messagesOf(queue)) {
      counts[message.state]++;
      bytes += message.payload.length;
    }
    const { name, namespace, isPaused, settings, version, totals } = queue;
    const { waiting: ready, delayed, leased, started } = counts;
    return {
      name,
      namespace,
      isPaused,
      settings,
      version,
      ready,
      limited: this.#state.messagesOf(queue).filter((one) => one.state === 'waiting' && !this.#state.rates.isOpen(one))
        .length,
      delayed,
      leased,
      started,
      bytes,
      consumers: this.#state.consumersOf(queue).length,
      dedupKeys: [...queue.dedup.values()].filter(
        ({ timeMs }) => timeMs + queue.settings.dedupWindowMs > this.#state.nowMs,
      ).length,
      totals: { ...totals },
    };
  }

  /** One purge or deletion is done at a time. */
  sweep(): void {
    const sweep = this.#state.sweeps.shift();
    if (sweep === undefined) return;
    const { queue, isDelete, session, request } = sweep;
    for (const message of this.#state.messagesOf(queue)) {
      if (message.lease !== null) continue;
      if (!isDelete && message.id >= queue.purgeBelowId) continue;
      this.#state.messages.delete(message.id);
      queue.totals.purged++;
      sweep.removed++;
    }
    if (!isDelete && !this.#state.sweeps.some((other) => other.queue === queue)) queue.purgeBelowId = 0;
    this.#flow.flow();
    if (session === 0) return;
    const result = isDelete ? { messages: sweep.removed } : { purged: sweep.removed };
    this.#state.answer({ type: 'reply', session, request, result });
  }

  /** ms at which a queue goes if nobody uses it until then, Infinity for never. */
  deadline(queue: ModelQueue): number {
    const { expiresAfterUnusedMs } = queue.settings;
    if (expiresAfterUnusedMs === 0 || this.#state.consumersOf(queue).length > 0) return Number.POSITIVE_INFINITY;
    return queue.usedMs + expiresAfterUnusedMs;
  }

  expire(): void {
    const over = [...this.#state.queues.values()].filter((queue) => this.deadline(queue) <= this.#state.nowMs);
    for (const queue of over.sort((a, b) => a.index - b.index)) this.#delete(queue, null);
  }

  /** All queues of a namespace, by name. */
  deleteAll(namespace: string): void {
    const all = [...this.#state.queues.values()].filter((queue) => queue.namespace === namespace);
    for (const queue of all.sort((a, b) => (a.name < b.name ? -1 : 1))) this.#away(queue, null);
    this.#flow.flow();
  }

  #change(queue: ModelQueue, settings: QueueSettings): void {
    const { nowMs } = this.#state;
    const wasSingle = queue.settings.singleActiveConsumer;
    const forget = (windowMs: number): void => {
      for (const [key, { timeMs }] of [...queue.dedup]) if (timeMs + windowMs <= nowMs) queue.dedup.delete(key);
    };
    forget(queue.settings.dedupWindowMs);
    forget(settings.dedupWindowMs);
    while (queue.dedup.size > settings.dedupKeysMax) queue.dedup.delete([...queue.dedup.keys()][0]!);
    queue.settings = settings;
    queue.version++;
    if (settings.singleActiveConsumer !== wasSingle) {
      queue.active = null;
      for (const consumer of this.#state.consumersOf(queue)) this.#state.gained.add(consumer);
    }
    this.#flow.flow();
  }

  #delete(queue: ModelQueue, command: CommandOf<'delete'> | null): void {
    this.#away(queue, command);
    this.#flow.flow();
  }

  #away(queue: ModelQueue, command: CommandOf<'delete'> | null): void {
    queue.isDeleted = true;
    this.#state.queues.delete(`${queue.namespace} ${queue.name}`);
    this.#state.exchanges.queueDeleted(queue.namespace, queue.name);
    const out = this.#state.messagesOf(queue).filter(({ lease }) => lease !== null);
    for (const message of out) {
      const { session, tag } = message.lease!;
      if (message.state === 'leased') this.#state.rates.refund(message);
      this.#messages.endLease(message.lease!);
      session.revoked.add(tag);
      this.#state.messages.delete(message.id);
    }
    for (const consumer of this.#state.consumersOf(queue)) this.#loseQueue(consumer, queue);
    if (command === null && this.#state.messagesOf(queue).length === 0) return;
    const { session = 0, request = 0 } = command ?? {};
    this.#state.sweeps.push({ queue, isDelete: true, session, request, removed: out.length });
  }

  #loseQueue(consumer: ModelConsumer, queue: ModelQueue): void {
    consumer.queues = consumer.queues.map((other) => (other === queue ? null : other));
    const told = { session: consumer.session.number, consumerId: consumer.id, code: 'QUEUE_DELETED' } as const;
    if (consumer.queues.some((other) => other !== null))
      return this.#state.answer({ type: 'queueGone', queue: queue.name, ...told });
    this.#state.answer({ type: 'cancelled', ...told });
    consumer.isActive = false;
    this.#messages.dropIdle(consumer);
  }
}
