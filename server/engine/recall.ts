/**
 * Prefetch without hoarding: takes back deliveries that nobody has started, when somebody else could start them now or when something more urgent waits.
 *
 *     idle     a queue is empty, one of its consumers has credit, and another holds deliveries of it that have stood un-started for a while:
 *              up to half of those of the consumer that holds most go to the idle one
 *     urgent   a queue's next message finds no credit, and a consumer holds un-started deliveries of it that are less urgent: one of
 *              the least urgent comes back and makes room
 *
 * The client answers RELEASE for what it has not started and nothing for the rest, so a recall can only move work forward. It settles down: a
 * delivery is recalled once, a queue is looked at once in 20 ms at most, and the pause doubles, up to 320 ms, while looking finds nothing.
 */
import type { Attachment, Consumer } from './consumer.js';
import type { EffectSink } from './effects.js';
import { STATE } from './message-table.js';
import type { Queue } from './queue.js';
import type { EngineState } from './state.js';

/** ms that a delivery may stand un-started before an idle consumer may have it, and the shortest time between two looks. */
const STAND_MS = 20;
const PAUSE_MS_MAX = 320;
/** Deliveries recalled from one consumer at a time. */
const RECALLS_MAX = 1_000;
/** Leases that one look goes through: some 2 ms of work. */
const LEASES_PER_LOOK = 20_000;

export class Recall {
  readonly #state: EngineState;
  /** Queues that have deliveries out -> ms of the next look. */
  readonly #watched = new Map<Queue, { atMs: number; pauseMs: number }>();
  #nextMs = Number.POSITIVE_INFINITY;
  #leasesLeft = 0;

  constructor(state: EngineState) {
    this.#state = state;
  }

  /** A queue has un-started deliveries again. */
  watch(queue: Queue): void {
    if (this.#watched.has(queue)) return;
    const atMs = this.#state.nowMs + STAND_MS;
    this.#watched.set(queue, { atMs, pauseMs: STAND_MS });
    this.#nextMs = Math.min(this.#nextMs, atMs);
  }

  /** ms of the next look, Infinity if there is nothing to look at. */
  next(): number {
    return this.#nextMs;
  }

  /** Looks at the queues whose time has come. */
  look(out: EffectSink): void {
    const { nowMs } = this.#state;
    if (nowMs < this.#nextMs) return;
    this.#nextMs = Number.POSITIVE_INFINITY;
    this.#leasesLeft = LEASES_PER_LOOK;
    for (const [queue, watch] of this.#watched) {
      if (queue.leased === 0) {
        this.#watched.delete(queue);
        continue;
      }
      if (watch.atMs <= nowMs && this.#leasesLeft > 0) {
        const found = queue.isDeliverable && this.#lookAt(queue, out);
        watch.pauseMs = found ? STAND_MS : Math.min(PAUSE_MS_MAX, watch.pauseMs * 2);
        watch.atMs = nowMs + watch.pauseMs;
      }
      this.#nextMs = Math.min(this.#nextMs, Math.max(watch.atMs, nowMs + 1));
    }
  }

  /** True if something was recalled. */
  #lookAt(queue: Queue, out: EffectSink): boolean {
    const waiting = queue.ready.peek();
    if (waiting >= 0) return this.#makeRoom(queue, this.#state.table.priority[waiting]!, out);
    // Those who stand by are not to have any.
    if (queue.isSingle) return false;
    const idle = this.#idle(queue);
    return idle !== null && this.#share(queue, idle, out);
  }

  /** A consumer with credit and nothing that it could start. One that has given something back has credit, too, but is not idle. */
  #idle(queue: Queue): Consumer | null {
    for (const attachment of queue.attachments) {
      if (attachment.consumer.hasCredit() && this.#unstarted(attachment, () => true).length === 0)
        return attachment.consumer;
    }
    return null;
  }

  #share(queue: Queue, idle: Consumer, out: EffectSink): boolean {
    const credit = idle.prefetch === 0 ? RECALLS_MAX : Math.min(RECALLS_MAX, idle.prefetch - idle.unsettled);
    const standsSinceMs = this.#state.nowMs - STAND_MS;
    let most: number[] = [];
    for (const attachment of queue.attachments) {
      if (attachment.consumer === idle) continue;
      const leases = this.#unstarted(attachment, (lease) => this.#state.leases.sinceMs[lease]! <= standsSinceMs);
      if (leases.length > most.length) most = leases;
    }
    // The newest would have been started last.
    const count = Math.min(credit, Math.ceil(most.length / 2));
    for (const lease of most.slice(most.length - count)) this.#recall(lease, out);
    return count > 0;
  }

  #makeRoom(queue: Queue, priority: number, out: EffectSink): boolean {
    const { table, leases } = this.#state;
    for (const attachment of queue.attachments) {
      const lower = this.#unstarted(attachment, (lease) => table.priority[leases.slot[lease]!]! < priority);
      const least = lower.sort(
        (a, b) =>
          table.priority[leases.slot[a]!]! - table.priority[leases.slot[b]!]! || leases.tag[b]! - leases.tag[a]!,
      )[0];
      if (least === undefined) continue;
      this.#recall(least, out);
      return true;
    }
    return false;
  }

  /** Deliveries of a queue that a consumer has not started and was not asked for yet, by rising tag. */
  #unstarted(attachment: Attachment, matches: (lease: number) => boolean): number[] {
    const { table, leases } = this.#state;
    const found: number[] = [];
    attachment.consumer.session.tags.forEach((_, lease) => {
      if (--this.#leasesLeft < 0) return;
      const slot = leases.slot[lease]!;
      if (slot < 0 || leases.consumer[lease] !== attachment.consumer || leases.isRecalled[lease] === 1) return;
      if (table.state[slot] === STATE.LEASED && table.queue[slot] === attachment.queue.index && matches(lease))
        found.push(lease);
    });
    return found.sort((a, b) => leases.tag[a]! - leases.tag[b]!);
  }

  #recall(lease: number, out: EffectSink): void {
    const { leases } = this.#state;
    leases.isRecalled[lease] = 1;
    out.recall(leases.consumer[lease]!.session.number, leases.tag[lease]!);
  }
}
