/**
 * What can be asked of the engine, one object a frame. Sessions are known by the number that `open` gave them; everything in a command has
 * been checked for its type and range, so the engine only decides whether it fits the state.
 */
import type { ConsumeOptions, PublishBatch, QueueSettings } from '@lovage/protocol';

export type Command =
  | OpenCommand
  | { readonly type: 'detach'; readonly session: number }
  | { readonly type: 'close'; readonly session: number }
  | PublishCommand
  | ConsumeCommand
  | { readonly type: 'cancel'; readonly session: number; readonly request: number; readonly consumerId: number }
  | {
      readonly type: 'prefetch';
      readonly session: number;
      readonly request: number;
      readonly consumerId: number;
      readonly prefetch: number;
    }
  | SettleCommand
  | NackCommand
  | { readonly type: 'drained'; readonly session: number; readonly bytes: number }
  | DeclareCommand
  | DeleteCommand
  | QueueCommand
  | {
      readonly type: 'list';
      readonly session: number;
      readonly request: number;
      readonly after: string | null;
      readonly limit: number;
    };

/** A connection has said HELLO. Goes on with the session of `resumeKey` if there is one, else starts a new one under `key`. */
export interface OpenCommand {
  readonly type: 'open';
  readonly key: string;
  readonly namespace: string;
  readonly producer: string | null;
  readonly resumeKey: string | null;
  /** Highest tag the client has seen in the session it resumes. */
  readonly lastTag: number;
}

/** `batch` is read before `apply` returns and may be used again. */
export interface PublishCommand {
  readonly type: 'publish';
  readonly session: number;
  readonly batch: PublishBatch;
}

export interface ConsumeCommand {
  readonly type: 'consume';
  readonly session: number;
  readonly request: number;
  readonly consumerId: number;
  readonly options: Required<{ [K in keyof ConsumeOptions]: NonNullable<ConsumeOptions[K]> }>;
}

/** `ranges`: first, count, first, count, ... of tags; read before `apply` returns. */
export interface SettleCommand {
  readonly type: 'start' | 'ack' | 'release';
  readonly session: number;
  readonly settleSeq: number;
  readonly ranges: readonly number[];
}

export interface NackCommand {
  readonly type: 'nack';
  readonly session: number;
  readonly settleSeq: number;
  readonly ranges: readonly number[];
  readonly requeue: boolean;
  /** -1: by the queue's backoff. */
  readonly delayMs: number;
  readonly reason: string | null;
}

export interface DeclareCommand {
  readonly type: 'declare';
  readonly session: number;
  readonly request: number;
  readonly name: string;
  /** Null: any settings will do if the queue exists, defaults if not. */
  readonly settings: QueueSettings | null;
}

export interface DeleteCommand {
  readonly type: 'delete';
  readonly session: number;
  readonly request: number;
  readonly name: string;
  readonly ifEmpty: boolean;
  readonly ifUnused: boolean;
}

export interface QueueCommand {
  readonly type: 'purge' | 'pause' | 'resume' | 'inspect';
  readonly session: number;
  readonly request: number;
  readonly name: string;
}
