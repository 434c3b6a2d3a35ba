/** A named function that can be sent. */
import { assertName, LIMITS, LovageError } from '@lovage/protocol';
import type { Client } from '../client.js';
import { invalidArgument, textOf } from '../errors.js';
import type { PublishMessage } from '../message.js';
import type { TaskApp } from './app.js';
import { encodePayload } from './codec.js';
import { ActiveContext, type TaskContext } from './context.js';
import { TaskHandle } from './handle.js';
import { checkArguments } from './schema.js';
import type { ParsedTaskOptions } from './task-options.js';
import { withTrace } from './tracing.js';

/** Header that names the task. */
export const NAME_HEADER = 'lovage-task';
/** Header that says when it was sent, in ms since 1970, for a task whose retries end at an age. */
export const SENT_HEADER = 'lovage-sent';

export type TaskFunction<Args extends readonly unknown[], Result> = (ctx: TaskContext, ...args: Args) => Result;

/** How one sending differs from what the task is declared with. */
export interface SendOptions {
  /** 0-255, 255 most urgent. */
  readonly priority?: number | undefined;
  /** ms before it may run, 0-315,360,000,000. */
  readonly delayMs?: number | undefined;
  /** The same as a point in time, a date or ms since 1970; in the past: at once. Not together with `delayMs`. */
  readonly eta?: Date | number | undefined;
  /** ms after which it is not begun any more, 1-315,360,000,000. */
  readonly expiresInMs?: number | undefined;
  /** The second task of a key within the queue's window is not sent: the handle is that of the first. */
  readonly dedupKey?: string | undefined;
  /** For the function, in `ctx.headers`. */
  readonly headers?: Readonly<Record<string, unknown>> | undefined;
  /** The task's rate limit counts this key for itself: of a customer, a host. At most 200 bytes of UTF-8. Only of a task with `rateLimit`. */
  readonly rateKey?: string | undefined;
  /** Another queue. */
  readonly queue?: string | undefined;
}

/** A task with options for sending. */
export interface BoundTask<Args extends readonly unknown[], Result> {
  /** Sends it; resolves when it is as safe as the broker's `--sync` says. Rejects what `client.publish` rejects, and INVALID_ARGUMENT. */
  send(...args: Args): Promise<TaskHandle<Result>>;
  /** Sends many in one frame. As `client.publishMany`: no transaction, the rejection is the first failure. */
  sendMany(list: readonly Args[]): Promise<TaskHandle<Result>[]>;
  /**
   * Inside a task: sends it with the completion of the attempt whose context this is, in the same record of the broker's journal. It is sent when that attempt succeeds,
   * once, whatever is killed, and not at all when it fails, is tried again or revoked. Rejects INVALID_ARGUMENT when that attempt is over.
   */
  sendOnCompletion(ctx: TaskContext, ...args: Args): Promise<void>;
}

export class Task<Args extends readonly unknown[] = readonly unknown[], Result = unknown>
  implements BoundTask<Args, Result>
{
  readonly app: TaskApp;
  readonly name: string;
  /** Where it waits. */
  readonly queue: string;
  readonly fn: TaskFunction<Args, Result | Promise<Result>>;
  readonly options: ParsedTaskOptions;

  constructor(
    app: TaskApp,
    name: string,
    queue: string,
    fn: TaskFunction<Args, Result | Promise<Result>>,
    options: ParsedTaskOptions,
  ) {
    this.app = app;
    this.name = name;
    this.queue = queue;
    this.fn = fn;
    this.options = options;
  }

  send(...args: Args): Promise<TaskHandle<Result>> {
    return this.#send(args, {});
  }

  sendMany(list: readonly Args[]): Promise<TaskHandle<Result>[]> {
    return this.#sendMany(list, {});
  }

  sendOnCompletion(ctx: TaskContext, ...args: Args): Promise<void> {
    return this.#sendOnCompletion(ctx, args, {});
  }

  with(options: SendOptions): BoundTask<Args, Result> {
    if (typeof options !== 'object' || options === null) throw invalidArgument('options', options, 'an object');
    return {
      send: (...args) => this.#send(args, options),
      sendMany: (list) => this.#sendMany(list, options),
      sendOnCompletion: (ctx, ...args) => this.#sendOnCompletion(ctx, args, options),
    };
  }

  async #send(args: Args, options: SendOptions): Promise<TaskHandle<Result>> {
    const queue = options.queue ?? this.queue;
    const message = await this.#message(args, options);
    const client = await this.#ready(queue);
    const { id, duplicate } = await client.publish(queue, message.body, message);
    return new TaskHandle<Result>(this.app, id, duplicate);
  }

  async #sendMany(list: readonly Args[], options: SendOptions): Promise<TaskHandle<Result>[]> {
    if (!Array.isArray(list) || list.length > LIMITS.publishMessagesMax)
      throw invalidArgument('list', list, `at most ${LIMITS.publishMessagesMax} lists of arguments`);
    const queue = options.queue ?? this.queue;
    const messages = await Promise.all(list.map((args: Args) => this.#message(args, options)));
    const client = await this.#ready(queue);
    const receipts = await client.publishMany(queue, messages);
    return receipts.map(({ id, duplicate }) => new TaskHandle<Result>(this.app, id, duplicate));
  }

  /** Its queue is made by the broker if it is not there. */
  async #sendOnCompletion(ctx: TaskContext, args: Args, options: SendOptions): Promise<void> {
    if (!(ctx instanceof ActiveContext)) throw invalidArgument('ctx', ctx, 'the context that a task was called with');
    const queue = options.queue ?? this.queue;
    assertName(queue, 'queue');
    const message = await this.#message(args, options);
    const { rateLimit } = this.options;
    if (rateLimit !== null) await this.app.limited(this.name, rateLimit);
    ctx.follow({ ...message, queue });
  }

  /** The connection, when the queue and the rate limit are there. */
  async #ready(queue: string): Promise<Client> {
    const { rateLimit } = this.options;
    if (rateLimit !== null) await this.app.limited(this.name, rateLimit);
    return await this.app.ready(queue);
  }

  #headers({ headers }: SendOptions): Record<string, unknown> {
    if (headers !== undefined && (typeof headers !== 'object' || headers === null || Array.isArray(headers)))
      throw invalidArgument('headers', headers, 'an object');
    const named = withTrace({ ...headers, [NAME_HEADER]: this.name });
    return this.options.retry.maxAgeMs === null ? named : { ...named, [SENT_HEADER]: Date.now() };
  }

  #encoded(args: Args): Uint8Array {
    try {
      return encodePayload(this.app.codec, args);
    } catch (cause) {
      const message = `Cannot send task "${this.name}": its arguments cannot be encoded: ${textOf(cause)}`;
      throw new LovageError('INVALID_ARGUMENT', message, { cause, details: { field: 'args' } });
    }
  }

  async #message(args: Args, options: SendOptions): Promise<PublishMessage> {
    const { schema, priority, rateLimit } = this.options;
    const { rateKey } = options;
    if (rateKey !== undefined && rateLimit === null)
      throw invalidArgument('rateKey', rateKey, 'a task that is declared with a rateLimit');
    if (!Array.isArray(args)) throw invalidArgument('args', args, 'a list of arguments');
    // What the schema makes of them is made where the task runs: it is not to be made of what was made here.
    if (schema !== null) await checkArguments(this.name, schema, args);
    const { codec } = this.app;
    return {
      body: this.#encoded(args),
      contentType: codec.contentType,
      headers: this.#headers(options),
      priority: options.priority ?? priority ?? undefined,
      delayMs: delayOf(options),
      expiresInMs: options.expiresInMs,
      dedupKey: options.dedupKey,
      rateLimit: rateLimit === null ? undefined : this.name,
      rateKey,
    };
  }
}

function delayOf({ delayMs, eta }: SendOptions): number | undefined {
  if (eta === undefined) return delayMs;
  const dueMs = eta instanceof Date ? eta.getTime() : eta;
  const waitMs = Math.ceil(dueMs) - Date.now();
  if (typeof dueMs !== 'number' || !(waitMs <= LIMITS.delayMsMax))
    throw invalidArgument('eta', eta, `a date, or ms since 1970, at most ${LIMITS.delayMsMax} ms from now`);
  if (delayMs !== undefined) throw invalidArgument('eta', eta, 'eta or delayMs, not both');
  return Math.max(0, waitMs);
}
