/** What a worker and the children of its pool say to each other. Both ends are always of one version: a child is started from the files of its parent. */
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

export interface ChildRun {
  readonly type: 'run';
  readonly call: number;
  readonly name: string;
  readonly id: number;
  readonly queue: string;
  readonly priority: number;
  readonly attempt: number;
  readonly headers: Record<string, unknown>;
  readonly contentType: string | null;
  readonly body: Uint8Array;
}

export interface ChildAbort {
  readonly type: 'abort';
  readonly call: number;
  readonly code: string;
  readonly message: string;
  readonly details: Readonly<Record<string, unknown>>;
}

export type ToChild = ChildStart | ChildRun | ChildAbort | { readonly type: 'stop' };

/** What a task says of its delivery. */
export type Answer =
  | { readonly verb: 'ack' }
  | {
      readonly verb: 'nack';
      readonly requeue: boolean;
      readonly delayMs: number | undefined;
      readonly reason: string | undefined;
    }
  | {
      readonly verb: 'complete';
      readonly body: Uint8Array;
      readonly contentType: string | undefined;
      readonly ttlMs: number | undefined;
    };

export type FromChild =
  | { readonly type: 'ready'; readonly tasks: readonly TaskFacts[] }
  /** A module cannot be loaded. */
  | { readonly type: 'failed'; readonly text: string }
  | { readonly type: 'answer'; readonly call: number; readonly answer: Answer }
  /** `progress` encoded by the app, or a line. */
  | { readonly type: 'progress'; readonly call: number; readonly body: Uint8Array; readonly contentType: string }
  | { readonly type: 'log'; readonly call: number; readonly text: string }
  /** The call is over; `answer` is null if it was sent before. */
  | { readonly type: 'done'; readonly call: number; readonly answer: Answer | null; readonly memoryBytes: number };
