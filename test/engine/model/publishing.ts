/** PUBLISH: what is taken, what is known, what is refused. */
import { type ErrorCode, PUBLISH_FLAGS, type PublishBatch } from '@lovage/protocol';
import { payloadOf } from '../publish-batch.js';
import type { CommandOf, ModelQueue } from './entities.js';
import type { ModelFlow } from './flow.js';
import type { ModelMessages } from './messages.js';
import { fitsQuotas } from './namespaces.js';
import type { ModelState } from './state.js';

/** What a frame has taken of a queue so far. */
interface Taken {
  messages: number;
  bytes: number;
}

export class ModelPublishing {
  readonly #state: ModelState;
  readonly #messages: ModelMessages;
  readonly #flow: ModelFlow;

  constructor(state: ModelState, messages: ModelMessages, flow: ModelFlow) {
    this.#state = state;
    this.#messages = messages;
    this.#flow = flow;
  }

  /** `tableSize`: slots in use before it, which decides whether there is room. */
  publish({ session: number, batch, refused = null }: CommandOf<'publish'>, tableSize: number): void {
    const state = this.#state;
    const session = state.sessions.get(number)!;
    const producer = session.producer === null ? null : state.producer(session.namespace, session.producer);
    const isMemory = (batch.flags & PUBLISH_FLAGS.MEMORY) !== 0;
    const isRefused = refused !== null && refused.targets === null && batch.problem === null;
    const code = isRefused ? refused.code : this.#whyRefused(session.namespace, batch, isMemory, tableSize);
    if (code !== null) {
      for (let seq = batch.firstSeq; seq < batch.firstSeq + batch.count; seq++) {
        const before = batch.problem === null ? producer?.taken.get(seq) : undefined;
        if (before === undefined) state.answer({ type: 'reject', session: number, seq, code });
        else state.answer({ type: 'confirm', session: number, seq, id: before.id, isMemory });
      }
      return;
    }
    const targets = batch.targets.filter((_, index) => !refused?.targets?.has(index));
    if ((batch.flags & PUBLISH_FLAGS.AUTO_DECLARE) !== 0) {
      for (const name of targets)
        if (state.queue(session.namespace, name) === null) this.#messages.createQueue(session.namespace, name);
    }
    const baseId = state.nextId;
    // A key that a frame pushes out of the window is known to the end of the frame.
    const windows = new Map([...state.queues.values()].map((queue) => [queue, new Map(queue.dedup)]));
    const fresh: [queue: ModelQueue, i: number][] = [];
    const taken = new Map<ModelQueue, Taken>();
    for (let i = 0; i < batch.count; i++) {
      const seq = batch.firstSeq + i;
      const target = batch.targets[batch.target[i]!]!;
      const queue = targets.includes(target) ? state.queue(session.namespace, target) : null;
      const before = producer?.taken.get(seq);
      const key = batch.dedupKeys.get(i);
      const twin = queue === null || key === undefined ? undefined : windows.get(queue)!.get(key);
      const reject = (why: ErrorCode): void => state.answer({ type: 'reject', session: number, seq, code: why });
      if (before !== undefined) state.answer({ type: 'confirm', session: number, seq, id: before.id, isMemory });
      else if (refused?.targets?.has(batch.target[i]!)) reject(refused.code);
      else if (queue === null) reject('QUEUE_NOT_FOUND');
      else if (twin !== undefined && twin.timeMs + queue.settings.dedupWindowMs > state.nowMs) {
        queue.totals.duplicates++;
        state.answer({ type: 'duplicate', session: number, seq, id: twin.id, isMemory });
      } else if (!this.#claim(queue, taken, batch.payloadLength[i]!)) reject('QUEUE_FULL');
      else {
        fresh.push([queue, i]);
        if (key !== undefined && queue.settings.dedupWindowMs > 0)
          windows.get(queue)!.set(key, { id: baseId + i, timeMs: state.nowMs, isMemory });
        producer?.taken.set(seq, { id: baseId + i, isMemory });
        state.answer({ type: 'confirm', session: number, seq, id: baseId + i, isMemory });
      }
    }
    for (const [queue, i] of fresh) this.#take(batch, i, baseId + i, queue, isMemory);
    if (fresh.length > 0) {
      state.nextId = baseId + batch.count;
      this.#use(targets, session.namespace);
    }
    if (producer !== null) producer.confirmedSeq = Math.max(producer.confirmedSeq, batch.confirmedSeq);
    this.#flow.flow();
  }

  #whyRefused(namespace: string, batch: PublishBatch, isMemory: boolean, tableSize: number): ErrorCode | null {
    if (batch.problem !== null) return batch.problem.code;
    if (!isMemory && this.#state.refusal !== null) return this.#state.refusal;
    if (tableSize + batch.count > this.#state.options.messagesMax) return 'TOO_MANY_MESSAGES';
    return fitsQuotas(this.#state, namespace, batch) ? null : 'QUOTA_EXCEEDED';
  }

  /** Whether a queue that refuses what is too many has room for one more of the frame. */
  #claim(queue: ModelQueue, taken: Map<ModelQueue, Taken>, bytes: number): boolean {
    if (queue.settings.overflow !== 'reject-publish') return true;
    const before = taken.get(queue) ?? { messages: 0, bytes: 0 };
    if (!this.#messages.fits(queue, before.messages + 1, before.bytes + bytes)) return false;
    taken.set(queue, { messages: before.messages + 1, bytes: before.bytes + bytes });
    return true;
  }

  #use(targets: readonly string[], namespace: string): void {
    for (const name of targets) {
      const queue = this.#state.queue(namespace, name);
      if (queue !== null) queue.usedMs = this.#state.nowMs;
    }
  }

  #take(batch: PublishBatch, i: number, id: number, queue: ModelQueue, isMemory: boolean): void {
    const { nowMs } = this.#state;
    const lifeMs = batch.expiresInMs[i] || queue.settings.messageTtlMs;
    const delayMs = batch.delayMs[i]!;
    this.#state.messages.set(id, {
      id,
      queue,
      priority: batch.priority[i]! < 0 ? queue.settings.defaultPriority : batch.priority[i]!,
      expiryMs: lifeMs === 0 ? 0 : nowMs + lifeMs,
      isMemory,
      payload: payloadOf(batch, i),
      state: delayMs > 0 ? 'delayed' : 'waiting',
      attempts: 0,
      dueMs: delayMs > 0 ? nowMs + delayMs : 0,
      delayTurn: this.#state.nextTurn(),
      redelivered: false,
      lease: null,
      history: [],
    });
    queue.totals.published++;
    this.#state.touched.add(queue);
    const key = batch.dedupKeys.get(i);
    if (key === undefined || queue.settings.dedupWindowMs === 0) return;
    queue.dedup.delete(key);
    queue.dedup.set(key, { id, timeMs: nowMs, isMemory });
    if (queue.dedup.size > queue.settings.dedupKeysMax) queue.dedup.delete([...queue.dedup.keys()][0]!);
  }
}
