/** Queues come, go, are emptied and held: everything about them but the messages' way through. */
import {
  differingSettings,
  type ErrorCode,
  type QueueInfo,
  type QueueSettings,
  settingsConflict,
} from '@lovage/protocol';
import type { DeclareCommand, DeleteCommand, QueueCommand } from './command.js';
import type { Attachment, Consumer } from './consumer.js';
import type { Deliveries } from './deliveries.js';
import type { EffectSink } from './effects.js';
import type { Exchanges } from './exchanges.js';
import { IdRuns } from './id-runs.js';
import { STATE } from './message-table.js';
import type { Places } from './places.js';
import type { Queue } from './queue.js';
import type { QueueExpiry } from './queue-expiry.js';
import type { QueueRegistry } from './queue-registry.js';
import type { SingleActive } from './single-active.js';
import type { EngineState } from './state.js';

/** Messages removed at a time by a purge or a delete: some 2 ms of work. */
const SLICE = 10_000;

/** In place of a session that waits for the end of a sweep. */
const NOBODY = 0;

/** A purge or a delete under way. */
interface Sweep {
  readonly queue: Queue;
  /** The queue itself goes, too, and its record says so: no settle records are written. */
  readonly isDelete: boolean;
  readonly session: number;
  readonly request: number;
  removed: number;
}

/** The parts of the engine that queues work with. */
export interface QueueParts {
  readonly places: Places;
  readonly registry: QueueRegistry;
  readonly expiry: QueueExpiry;
  readonly single: SingleActive;
  readonly deliveries: Deliveries;
  readonly exchanges: Exchanges;
}

export class Queues {
  readonly #state: EngineState;
  readonly #places: Places;
  readonly #registry: QueueRegistry;
  readonly #expiry: QueueExpiry;
  readonly #single: SingleActive;
  readonly #deliveries: Deliveries;
  readonly #sweeps: Sweep[] = [];
  readonly #purged = new IdRuns();
  readonly #exchanges: Exchanges;

  constructor(state: EngineState, parts: QueueParts) {
    this.#state = state;
    this.#places = parts.places;
    this.#registry = parts.registry;
    this.#expiry = parts.expiry;
    this.#single = parts.single;
    this.#deliveries = parts.deliveries;
    this.#exchanges = parts.exchanges;
  }

  /** True while a purge or a delete has slices left. */
  get isSweeping(): boolean {
    return this.#sweeps.length > 0;
  }

  declare(command: DeclareCommand, out: EffectSink): void {
    const { namespace } = this.#state.session(command.session);
    const queue = this.#state.queue(namespace, command.name);
    const base =
      queue !== null && command.mode === 'merge'
        ? queue.settings
        : this.#state.defaultSettings(namespace, command.name);
    const settings = { ...base, ...command.settings };
    const conflict = settingsConflict(settings, command.name);
    if (conflict !== null) {
      const { code, message, details = null } = conflict;
      return out.fail(command.session, command.request, code, message, details);
    }
    if (queue === null) return this.#declareNew(namespace, command, settings, out);
    const differing = command.settings === null ? [] : differingSettings(queue.settings, settings);
    if (differing.length > 0 && command.mode === 'check') {
      const told = differing.map((name) => `${name} is ${queue.settings[name]}`).join(', ');
      const message = `Cannot declare queue "${queue.name}": ${told}, expected the settings of the first declaration`;
      return out.fail(command.session, command.request, 'QUEUE_MISMATCH', message, { fields: differing });
    }
    if (differing.length > 0) this.#change(queue, settings, out);
    queue.usedMs = this.#state.nowMs;
    this.#replyDeclared(command, queue, false, out);
  }

  delete(command: DeleteCommand, out: EffectSink): void {
    const queue = this.#find(command, 'delete', out);
    if (queue === null) return;
    if (command.ifEmpty && queue.size > 0) {
      return this.#fail(
        command,
        'QUEUE_NOT_EMPTY',
        `Cannot delete queue "${queue.name}": it holds ${queue.size} messages, expected none`,
        out,
      );
    }
    if (command.ifUnused && queue.attachments.size > 0) {
      return this.#fail(
        command,
        'QUEUE_IN_USE',
        `Cannot delete queue "${queue.name}": it has ${queue.attachments.size} consumers, expected none`,
        out,
      );
    }
    this.#delete(queue, command, out);
  }

  /** A queue that nobody has used for as long as its settings say goes like one that is deleted, but nobody waits for an answer. */
  expire(out: EffectSink): void {
    const due: Queue[] = [];
    for (let queue = this.#expiry.due(); queue !== null; queue = this.#expiry.due()) due.push(queue);
    for (const queue of due.sort((a, b) => a.index - b.index)) this.#delete(queue, null, out);
  }

  #delete(queue: Queue, command: DeleteCommand | null, out: EffectSink): void {
    out.record({ type: 'queue-delete', index: queue.index });
    this.#away(queue, command, out);
    this.#deliveries.flow(out);
  }

  #away(queue: Queue, command: DeleteCommand | null, out: EffectSink): void {
    this.#registry.unname(queue);
    this.#exchanges.forgetDestination(queue);
    this.#expiry.forget(queue);
    const archived = queue.isResults ? out.archiveLeft(queue, queue.era) : 0;
    const removed = this.#dropUnsettled(queue) + archived;
    for (const attachment of queue.attachments) this.#endAttachment(attachment, out);
    // A namespace may have a hundred thousand queues: those that are empty need no turn of their own.
    if (command === null && queue.size === 0) return this.#registry.remove(queue);
    const { session = NOBODY, request = 0 } = command ?? {};
    this.#sweeps.push({ queue, isDelete: true, session, request, removed });
  }

  /** All queues of a namespace go, as by delete; the caller has written why. */
  deleteAll(namespace: string, out: EffectSink): void {
    const queues = [...this.#state.queuesByName.values()].filter((queue) => queue.namespace === namespace);
    for (const queue of queues.sort((a, b) => (a.name < b.name ? -1 : 1))) this.#away(queue, null, out);
    this.#deliveries.flow(out);
  }

  purge(command: QueueCommand, out: EffectSink): void {
    const queue = this.#find(command, 'purge', out);
    if (queue === null) return;
    queue.purgeBelowId = this.#state.nextId;
    const removed = queue.isResults ? this.#leaveArchived(queue, out) : 0;
    this.#sweeps.push({ queue, isDelete: false, session: command.session, request: command.request, removed });
  }

  /** What was archived counts no more from the record on that says so; results that are still here go slice by slice. */
  #leaveArchived(queue: Queue, out: EffectSink): number {
    const archived = out.archiveLeft(queue, queue.era);
    this.#registry.beginEra(queue, out);
    queue.totals.purged += archived;
    return archived;
  }

  pause(command: QueueCommand, isPaused: boolean, out: EffectSink): void {
    const queue = this.#find(command, isPaused ? 'pause' : 'resume', out);
    if (queue === null) return;
    if (queue.isPaused !== isPaused) {
      queue.isPaused = isPaused;
      out.record({ type: 'queue-pause', index: queue.index, isPaused });
      if (!isPaused) this.#deliveries.dispatch(queue, out);
    }
    out.reply(command.session, command.request, { isPaused });
  }

  inspect(command: QueueCommand, out: EffectSink): void {
    const queue = this.#find(command, 'inspect', out);
    if (queue !== null) out.reply(command.session, command.request, queue.info(this.#state.nowMs));
  }

  /** Queues of one namespace (all of them when null) by name, from behind `after` on. */
  list(namespace: string | null, after: string | null, limit: number): { queues: QueueInfo[]; next: string | null } {
    const found = [...this.#state.queuesByName.values()]
      .filter(
        (queue) => (namespace === null || queue.namespace === namespace) && (after === null || queue.name > after),
      )
      .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : a.namespace < b.namespace ? -1 : 1));
    const page = found.slice(0, limit);
    return {
      queues: page.map((queue) => queue.info(this.#state.nowMs)),
      next: found.length > limit ? page.at(-1)!.name : null,
    };
  }

  /** Replay of a change of settings. */
  configure(index: number, settings: QueueSettings, version: number, timeMs: number): void {
    this.#state.queues[index]?.configure(settings, version, timeMs);
  }

  /** After replay: queues that go when they are unused are unused from now on, and bounds hold again. */
  recovered(): void {
    this.#registry.findFreeIndexes();
    for (const queue of this.#state.queuesByName.values()) {
      this.#expiry.watch(queue);
      if (queue.isEvicting) this.#places.grown.add(queue);
    }
  }

  /** Does one slice of the oldest purge or delete. */
  sweep(out: EffectSink): void {
    const sweep = this.#sweeps[0];
    if (sweep === undefined) return;
    if (!this.#sweepSlice(sweep, SLICE, out)) return;
    this.#sweeps.shift();
    const { queue, isDelete, session, request, removed } = sweep;
    if (isDelete) {
      this.#registry.remove(queue);
    } else if (!this.#sweeps.some((other) => other.queue === queue)) {
      queue.purgeBelowId = 0;
      this.#deliveries.dispatch(queue, out);
    }
    if (session !== NOBODY) out.reply(session, request, isDelete ? { messages: removed } : { purged: removed });
  }

  /** Replay of a queue-delete record: everything at once. */
  remove(index: number, out: EffectSink): void {
    const queue = this.#state.queues[index];
    if (queue === undefined) return;
    this.#registry.unname(queue);
    this.#exchanges.forgetDestination(queue);
    this.#dropUnsettled(queue);
    const sweep: Sweep = { queue, isDelete: true, session: NOBODY, request: 0, removed: 0 };
    this.#sweepSlice(sweep, Number.POSITIVE_INFINITY, out);
    this.#state.queues[index] = undefined;
  }

  #declareNew(namespace: string, command: DeclareCommand, settings: QueueSettings, out: EffectSink): void {
    const queue = this.#registry.create(namespace, command.name, settings, out);
    if (queue === null) {
      const { code, message, details = null } = this.#registry.refusal(namespace, command.name);
      return out.fail(command.session, command.request, code, message, details);
    }
    this.#replyDeclared(command, queue, true, out);
  }

  /** Changes settings that are in force from here on: for what is in the queue, too, but for expiries that messages have already. */
  #change(queue: Queue, settings: QueueSettings, out: EffectSink): void {
    const { nowMs } = this.#state;
    const wasSingle = queue.isSingle;
    queue.configure(settings, queue.version + 1, nowMs);
    out.record({ type: 'queue-settings', timeMs: nowMs, index: queue.index, version: queue.version, settings });
    this.#expiry.watch(queue);
    if (queue.isEvicting) this.#places.grown.add(queue);
    if (queue.isSingle !== wasSingle) this.#single.switched(queue, (consumer) => this.#deliveries.touch(consumer));
    this.#deliveries.flow(out);
  }

  #replyDeclared({ session, request }: DeclareCommand, queue: Queue, created: boolean, out: EffectSink): void {
    out.reply(session, request, { created, settings: { ...queue.settings }, version: queue.version });
  }

  /** Removes up to `most` waiting messages; true when none of the sweep's is left. */
  #sweepSlice(sweep: Sweep, most: number, out: EffectSink): boolean {
    const { queue, isDelete } = sweep;
    const { table } = this.#state;
    const belowId = isDelete ? Number.POSITIVE_INFINITY : queue.purgeBelowId;
    let left = most;
    // Nothing is delivered during a purge, so what waits below the bound is found at the heads; messages published meanwhile stay.
    for (
      let slot = queue.ready.peekBelow(belowId);
      slot >= 0 && left > 0;
      slot = queue.ready.peekBelow(belowId), left--
    )
      this.#sweepOut(slot, sweep);
    for (let slot = queue.delayedHead; slot >= 0 && left > 0; ) {
      const next = table.next[slot]!;
      if (table.id[slot]! < belowId) {
        this.#sweepOut(slot, sweep);
        left--;
      }
      slot = next;
    }
    if (!this.#purged.isEmpty) out.record({ type: 'settle', reason: 'purged', ids: this.#purged.pairs });
    this.#purged.clear();
    return left > 0;
  }

  #sweepOut(slot: number, sweep: Sweep): void {
    const { table } = this.#state;
    const { queue } = sweep;
    this.#places.unlink(slot, queue);
    queue.totals.purged++;
    if (!sweep.isDelete && !table.isMemory(slot)) this.#purged.add(table.id[slot]!);
    this.#places.forget(slot, queue);
    sweep.removed++;
  }

  /** The unsettled messages of a queue that is deleted go; their consumers get their credit back, and later answers are SUPERSEDED. */
  #dropUnsettled(queue: Queue): number {
    if (queue.leased + queue.started === 0) return 0;
    const { table, leases } = this.#state;
    let dropped = 0;
    leases.forEach((lease) => {
      const slot = leases.slot[lease]!;
      if (slot < 0 || table.queue[slot] !== queue.index || table.state[slot] === STATE.SENDING) return;
      this.#deliveries.dropLeased(lease, queue);
      dropped++;
    });
    return dropped;
  }

  #endAttachment(attachment: Attachment, out: EffectSink): void {
    const { consumer, queue } = attachment;
    queue.attachments.delete(attachment);
    queue.rotation.remove(attachment);
    if (attachment.isMarked) consumer.unmark(attachment);
    if (!consumer.isActive) return;
    if (consumer.attachments.some((other) => other.queue.attachments.has(other)))
      return out.queueGone(consumer.session.number, consumer.id, queue.name, 'QUEUE_DELETED');
    this.#endConsumer(consumer, out);
  }

  #endConsumer(consumer: Consumer, out: EffectSink): void {
    consumer.isActive = false;
    if (consumer.unsettled === 0) consumer.session.consumers.delete(consumer.id);
    out.cancelled(consumer.session.number, consumer.id, 'QUEUE_DELETED');
  }

  #find(command: QueueCommand | DeleteCommand, verb: string, out: EffectSink): Queue | null {
    const queue = this.#state.queue(this.#state.session(command.session).namespace, command.name);
    if (queue === null)
      this.#fail(command, 'QUEUE_NOT_FOUND', `Cannot ${verb} queue "${command.name}": it does not exist`, out);
    return queue;
  }

  #fail(
    command: { session: number; request: number; name: string },
    code: ErrorCode,
    message: string,
    out: EffectSink,
  ): void {
    out.fail(command.session, command.request, code, message, { queue: command.name });
  }
}
