/**
 * Prefetch without hoarding: takes back deliveries that nobody has started, when somebody else could start them now or when something more urgent waits.
 *
 *     idle     a consumer has credit and nothing to start, and the fullest of the others holds un-started deliveries of its queue that have stood for
 *              20 ms: the newest of those go to the idle one, so many that both hold alike
 *     urgent   messages wait without credit, and consumers of their queue hold un-started deliveries that are less urgent: those of a lower priority, and in
 *              strict order those of later queues. The least urgent come back and make room, one for each message that waits
 *
 * The client answers RELEASE for what it has not started and START for the rest, so a recall can only move work forward. It settles down:
 *
 * - **Rate.** A queue is looked at once in 20 ms at most, and a look asks for `SHARED_MAX` or `URGENT_MAX` deliveries. A consumer that has not
 *   answered is not asked to share again, and a delivery is asked for once.
 * - **Idle.** n deliveries go from a consumer with h unsettled ones to one with i only if h - n >= i + n. Each such move makes the sum of squares
 *   of the consumers' unsettled deliveries smaller by 2n(h - i - n), at least 2n. So as long as nobody publishes, starts or settles anything, no more deliveries move
 *   than half of the sum of (unsettled - mean)^2: none goes to and fro.
 * - **Urgent.** Each recall exchanges a delivery for a more urgent one, so as long as nobody publishes, a delivery comes back at most once for each
 *   more urgent message that waits.
 *
 * A queue's look is soon when a consumer of it runs out of work and when something more urgent than before begins to wait; otherwise the pause doubles,
 * up to 320 ms, while looking finds nothing.
 */
import type { Consumer } from './consumer.js';
import type { EffectSink } from './effects.js';
import { STATE } from './message-table.js';
import type { Queue, Watch } from './queue.js';
import { QueueAlarms } from './queue-alarms.js';
import type { EngineState } from './state.js';

/** ms that a delivery may stand un-started before an idle consumer may have it, and the shortest time between two looks at a queue. */
const STAND_MS = 20;
const PAUSE_MS_MAX = 320;
/** Deliveries that one look asks for, for an idle consumer and for urgent messages. */
const SHARED_MAX = 1_000;
const URGENT_MAX = 100;
/** Leases that the looks of one tick go through: some 2 ms of work. What is left is looked at in the next tick. */
const LEASES_PER_TICK = 20_000;
/** A consumer of more queues than this tells only so many that it is idle; the others find out by their next look. */
const HURRIED_MAX = 64;

/** A delivery that may come back: the smaller the rank, the less urgent. */
interface Candidate {
  readonly lease: number;
  readonly rank: number;
}

export class Recall {
  readonly #state: EngineState;
  readonly #alarms: QueueAlarms;
  #leasesLeft = 0;

  constructor(state: EngineState) {
    this.#state = state;
    this.#alarms = new QueueAlarms(state);
  }

  /** A queue has un-started deliveries again. */
  watch(queue: Queue): void {
    if (queue.watch !== null) return;
    const { nowMs } = this.#state;
    queue.watch = { lookedMs: nowMs, pauseMs: STAND_MS, priority: -1 };
    this.#alarms.set(queue, nowMs + STAND_MS);
  }

  /** A message of that priority waits because no consumer of its queue has credit. */
  waits(queue: Queue, priority: number): void {
    if (queue.watch === null) {
      if (queue.attachments.size > 0) this.watch(queue);
    } else if (priority > queue.watch.priority) {
      queue.watch.priority = priority;
      this.#hurry(queue, queue.watch);
    }
  }

  /** A consumer has credit and nothing to start, and its queues have nothing for it. */
  idles(consumer: Consumer): void {
    const count = Math.min(HURRIED_MAX, consumer.attachments.length);
    for (let i = 0; i < count; i++) {
      const { queue } = consumer.attachments[i]!;
      if (queue.watch !== null && queue.watch.pauseMs > STAND_MS) this.#hurry(queue, queue.watch);
    }
  }

  /** ms of the next look, Infinity if there is nothing to look at. */
  next(): number {
    return this.#alarms.next();
  }

  /** Looks at the queues whose time has come. */
  look(out: EffectSink): void {
    this.#leasesLeft = LEASES_PER_TICK;
    for (let queue = this.#alarms.take(); queue !== null; queue = this.#alarms.take()) {
      const { watch } = queue;
      if (watch === null) continue;
      if (queue.leased === 0 && (queue.ready.size === 0 || queue.attachments.size === 0)) {
        queue.watch = null;
        continue;
      }
      const { nowMs } = this.#state;
      if (this.#leasesLeft <= 0) {
        this.#alarms.set(queue, nowMs + 1);
        return;
      }
      const found = queue.isDeliverable && this.#lookAt(queue, watch, out);
      watch.lookedMs = nowMs;
      watch.pauseMs = found ? STAND_MS : Math.min(PAUSE_MS_MAX, watch.pauseMs * 2);
      this.#alarms.set(queue, nowMs + watch.pauseMs);
    }
  }

  #hurry(queue: Queue, watch: Watch): void {
    watch.pauseMs = STAND_MS;
    this.#alarms.set(queue, Math.max(this.#state.nowMs, watch.lookedMs + STAND_MS));
  }

  /** True if something was recalled. */
  #lookAt(queue: Queue, watch: Watch, out: EffectSink): boolean {
    const waiting = queue.ready.peek();
    watch.priority = waiting < 0 ? -1 : this.#state.table.priority[waiting]!;
    if (waiting >= 0) return this.#makeRoom(queue, watch.priority, out);
    // Those who stand by are not to have any.
    if (queue.isSingle) return false;
    const idle = this.#idle(queue);
    return idle !== null && this.#share(queue, idle, out);
  }

  /** The emptiest consumer with credit and nothing that it could start. One that has given something back has credit, too, but is not idle. */
  #idle(queue: Queue): Consumer | null {
    let idle: Consumer | null = null;
    for (const { consumer } of queue.attachments) {
      if (consumer.unsettled > consumer.started || !consumer.hasCredit()) continue;
      if (idle === null || consumer.unsettled < idle.unsettled) idle = consumer;
    }
    return idle;
  }

  #share(queue: Queue, idle: Consumer, out: EffectSink): boolean {
    const { leases } = this.#state;
    const standsSinceMs = this.#state.nowMs - STAND_MS;
    const credit = idle.prefetch === 0 ? SHARED_MAX : idle.prefetch - idle.unsettled;
    for (const holder of this.#holders(queue, idle)) {
      const found = this.#unstarted(
        holder,
        (lease) => this.#queueOf(lease) === queue.index && leases.sinceMs[lease]! <= standsSinceMs,
      );
      const count = Math.min(credit, SHARED_MAX, found.length, Math.floor((holder.unsettled - idle.unsettled) / 2));
      if (count === 0) continue;
      // The newest would have been started last.
      found.sort((a, b) => leases.tag[a]! - leases.tag[b]!);
      for (const lease of found.slice(found.length - count)) this.#recall(lease, out);
      return true;
    }
    return false;
  }

  /** Who has so much more than the idle consumer that it may share, the fullest first. */
  #holders(queue: Queue, idle: Consumer): Consumer[] {
    const found: Consumer[] = [];
    for (const { consumer } of queue.attachments) {
      const mayShare = consumer.unsettled > consumer.started && consumer.recalling === 0;
      if (mayShare && consumer.unsettled - idle.unsettled >= 2) found.push(consumer);
    }
    return found.sort((a, b) => b.unsettled - a.unsettled);
  }

  #makeRoom(queue: Queue, highest: number, out: EffectSink): boolean {
    const candidates: Candidate[] = [];
    // Who has been asked and has not answered makes room, too.
    let room = 0;
    for (const attachment of queue.attachments) {
      const { consumer } = attachment;
      if (consumer.prefetch === 0 || !consumer.session.isWritable) continue;
      if (queue.isSingle && queue.active !== attachment) continue;
      room += consumer.recalling;
      if (consumer.unsettled > consumer.started)
        this.#lessUrgent(queue, attachment.index, consumer, highest, candidates);
    }
    const { tag } = this.#state.leases;
    candidates.sort((a, b) => a.rank - b.rank || tag[b.lease]! - tag[a.lease]!);
    const waiting = queue.ready.priorities(Math.min(URGENT_MAX, room + candidates.length));
    let asked = 0;
    for (let i = room; i < waiting.length; i++) {
      const { lease, rank } = candidates[asked]!;
      if (rank >= waiting[i]!) break;
      this.#recall(lease, out);
      asked++;
    }
    return asked > 0;
  }

  #lessUrgent(queue: Queue, index: number, consumer: Consumer, highest: number, found: Candidate[]): void {
    const { table, leases } = this.#state;
    for (const lease of this.#unstarted(consumer, () => true)) {
      const isHere = this.#queueOf(lease) === queue.index;
      const isLater = consumer.order === 'strict' && leases.queueIndex[lease]! > index;
      if (!isHere && !isLater) continue;
      const rank = isHere ? table.priority[leases.slot[lease]!]! : -1;
      if (rank < highest) found.push({ lease, rank });
    }
  }

  /** Deliveries that a consumer has not started and was not asked for yet. */
  #unstarted(consumer: Consumer, matches: (lease: number) => boolean): number[] {
    const { table, leases } = this.#state;
    const found: number[] = [];
    consumer.session.tags.forEach((_, lease) => {
      if (--this.#leasesLeft < 0) return;
      const slot = leases.slot[lease]!;
      if (slot < 0 || leases.consumer[lease] !== consumer || leases.isRecalled[lease] === 1) return;
      if (table.state[slot] === STATE.LEASED && matches(lease)) found.push(lease);
    });
    return found;
  }

  #queueOf(lease: number): number {
    return this.#state.table.queue[this.#state.leases.slot[lease]!]!;
  }

  #recall(lease: number, out: EffectSink): void {
    const { leases } = this.#state;
    const consumer = leases.consumer[lease]!;
    leases.isRecalled[lease] = 1;
    consumer.recalling++;
    out.recall(consumer.session.number, leases.tag[lease]!);
  }
}
