// hot path
/** What a producer is told of a PUBLISH: confirms of what was taken, duplicates, and why the rest is refused. */
import { type ErrorCode, PUBLISH_FLAGS, type PublishBatch } from '@lovage/protocol';
import type { Refusal, RefusedPublish } from './command.js';
import type { EffectSink } from './effects.js';
import type { Queue } from './queue.js';
import type { QueueRegistry } from './queue-registry.js';
import type { RoutePlanner } from './route-planner.js';
import type { Session } from './session.js';

export class PublishAnswers {
  readonly #registry: QueueRegistry;
  readonly #planner: RoutePlanner;
  /** Queue of each target of the frame at hand, if that names no exchanges. */
  readonly #targets: readonly (Queue | null)[];
  /** What the door, or a bound of the namespace, refuses of the frame at hand. */
  refused: RefusedPublish | null = null;

  constructor(registry: QueueRegistry, planner: RoutePlanner, targets: readonly (Queue | null)[]) {
    this.#registry = registry;
    this.#planner = planner;
    this.#targets = targets;
  }

  /**
   * Refuses a whole frame. REJECT is final but for FLOW_BLOCKED, so what was taken before is confirmed again, whatever stands in the way of more messages now.
   * `isForNow`: it will come again, and nothing behind it is taken before.
   */
  refuse(session: Session, batch: PublishBatch, code: ErrorCode, isForNow: boolean, out: EffectSink): void {
    const { problem } = batch;
    const refused = problem === null && this.refused?.targets === null ? this.refused : null;
    const message =
      problem === null
        ? (refused?.message ?? '')
        : `Cannot publish: field "${problem.field}" of message ${problem.index} is not allowed`;
    const { number, producer } = session;
    const { firstSeq, count } = batch;
    const isResent = problem === null && producer !== null && firstSeq <= producer.lastSeq;
    const isMemory = (batch.flags & PUBLISH_FLAGS.MEMORY) !== 0;
    let from = 0;
    const reject = (to: number): void => {
      if (isForNow) session.holdBack(firstSeq + from, firstSeq + to - 1);
      out.reject(number, firstSeq + from, to - from, code, message, refused?.details);
    };
    for (let i = 0; isResent && i < count; i++) {
      const taken = producer.idOf(firstSeq + i);
      if (taken === 0) continue;
      if (i > from) reject(i);
      out.confirm(number, firstSeq + i, 1, taken, isMemory);
      from = i + 1;
    }
    if (count > from) reject(count);
  }

  /** Confirms a frame to queues whose messages got ids from `baseId` on, but for the exceptions. */
  confirm(
    session: Session,
    batch: PublishBatch,
    baseId: number,
    exceptions: readonly number[],
    isMemory: boolean,
    out: EffectSink,
  ): void {
    const { number } = session;
    let from = 0;
    for (let e = 0; e <= exceptions.length; e += 2) {
      const to = e < exceptions.length ? exceptions[e]! : batch.count;
      if (to > from) out.confirm(number, batch.firstSeq + from, to - from, baseId + from, isMemory);
      from = to + 1;
    }
    if (exceptions.length > 0) this.except(session, batch, exceptions, isMemory, out);
  }

  /** Tells of messages that were not taken: index, id, index, id, ...; id 0 means refused. */
  except(
    session: Session,
    batch: PublishBatch,
    exceptions: readonly number[],
    isMemory: boolean,
    out: EffectSink,
  ): void {
    const { number, producer } = session;
    for (let e = 0; e < exceptions.length; ) {
      const seq = batch.firstSeq + exceptions[e]!;
      const id = exceptions[e + 1]!;
      if (id === 0) {
        e = this.#rejectRun(session, batch, exceptions, e, out);
        continue;
      }
      if (producer !== null && producer.idOf(seq) === id) out.confirm(number, seq, 1, id, isMemory);
      else out.duplicate(number, seq, id, isMemory);
      e += 2;
    }
  }

  /** Why message `i` is refused. */
  whyNot(namespace: string, batch: PublishBatch, i: number): Refusal {
    const full = this.#fullOf(batch, i);
    return full === null ? this.#whyRefused(namespace, batch, batch.target[i]!) : whyFull(full);
  }

  /** Refuses the message of exception `e` and those behind it that are refused for the same reason. Returns the next exception. */
  #rejectRun(
    { number, namespace }: Session,
    batch: PublishBatch,
    exceptions: readonly number[],
    e: number,
    out: EffectSink,
  ): number {
    const index = exceptions[e]!;
    const target = batch.target[index]!;
    const full = this.#fullOf(batch, index);
    let end = e + 2;
    while (exceptions[end] === index + (end - e) / 2 && exceptions[end + 1] === 0) {
      if (batch.target[exceptions[end]!] !== target || this.#fullOf(batch, exceptions[end]!) !== full) break;
      end += 2;
    }
    const seq = batch.firstSeq + index;
    const count = (end - e) / 2;
    const { code, message, details } = this.whyNot(namespace, batch, index);
    out.reject(number, seq, count, code, message, details);
    return end;
  }

  /** The queue that has no room for message `i`, which is refused; null if it is refused for another reason. */
  #fullOf(batch: PublishBatch, i: number): Queue | null {
    return batch.exchanges.length > 0 ? this.#planner.fullOf(i) : this.#targets[batch.target[i]!]!;
  }

  /** Why what is published to a target is refused, though no queue is full. */
  #whyRefused(namespace: string, batch: PublishBatch, target: number): Refusal {
    const { refused } = this;
    if (refused?.targets?.has(target)) return refused;
    const name = batch.targets[target]!;
    const exchange = batch.exchanges[target] ?? null;
    if (exchange === null) {
      const isDeclared = (batch.flags & PUBLISH_FLAGS.AUTO_DECLARE) !== 0;
      if (isDeclared) return this.#registry.refusal(namespace, name);
      return { code: 'QUEUE_NOT_FOUND', message: `Cannot publish: queue "${name}" does not exist` };
    }
    if (exchange !== '' && !this.#planner.hasExchange(target)) {
      const message = `Cannot publish: exchange "${exchange}" does not exist`;
      return { code: 'EXCHANGE_NOT_FOUND', message, details: { exchange } };
    }
    const message = `Cannot publish: exchange "${exchange}" leads key "${name}" to no queue, expected one or more`;
    return { code: 'UNROUTABLE', message, details: { exchange, key: name } };
  }
}

function whyFull({ name, settings: { messagesMax, bytesMax } }: Queue): Refusal {
  const room = [messagesMax > 0 ? `${messagesMax} messages` : '', bytesMax > 0 ? `${bytesMax} bytes` : ''];
  const message = `Cannot publish: queue "${name}" is full, expected room within ${room.filter(Boolean).join(' and ')}`;
  return { code: 'QUEUE_FULL', message, details: { queue: name } };
}
