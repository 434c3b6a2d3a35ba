/** MESSAGE_LIST and MESSAGE_PEEK: what a queue holds, a page at a time. Nothing is changed, no attempt is charged. */
import type { MessageInfo } from '@lovage/protocol';
import type { MessageListCommand } from './command.js';
import type { EffectSink } from './effects.js';
import { FLAG, type MessageTable } from './message-table.js';
import { MessageWalk, stateOf } from './message-walk.js';
import type { Queue } from './queue.js';
import type { EngineState } from './state.js';

export class MessageLists {
  readonly #state: EngineState;
  readonly #walk: MessageWalk;

  constructor(state: EngineState) {
    this.#state = state;
    this.#walk = new MessageWalk(state);
  }

  list(command: MessageListCommand, out: EffectSink): void {
    const { session, request, withBodies } = command;
    const { namespace } = this.#state.session(session);
    const queue = this.#state.queue(namespace, command.queue);
    if (queue === null) {
      const message = `Cannot list messages of queue "${command.queue}": it does not exist, expected one of this namespace`;
      return out.fail(session, request, 'QUEUE_NOT_FOUND', message, { queue: command.queue });
    }
    const slots: number[] = [];
    const next = command.ids === null ? this.#page(queue, command, slots, out) : this.#named(queue, command.ids, slots);
    const { table } = this.#state;
    const messages = slots.map((slot) => infoOf(table, slot));
    if (withBodies) out.peeked(session, request, messages, slots, next);
    else out.reply(session, request, { messages, next });
  }

  #page(queue: Queue, { filter, after, limit }: MessageListCommand, slots: number[], out: EffectSink): number | null {
    const visit = (slot: number): boolean => {
      slots.push(slot);
      return slots.length < limit;
    };
    return this.#walk.step(queue, filter, after, visit, out);
  }

  #named(queue: Queue, ids: readonly number[], slots: number[]): null {
    for (const id of new Set(ids)) {
      const slot = this.#walk.find(queue, id);
      if (slot >= 0) slots.push(slot);
    }
    return null;
  }
}

/** A message as clients see it. */
export function infoOf(table: MessageTable, slot: number): MessageInfo {
  const dueMs = table.dueMs[slot]!;
  const expiryMs = table.expiryMs[slot]!;
  return {
    id: table.id[slot]!,
    state: stateOf(table, slot)!,
    priority: table.priority[slot]!,
    attempts: table.attempts[slot]!,
    bytes: table.length[slot]!,
    dueAt: dueMs === 0 ? null : dueMs,
    expiresAt: expiryMs === 0 ? null : expiryMs,
    redelivered: (table.flags[slot]! & FLAG.REDELIVERED) !== 0,
    memory: table.isMemory(slot),
    deadLetters: table.historyOf(slot),
    attemptLog: table.attemptLogOf(slot),
  };
}
