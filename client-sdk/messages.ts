/** `client.messages`: look at messages of a queue, and drop, move, send back, hurry or reorder them, by their ids or by a filter. */
import {
  assertName,
  CLIENT_OPS,
  FAILURE_TYPE,
  LIMITS,
  type MessageFilter,
  type MessageInfo,
  type MessageOutcome,
  type MessagePage,
  type MessageSelection,
  type PeekedMessage,
  revokedFailure,
} from '@lovage/protocol';
import { invalidArgument } from './errors.js';
import { flag, whole } from './options.js';
import type { Requests } from './requests.js';

/** Where a page begins, and how many messages it has at most. */
export interface PageOptions {
  /** `next` of the page before. */
  readonly after?: number | undefined;
  readonly limit?: number | undefined;
}

/** `dryRun`: nothing is changed, only counted. */
export interface ActOptions {
  readonly dryRun?: boolean | undefined;
}

/** `force`: also what a handler has started; its answer is refused with SUPERSEDED. */
export interface ForceOptions extends ActOptions {
  readonly force?: boolean | undefined;
}

/** `terminate`: whoever works on one is told to end that by force (`details.terminate` of its signal's reason). */
export interface RevokeOptions extends ActOptions {
  readonly terminate?: boolean | undefined;
}

/** What has become of the selected messages. `skipped` tells how many were left as they are, by why. */
export type MessageChanges = Omit<MessageOutcome, 'next'>;

const AFTER = { min: 0, max: Number.MAX_SAFE_INTEGER, fallback: 0 } as const;
const LIST = { min: 1, max: LIMITS.pageMax, fallback: LIMITS.pageMax } as const;
const PEEK = { min: 1, max: LIMITS.peekMax, fallback: LIMITS.peekMax } as const;
const PRIORITY = { min: 0, max: LIMITS.priorityMax, fallback: 0 } as const;

/**
 * Messages of the client's namespace. A selection is `{ids: [...]}` (1-1,000) or a filter; `{}` is everything in the queue. Every method rejects QUEUE_NOT_FOUND,
 * INVALID_NAME, INVALID_ARGUMENT with `details.field`, FORBIDDEN, and REQUEST_TIMEOUT, CONNECTION_LOST or CLIENT_CLOSED when there is no answer. What changes messages
 * rejects MESSAGE_NOT_FOUND when one id is given and there is none such in the queue. By a filter it works in steps of some ms, each of them on disk before the next
 * begins, so that nobody else waits: what stops in between (a lost connection, a kill) has done a part, and may be done again.
 */
export class Messages {
  readonly #requests: Requests;

  constructor(requests: Requests) {
    this.#requests = requests;
  }

  /** A page of the messages that fit, by rising id: the oldest first. At most `limit` (1-1,000, the default). */
  list(queue: string, filter: MessageFilter = {}, options: PageOptions = {}): Promise<MessagePage> {
    return this.#page<MessageInfo>('list', CLIENT_OPS.MESSAGE_LIST, queue, filter, options, LIST);
  }

  /**
   * The same with what is in them; the first 65,536 bytes of each body. At most `limit` (1-32, the default). Nothing is delivered: consumers, attempts and places
   * stay as they are.
   */
  peek(
    queue: string,
    selection: MessageSelection = {},
    options: PageOptions = {},
  ): Promise<MessagePage<PeekedMessage>> {
    return this.#page<PeekedMessage>('peek at', CLIENT_OPS.MESSAGE_PEEK, queue, selection, options, PEEK);
  }

  /** Drops them. What a consumer has not started is taken back from it; what has started is left, unless `force`. */
  drop(queue: string, selection: MessageSelection, options: ForceOptions = {}): Promise<MessageChanges> {
    return this.#act('drop', CLIENT_OPS.MESSAGE_DROP, queue, selection, options);
  }

  /** Moves them to another queue, where they begin anew: no attempts, no delay, the life that the queue gives. As `drop` for what is with consumers. */
  async move(
    queue: string,
    selection: MessageSelection,
    to: string,
    options: ForceOptions = {},
  ): Promise<MessageChanges> {
    assertName(to, 'to');
    if (to === queue) throw invalidArgument('to', to, 'another queue');
    return this.#act('move', CLIENT_OPS.MESSAGE_MOVE, queue, selection, { ...options, to });
  }

  /** Makes delayed messages ready now. */
  retry(queue: string, selection: MessageSelection, options: ActOptions = {}): Promise<MessageChanges> {
    return this.#act('retry', CLIENT_OPS.MESSAGE_RETRY, queue, selection, options);
  }

  /** Gives them another priority (0-255): those that wait take their new places at once. */
  async setPriority(
    queue: string,
    selection: MessageSelection,
    priority: number,
    options: ActOptions = {},
  ): Promise<MessageChanges> {
    const given = { ...options, priority: whole('priority', priority, PRIORITY) };
    return this.#act('change the priority of', CLIENT_OPS.MESSAGE_PRIORITY, queue, selection, given);
  }

  /**
   * Sends dead letters back to the queues that have given them up last, and takes the last entry out of their histories. A queue that is gone is made again with
   * default settings. What has started is left.
   */
  redrive(queue: string, selection: MessageSelection = {}, options: ActOptions = {}): Promise<MessageChanges> {
    return this.#act('redrive', CLIENT_OPS.MESSAGE_REDRIVE, queue, selection, options);
  }

  /**
   * Completes them with a result that says REVOKED, whatever they do: what waits is gone from its queue, what a consumer has is taken from it and its `signal` aborts. With
   * `queue` null the messages of `ids`, wherever they are. What is done already counts as MESSAGE_NOT_FOUND.
   */
  revoke(
    queue: string | null,
    selection: MessageSelection,
    { terminate, dryRun }: RevokeOptions = {},
  ): Promise<MessageChanges> {
    const options = {
      dryRun,
      terminate: flag('terminate', terminate),
      contentType: FAILURE_TYPE,
      body: revokedFailure(),
    };
    return this.#act('revoke', CLIENT_OPS.MESSAGE_REVOKE, queue, selection, options);
  }

  async #page<T extends MessageInfo>(
    verb: string,
    op: number,
    queue: string,
    selection: MessageSelection,
    options: PageOptions,
    range: typeof LIST | typeof PEEK,
  ): Promise<MessagePage<T>> {
    assertName(queue, 'queue');
    const limit = whole('limit', options.limit, range);
    const messages: T[] = [];
    let next: number | null = whole('after', options.after, AFTER);
    // The broker looks at some thousands of ids for one answer, which may have fewer messages than there is room for.
    do {
      const fields: unknown[] = [queue, selection, next, limit - messages.length];
      const page = (await this.#requests.send(
        `${verb} messages of queue "${queue}"`,
        op,
        fields,
        true,
      )) as MessagePage<T>;
      messages.push(...page.messages);
      next = page.next;
    } while (next !== null && messages.length < limit);
    return { messages, next };
  }

  async #act(
    verb: string,
    op: number,
    queue: string | null,
    selection: MessageSelection,
    options: ForceOptions & {
      readonly to?: string;
      readonly priority?: number;
      readonly terminate?: boolean;
      readonly contentType?: string;
      readonly body?: Uint8Array;
    },
  ): Promise<MessageChanges> {
    if (queue !== null) assertName(queue, 'queue');
    if (typeof selection !== 'object' || selection === null)
      throw invalidArgument('selection', selection, 'ids or a filter');
    // Not everything, because a variable was empty.
    if (Object.hasOwn(selection, 'ids') && !Array.isArray(selection.ids))
      throw invalidArgument('ids', selection.ids, `1 to ${LIMITS.messageIdsMax} ids`);
    const given = { ...options, dryRun: flag('dryRun', options.dryRun), force: flag('force', options.force) };
    const sum = { matched: 0, changed: 0, skipped: {} as Record<string, number> };
    let next: number | null = 0;
    do {
      const fields: unknown[] = [queue, selection, next, given];
      const what = queue === null ? `${verb} messages` : `${verb} messages of queue "${queue}"`;
      const step = (await this.#requests.send(what, op, fields, false)) as MessageOutcome;
      sum.matched += step.matched;
      sum.changed += step.changed;
      for (const [why, count] of Object.entries(step.skipped)) sum.skipped[why] = (sum.skipped[why] ?? 0) + count;
      next = step.next;
    } while (next !== null);
    return sum;
  }
}
