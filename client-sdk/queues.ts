/** `client.queues`: declare, look at, and empty queues. */
import {
  assertName,
  CLIENT_OPS,
  LIMITS,
  parseGivenSettings,
  parseQueueSettings,
  type QueueInfo,
  type QueueSettings,
} from '@lovage/protocol';
import { invalidArgument } from './errors.js';
import { flag, whole } from './options.js';
import type { Requests } from './requests.js';

/** What `declare` tells. */
export interface DeclaredQueue {
  /** False if the queue was there. */
  readonly created: boolean;
  readonly settings: QueueSettings;
  /** 1, and one more with each change of the settings. */
  readonly version: number;
}

const PAGE = { min: 1, max: LIMITS.pageMax, fallback: LIMITS.pageMax } as const;

/**
 * Queues of the client's namespace. Every method rejects INVALID_NAME for what is no name of a queue, and REQUEST_TIMEOUT, CONNECTION_LOST or
 * CLIENT_CLOSED when there is no answer; those that work on a queue reject QUEUE_NOT_FOUND unless it is there.
 */
export class Queues {
  readonly #requests: Requests;

  constructor(requests: Requests) {
    this.#requests = requests;
  }

  /**
   * Makes the queue unless it is there. Idempotent. Without `settings` a queue is taken as it is; with them (what is left out has its default) one
   * that was declared otherwise rejects QUEUE_MISMATCH, with the settings that differ in `details.fields`. With `merge: true` the settings given are
   * changed instead, at once and for what is in the queue already, and the others stay. Rejects INVALID_ARGUMENT, TOO_MANY_QUEUES.
   */
  async declare(
    queue: string,
    settings?: Partial<QueueSettings>,
    options: { merge?: boolean } = {},
  ): Promise<DeclaredQueue> {
    const isMerge = flag('merge', options.merge);
    const given = settings === undefined ? null : parseGivenSettings(settings);
    if (!isMerge) parseQueueSettings(given, queue);
    const fields = isMerge ? [given, 'merge'] : [given];
    return (await this.#send('declare', CLIENT_OPS.QUEUE_DECLARE, queue, true, ...fields)) as DeclaredQueue;
  }

  /**
   * Deletes the queue and everything in it; `ifEmpty`: only without messages (QUEUE_NOT_EMPTY), `ifUnused`: only without consumers (QUEUE_IN_USE).
   * Resolves with how many messages were dropped with it.
   */
  async delete(queue: string, options: { ifEmpty?: boolean; ifUnused?: boolean } = {}): Promise<{ messages: number }> {
    const fields = { ifEmpty: flag('ifEmpty', options.ifEmpty), ifUnused: flag('ifUnused', options.ifUnused) };
    return (await this.#send('delete', CLIENT_OPS.QUEUE_DELETE, queue, false, fields)) as { messages: number };
  }

  /** Drops every message that waits, also delayed ones; unsettled ones stay. Resolves with how many were dropped. */
  async purge(queue: string): Promise<{ purged: number }> {
    return (await this.#send('purge', CLIENT_OPS.QUEUE_PURGE, queue, false)) as { purged: number };
  }

  /** Stops deliveries; publishes go on, and so does what is with a consumer. Outlives a restart of the broker. Idempotent. */
  async pause(queue: string): Promise<void> {
    await this.#send('pause', CLIENT_OPS.QUEUE_PAUSE, queue, true);
  }

  /** Lets deliveries go on. Idempotent. */
  async resume(queue: string): Promise<void> {
    await this.#send('resume', CLIENT_OPS.QUEUE_RESUME, queue, true);
  }

  /** Settings, counts and totals of a queue now. */
  async inspect(queue: string): Promise<QueueInfo> {
    return (await this.#send('inspect', CLIENT_OPS.QUEUE_INSPECT, queue, true)) as QueueInfo;
  }

  /** One page of the queues, by name: at most `limit` (1-1,000, the default) behind `after`, the last name of the page before. */
  async list(options: { after?: string | undefined; limit?: number | undefined } = {}): Promise<QueueInfo[]> {
    const { after = null } = options;
    if (after !== null) assertName(after, 'after');
    const limit = whole('limit', options.limit, PAGE);
    const page = await this.#requests.send('list the queues', CLIENT_OPS.QUEUE_LIST, [after, limit], true);
    return (page as { queues: QueueInfo[] }).queues;
  }

  #send(verb: string, op: number, queue: string, isRepeatable: boolean, ...fields: unknown[]): Promise<unknown> {
    if (typeof queue !== 'string') throw invalidArgument('queue', queue, 'the name of a queue');
    assertName(queue, 'queue');
    return this.#requests.send(`${verb} queue "${queue}"`, op, [queue, ...fields], isRepeatable);
  }
}
