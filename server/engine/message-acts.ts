/**
 * Messages of one queue that are dropped, made ready before their time, given another priority, moved or sent back, each at O(log n) whatever waits beside them:
 *
 *     drop       waiting: gone. Leased: recalled and gone, a later answer is SUPERSEDED. Started: only with `force`, then the same
 *     retry      delayed: ready now, in its old place by (priority, id)
 *     priority   waiting: takes its new place. Delayed, leased or started: has it when it waits again
 *     move       to another queue, as a dead letter goes, but without a word in its history. Leased and started: as by drop
 *     revoke     done, with a result given from outside: see `revoking.ts`
 *     redrive    a dead letter goes back to the queue that has given it up last, which is made again if it is gone
 *
 * By a filter a command does one step, see `message-walk.ts`, and answers where the next one begins. Each step is in the journal by itself. A queue's own bounds
 * hold back nobody here: whoever moves messages by hand has decided that they shall be there; a queue that pushes out what is too many does.
 */
import type { MessageOutcome, MessageSkip } from '@lovage/protocol';
import type { MessageActCommand } from './command.js';
import type { DeadLetters } from './dead-letters.js';
import type { Deliveries } from './deliveries.js';
import type { EffectSink } from './effects.js';
import { STATE } from './message-table.js';
import { MessageWalk } from './message-walk.js';
import type { Places } from './places.js';
import type { Queue } from './queue.js';
import type { QueueRegistry } from './queue-registry.js';
import { recordParts } from './record.js';
import type { Results } from './results.js';
import { Revoking } from './revoking.js';
import type { EngineState } from './state.js';

/** Messages that one step by a filter changes or skips. */
const STEP_MAX = 1_000;

/** The parts of the engine that the acts work with. */
export interface MessageActParts {
  readonly places: Places;
  readonly registry: QueueRegistry;
  readonly deadLetters: DeadLetters;
  readonly deliveries: Deliveries;
  readonly results: Results;
}

export class MessageActs {
  readonly #state: EngineState;
  readonly #places: Places;
  readonly #registry: QueueRegistry;
  readonly #deadLetters: DeadLetters;
  readonly #deliveries: Deliveries;
  readonly #revoking: Revoking;
  readonly #walk: MessageWalk;
  /** Of the record that is gathered. */
  readonly #entries: number[] = [];

  constructor(state: EngineState, parts: MessageActParts) {
    this.#state = state;
    this.#places = parts.places;
    this.#registry = parts.registry;
    this.#deadLetters = parts.deadLetters;
    this.#deliveries = parts.deliveries;
    this.#revoking = new Revoking(state, parts.places, parts.deliveries, parts.results);
    this.#walk = new MessageWalk(state);
  }

  apply(command: MessageActCommand, out: EffectSink): void {
    const { session, request, ids } = command;
    const { namespace } = this.#state.session(session);
    const queue = command.queue === null ? null : this.#state.queue(namespace, command.queue);
    const target = command.act === 'move' ? this.#state.queue(namespace, command.to) : null;
    const missing = queue === null ? command.queue : command.act === 'move' && target === null ? command.to : null;
    if (missing !== null) {
      const message = `Cannot ${command.act} messages: queue "${missing}" does not exist, expected one of this namespace`;
      return out.fail(session, request, 'QUEUE_NOT_FOUND', message, { queue: missing });
    }
    const outcome = {
      matched: 0,
      changed: 0,
      skipped: {} as { [S in MessageSkip]?: number },
      next: null as number | null,
    };
    const act = (slot: number): void => {
      outcome.matched++;
      const skip = this.#act(command, slot, this.#state.queueOf(slot), target, out);
      if (skip === null) outcome.changed++;
      else outcome.skipped[skip] = (outcome.skipped[skip] ?? 0) + 1;
    };
    if (ids === null) {
      const visit = (slot: number): boolean => {
        act(slot);
        return outcome.matched < STEP_MAX;
      };
      outcome.next = this.#walk.step(queue!, command.filter, command.after, visit, out);
    } else {
      for (const id of new Set(ids)) {
        const slot = queue === null ? this.#walk.findIn(namespace, id) : this.#walk.find(queue, id);
        if (slot >= 0) act(slot);
        else outcome.skipped.MESSAGE_NOT_FOUND = (outcome.skipped.MESSAGE_NOT_FOUND ?? 0) + 1;
      }
      if (outcome.matched === 0 && ids.length === 1) return this.#notFound(command, ids[0]!, out);
    }
    this.#record(command, out);
    if (command.act === 'revoke') this.#revoking.flush(namespace, command.result, command.terminate, out);
    this.#deliveries.flow(out);
    out.reply(session, request, outcome satisfies MessageOutcome);
  }

  /** Name of the queue that a message of the namespace is in and not done yet; null if there is none. */
  queueOf(namespace: string, id: number): string | null {
    const slot = this.#walk.findIn(namespace, id);
    return slot < 0 ? null : this.#state.queueOf(slot).name;
  }

  /** Gives a message another priority, live or on replay: one that is ready takes its new place. */
  setPriority(slot: number, priority: number): void {
    const { table } = this.#state;
    const state = table.state[slot];
    if (state !== STATE.READY && state !== STATE.RETURNED) {
      table.priority[slot] = priority;
      return;
    }
    const { ready } = this.#state.queueOf(slot);
    ready.remove(slot);
    table.priority[slot] = priority;
    ready.add(slot);
  }

  /** Changes one message, or with `dryRun` only says whether it would. */
  #act(
    command: MessageActCommand,
    slot: number,
    queue: Queue,
    target: Queue | null,
    out: EffectSink,
  ): MessageSkip | null {
    const { table } = this.#state;
    const { dryRun } = command;
    const state = table.state[slot];
    switch (command.act) {
      case 'retry':
        if (state !== STATE.DELAYED) return 'NOT_DELAYED';
        if (!dryRun) this.#retry(slot);
        return null;
      case 'priority':
        if (table.priority[slot] === command.priority) return 'SAME_PRIORITY';
        if (dryRun) return null;
        this.setPriority(slot, command.priority);
        this.#places.touched.add(queue);
        if (!table.isMemory(slot)) this.#entries.push(table.id[slot]!, command.priority);
        return null;
      case 'drop':
        if (state === STATE.STARTED && !command.force) return 'STARTED';
        if (!dryRun) this.#drop(slot, queue, out);
        return null;
      case 'move':
        if (state === STATE.STARTED && !command.force) return 'STARTED';
        if (!dryRun) this.#transfer(slot, queue, target!, 'moved', out);
        return null;
      case 'revoke':
        // Done already.
        if (queue.isResults) return 'MESSAGE_NOT_FOUND';
        if (!dryRun) this.#revoking.revoke(slot, queue);
        return null;
      case 'redrive':
        return this.#redrive(slot, queue, dryRun, out);
      default:
        return command satisfies never;
    }
  }

  #retry(slot: number): void {
    const { table, timers } = this.#state;
    timers.clearDue(slot);
    this.#deliveries.due(slot);
    if (!table.isMemory(slot)) this.#entries.push(table.id[slot]!, table.attempts[slot]!, 0);
  }

  #drop(slot: number, queue: Queue, out: EffectSink): void {
    this.#takeAway(slot, queue, out);
    this.#deadLetters.drop(slot, queue, 'rejected', out);
  }

  #redrive(slot: number, queue: Queue, dryRun: boolean, out: EffectSink): MessageSkip | null {
    const { table } = this.#state;
    const name = table.historyOf(slot).at(-1)?.queue;
    if (name === undefined) return 'NOT_A_DEAD_LETTER';
    if (name === queue.name) return 'SAME_QUEUE';
    if (table.state[slot] === STATE.STARTED) return 'STARTED';
    const { namespace } = queue;
    const found = this.#state.queue(namespace, name);
    if (dryRun) return found !== null || this.#registry.hasRoom(namespace) ? null : 'TOO_MANY_QUEUES';
    const to = found ?? this.#registry.create(namespace, name, this.#state.defaultSettings(namespace, name), out);
    if (to === null) return 'TOO_MANY_QUEUES';
    this.#transfer(slot, queue, to, 'redriven', out);
    return null;
  }

  #transfer(slot: number, queue: Queue, to: Queue, reason: 'moved' | 'redriven', out: EffectSink): void {
    this.#recall(slot, out);
    this.#deliveries.transfer(slot, queue, to, reason, out);
  }

  /** The message is in no list and with nobody. */
  #takeAway(slot: number, queue: Queue, out: EffectSink): void {
    const { table } = this.#state;
    this.#recall(slot, out);
    if (table.state[slot] === STATE.LEASED || table.state[slot] === STATE.STARTED)
      this.#deliveries.revoke(table.prev[slot]!, queue);
    else this.#places.unlink(slot, queue);
  }

  /** Tells who has it un-started that it goes; a handler that runs learns it by its answer. */
  #recall(slot: number, out: EffectSink): void {
    const { table, leases } = this.#state;
    if (table.state[slot] !== STATE.LEASED) return;
    const lease = table.prev[slot]!;
    out.recall(leases.consumer[lease]!.session.number, leases.tag[lease]!);
  }

  #record(command: MessageActCommand, out: EffectSink): void {
    if (this.#entries.length === 0) return;
    const type = command.act === 'retry' ? 'return' : 'message-priority';
    for (const entries of recordParts(this.#entries)) out.record({ type, entries });
    this.#entries.length = 0;
  }

  #notFound({ act, session, request, queue }: MessageActCommand, id: number, out: EffectSink): void {
    const where = queue === null ? 'a queue' : `queue "${queue}"`;
    const message = `Cannot ${act} message ${id}: it is not in ${where}, expected one that waits or is unsettled`;
    out.fail(session, request, 'MESSAGE_NOT_FOUND', message, { id });
  }
}
