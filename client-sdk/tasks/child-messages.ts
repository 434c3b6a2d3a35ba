/** What a worker and the children of its pool say to each other. Both ends are always of one version: a child is started from the files of its parent. */
import type { Delivery } from '../delivery.js';
import type { FollowUp } from '../follow-ups.js';
import type { ConnectOptions } from '../options.js';
import type { TaskFacts } from './task-facts.js';

/** What a child needs before it can run anything. */
export interface ChildStart {
  readonly type: 'start';
  /** URLs of the files that declare the tasks. */
  readonly modules: readonly string[];
  /** How the app is connected, for what tasks send. */
  readonly url: string;
  readonly connect: ConnectOptions;
  /** What the broker takes of a result. */
  readonly bodyBytesMax: number;
  /** `rss`: memory of the process; `heap`: of the thread; null: not asked for. */
  readonly memory: 'rss' | 'heap' | null;
}

/**
 * A task to run. What goes to and fro with every task is a row and not an object: its names would cost a tenth of the time that the two threads
 * take for it (measured with no-op tasks). `headers` is null if there are none but the task's name.
 */
export type RunRow = readonly [
  call: number,
  name: string,
  id: number,
  queue: string,
  priority: number,
  attempt: number,
  headers: Record<string, unknown> | null,
  contentType: string | null,
  body: Uint8Array,
  softTimeLimitMs: number | null | undefined,
];

export function runRow(
  call: number,
  name: string,
  { id, queue, priority, attempt, headers, contentType, body }: Delivery,
  softTimeLimitMs: number | null | undefined,
): RunRow {
  const given = Object.keys(headers).length > 1 ? headers : null;
  // A view of a larger frame would be sent with all of it.
  return [call, name, id, queue, priority, attempt, given, contentType, body.slice(), softTimeLimitMs];
}

export interface ChildAbort {
  readonly type: 'abort';
  readonly call: number;
  readonly code: string;
  readonly message: string;
  readonly details: Readonly<Record<string, unknown>>;
}

/** The broker has answered what was asked of it; `code` null: done. */
export interface ChildAnswered {
  readonly type: 'answered';
  readonly call: number;
  readonly code: string | null;
  readonly message: string;
  readonly details: Readonly<Record<string, unknown>>;
}

export type ToChild = ChildStart | RunRow | ChildAbort | ChildAnswered | { readonly type: 'stop' };

/** What a task says of its delivery and waits to be answered, because something is published with it. */
export interface ChildAsk {
  readonly type: 'ask';
  readonly call: number;
  readonly answer: Answer;
  readonly publish: readonly FollowUp[];
}

/** What a task says of its delivery. */
export type Answer =
  | readonly [verb: 'ack', a?: undefined, b?: undefined, c?: undefined]
  | readonly [verb: 'nack', requeue: boolean, delayMs: number | undefined, reason: string | undefined]
  | readonly [verb: 'complete', body: Uint8Array, contentType: string | undefined, ttlMs: number | undefined];

/** What the task has told of its work since the last time: the newest progress, encoded by the app, and the last lines. */
export interface ChildNotes {
  readonly type: 'notes';
  readonly call: number;
  readonly progress: readonly [body: Uint8Array, contentType: string] | null;
  readonly log: readonly string[];
}

/** The call is over; the answer is null if it was asked for before. */
export type DoneRow = readonly [call: number, memoryBytes: number, answer: Answer | null];

export type FromChild =
  | { readonly type: 'ready'; readonly tasks: readonly TaskFacts[] }
  /** A module cannot be loaded. */
  | { readonly type: 'failed'; readonly text: string }
  | ChildNotes
  | ChildAsk
  | DoneRow;
