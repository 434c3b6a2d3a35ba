/** Tasks by their names, and the connection that they are sent and run over. */
import { assertName, isContentType, LovageError, type Rate } from '@lovage/protocol';
import type { Client } from '../client.js';
import { invalidArgument } from '../errors.js';
import { connect } from '../index.js';
import type { ConnectOptions } from '../options.js';
import { childRegistry } from './child-registry.js';
import { JSON_CODEC, MSGPACK, type TaskCodec } from './codec.js';
import { declaringFile } from './declaring-file.js';
import { TaskHandle } from './handle.js';
import { parseHooks, type TaskHooks } from './hooks.js';
import { filterOf, type RevokeSelection } from './revoke.js';
import { Task, type TaskFunction } from './task.js';
import { parseTaskOptions, type TaskOptions } from './task-options.js';
import { type StopOptions, Worker } from './worker.js';
import type { WorkerOptions } from './worker-options.js';

export interface TaskAppOptions extends ConnectOptions {
  /** `ws://host:port`. Default `ws://127.0.0.1:7420`. */
  readonly url?: string | undefined;
  /** How arguments and results are encoded. Default `msgpack`. */
  readonly codec?: 'msgpack' | 'json' | TaskCodec | undefined;
  /** Name of a task, or its beginning and `*`, to queue: `{ 'images.*': 'images' }`. The first that fits counts. */
  readonly routes?: Readonly<Record<string, string>> | undefined;
  /** Told of what the app's tasks do, where they run. */
  readonly hooks?: TaskHooks | undefined;
}

export type CloseOptions = StopOptions;

const DEFAULT_URL = 'ws://127.0.0.1:7420';
const DEFAULT_QUEUE = 'default';

export class TaskApp {
  readonly codec: TaskCodec;
  /** null for none. */
  readonly hooks: TaskHooks | null;
  #url: string;
  #connectOptions: ConnectOptions;
  readonly #routes: readonly (readonly [pattern: string, queue: string])[];
  readonly #tasks = new Map<string, Task<never[], unknown>>();
  readonly #workers = new Set<Worker>();
  readonly #files = new Set<string>();
  #client: Promise<Client> | null = null;
  #declared = new Map<string, Promise<unknown>>();
  #isClosed = false;

  /** Throws INVALID_ARGUMENT or INVALID_NAME. Nothing is connected before it is needed. */
  constructor({ url = DEFAULT_URL, codec = 'msgpack', routes = {}, hooks, ...options }: TaskAppOptions = {}) {
    this.#url = url;
    this.#connectOptions = options;
    this.codec = parseCodec(codec);
    this.hooks = parseHooks(hooks);
    this.#routes = parseRoutes(routes);
    childRegistry()?.apps.push(this);
  }

  /** By name. */
  get tasks(): ReadonlyMap<string, Task<never[], unknown>> {
    return this.#tasks;
  }

  /** URLs of the files that have declared tasks. */
  get files(): readonly string[] {
    return [...this.#files];
  }

  /** Of this program, as `version` says; null if it does not. */
  get version(): string | null {
    return this.#connectOptions.version ?? null;
  }

  /** Where it connects to, and how. */
  get connection(): { readonly url: string; readonly connect: ConnectOptions } {
    return { url: this.#url, connect: this.#connectOptions };
  }

  /**
   * Declares a task: what is sent is named `name`, and a worker that has it runs `fn`. Throws INVALID_NAME, INVALID_ARGUMENT with `details.field` (also for a hard time
   * limit that a worker of the app, which was started already, cannot keep), TASK_EXISTS.
   */
  task<Args extends unknown[], Result>(
    name: string,
    fn: TaskFunction<Args, Result>,
    options: TaskOptions = {},
  ): Task<Args, Awaited<Result>> {
    assertName(name, 'name');
    if (typeof fn !== 'function') throw invalidArgument('fn', fn, 'a function');
    if (this.#tasks.has(name))
      throw new LovageError('TASK_EXISTS', `Cannot declare task "${name}": the app has one of this name`, {
        details: { name },
      });
    const parsed = parseTaskOptions(options);
    for (const worker of this.#workers) worker.assertCanRun(name, parsed);
    const queue = parsed.queue ?? this.#route(name);
    const task = new Task<Args, Awaited<Result>>(this, name, queue, fn as never, parsed);
    this.#tasks.set(name, task as never);
    const file = declaringFile();
    if (file !== null) this.#files.add(file);
    return task;
  }

  /** The handle of a task that was sent before, here or elsewhere. */
  handle<Result = unknown>(id: number): TaskHandle<Result> {
    if (!Number.isSafeInteger(id) || id < 1) throw invalidArgument('id', id, 'a whole number from 1');
    return new TaskHandle<Result>(this, id);
  }

  /**
   * Revokes tasks of one queue, by the name of the task and by headers; returns how many were, or would be with `dryRun`. As `handle.revoke` for each of them. The broker goes
   * through the queue in steps, each on disk before the next: what is cut off in the middle has done a part. Rejects QUEUE_NOT_FOUND, FORBIDDEN, INVALID_ARGUMENT, INVALID_NAME.
   */
  async revoke(selection: RevokeSelection): Promise<number> {
    const { queue, filter } = filterOf(selection, (name) => this.#tasks.get(name)?.queue ?? this.#route(name));
    const { terminate, dryRun } = selection;
    const client = await this.client();
    const { changed } = await client.messages.revoke(queue, filter, { terminate, dryRun });
    return changed;
  }

  /** One that runs the app's tasks when it is started. Throws INVALID_ARGUMENT or INVALID_NAME. */
  worker(options: WorkerOptions = {}): Worker {
    const worker = new Worker(this, options, () => this.#workers.delete(worker));
    this.#workers.add(worker);
    return worker;
  }

  /** Connects to `url` (null: as before) with these options in place of the app's own. Throws INVALID_ARGUMENT once a connection was asked for. */
  connectTo(url: string | null, options: ConnectOptions = {}): void {
    if (this.#client !== null) throw invalidArgument('url', url, 'nothing, because the app is connected already');
    if (url !== null) this.#url = url;
    const given = Object.entries(options).filter(([, value]) => value !== undefined && value !== null);
    this.#connectOptions = { ...this.#connectOptions, ...Object.fromEntries(given) };
  }

  /** The connection, made when it is first asked for; a queue that was deleted meanwhile is made again by what is sent to it. Rejects what `connect` rejects, and CLIENT_CLOSED. */
  client(): Promise<Client> {
    if (this.#isClosed) return Promise.reject(new LovageError('CLIENT_CLOSED'));
    this.#client ??= connect(this.#url, { autoDeclare: true, ...this.#connectOptions }).catch((error: unknown) => {
      this.#client = null;
      throw error;
    });
    return this.#client;
  }

  /** The connection, when the queue is there; made with default settings if it is not. */
  async ready(queue: string): Promise<Client> {
    const client = await this.client();
    await this.#once(`queue ${queue}`, () => client.queues.declare(queue));
    return client;
  }

  /** They may be gone: they are declared again when they are next needed. */
  forgetQueues(queues: readonly string[]): void {
    for (const queue of queues) this.#declared.delete(`queue ${queue}`);
  }

  /** Resolves when the rate limit of a task is declared. */
  async limited(task: string, rate: Rate): Promise<void> {
    const client = await this.client();
    await this.#once(`rate-limit ${task}`, () => client.rateLimits.declare(task, rate));
  }

  /** Declares something when it is first needed; again if it has failed. */
  async #once(what: string, declare: () => Promise<unknown>): Promise<void> {
    const found = this.#declared.get(what);
    if (found !== undefined) return void (await found);
    const declared = declare().catch((error: unknown) => {
      this.#declared.delete(what);
      throw error;
    });
    this.#declared.set(what, declared);
    await declared;
  }

  /** Stops the workers and closes the connection. Idempotent. */
  async close(options?: CloseOptions): Promise<void> {
    await Promise.all([...this.#workers].map((worker) => worker.stop(options)));
    this.#isClosed = true;
    const client = await this.#client?.catch(() => null);
    await client?.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #route(name: string): string {
    for (const [pattern, queue] of this.#routes) {
      if (pattern === name) return queue;
      if (pattern.endsWith('*') && name.startsWith(pattern.slice(0, -1))) return queue;
    }
    return DEFAULT_QUEUE;
  }
}

function parseCodec(codec: NonNullable<TaskAppOptions['codec']>): TaskCodec {
  if (codec === 'msgpack') return MSGPACK;
  if (codec === 'json') return JSON_CODEC;
  const { contentType, encode, decode } = (codec ?? {}) as Partial<TaskCodec>;
  const isNamed = typeof contentType === 'string' && isContentType(contentType);
  if (isNamed && typeof encode === 'function' && typeof decode === 'function') return codec as TaskCodec;
  throw invalidArgument('codec', codec, '"msgpack", "json", or an object with contentType, encode and decode');
}

function parseRoutes(routes: Readonly<Record<string, string>>): [string, string][] {
  if (typeof routes !== 'object' || routes === null) throw invalidArgument('routes', routes, 'an object');
  return Object.entries(routes).map(([pattern, queue]) => {
    assertName(queue, 'routes');
    return [pattern, queue];
  });
}
