/**
 * What can be asked of the engine, one object a frame. Sessions are known by the number that `open` gave them; everything in a command has
 * been checked for its type and range, so the engine only decides whether it fits the state.
 */
import type {
  CompleteBatch,
  ConsumeOptions,
  DeclareMode,
  ErrorCode,
  ExchangeType,
  FailureCause,
  MessageFilter,
  NamespaceSettings,
  Note,
  PublishBatch,
  QueueSettings,
  Rate,
  TokenFields,
} from '@lovage/protocol';
import type { BindingFacts } from './exchange.js';

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
  | CompleteCommand
  | ResultWatchCommand
  | ResultsArchivedCommand
  | MessageStateCommand
  | NoteCommand
  | { readonly type: 'drained'; readonly session: number; readonly bytes: number }
  | DeclareCommand
  | DeleteCommand
  | QueueCommand
  | MessageListCommand
  | MessageActCommand
  | TokenCreateCommand
  | TokenListCommand
  | TokenRevokeCommand
  | NamespaceSetCommand
  | NamespaceListCommand
  | NamespaceDeleteCommand
  | {
      readonly type: 'list';
      readonly session: number;
      readonly request: number;
      readonly after: string | null;
      readonly limit: number;
    }
  | ExchangeDeclareCommand
  | ExchangeDeleteCommand
  | ExchangeListCommand
  | BindCommand
  | BindingListCommand
  | RateLimitSetCommand
  | RateLimitDeleteCommand
  | RateLimitListCommand;

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
  /** What the door refuses of the frame; null or absent: nothing. */
  readonly refused?: RefusedPublish | null;
}

/** Why something is not done, as the client is told. */
export interface Refusal {
  readonly code: ErrorCode;
  readonly message: string;
  readonly details?: Readonly<Record<string, unknown>>;
}

/** A publish that the client may not make: all of it, or its messages to some of the targets. */
export interface RefusedPublish extends Refusal {
  /** Indexes of targets of the frame; null for the whole frame. */
  readonly targets: ReadonlySet<number> | null;
}

/** `batch` is read before `apply` returns and may be used again; its bytes stay as they are. */
export interface CompleteCommand {
  readonly type: 'complete';
  readonly session: number;
  readonly batch: CompleteBatch;
  /** What the door refuses of what is published with it; null or absent: nothing. */
  readonly refused?: RefusedPublish | null;
}

export interface ResultWatchCommand {
  readonly type: 'result-watch' | 'result-unwatch';
  readonly session: number;
  readonly request: number;
  readonly ids: readonly number[];
}

/** Results of a queue are in the archive, on disk: they go. `ids` by rising id. */
export interface ResultsArchivedCommand {
  readonly type: 'results-archived';
  readonly queue: number;
  /** That in which they were taken. */
  readonly era: number;
  readonly ids: readonly number[];
}

export interface MessageStateCommand {
  readonly type: 'message-state';
  readonly session: number;
  readonly request: number;
  readonly ids: readonly number[];
  /** Also what handlers have told. */
  readonly withNotes: boolean;
}

/** What a handler tells of its delivery. The bytes stay as they are. */
export interface NoteCommand {
  readonly type: 'note';
  readonly session: number;
  readonly tag: number;
  readonly note: Note;
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
  /** RELEASE: ms before it is delivered again; absent: at once. */
  readonly delayMs?: number;
  /** START and ACK: nobody waits to hear that it is on disk. */
  readonly mayWait?: boolean;
}

export interface NackCommand {
  readonly type: 'nack';
  readonly session: number;
  readonly settleSeq: number;
  readonly ranges: readonly number[];
  readonly requeue: boolean;
  /** -1: by the queue's backoff. */
  readonly delayMs: number;
  /** With one the attempt is logged. */
  readonly reason: string | null;
  readonly cause: FailureCause;
}

export interface DeclareCommand {
  readonly type: 'declare';
  readonly session: number;
  readonly request: number;
  readonly name: string;
  /** Each is right for itself; the others have their defaults. Null: any settings will do if the queue exists, defaults if not. */
  readonly settings: Partial<QueueSettings> | null;
  readonly mode: DeclareMode;
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

/** A page of a queue's messages, or those of `ids`. `withBodies`: MESSAGE_PEEK. */
export interface MessageListCommand {
  readonly type: 'message-list';
  readonly session: number;
  readonly request: number;
  readonly queue: string;
  readonly ids: readonly number[] | null;
  readonly filter: MessageFilter;
  /** Id behind which the page begins, 0 for the first. */
  readonly after: number;
  readonly limit: number;
  readonly withBodies: boolean;
}

/** Something is done with messages of a queue: those of `ids` (1-1,000), or if that is null a step through those that fit `filter`, from behind `after` on. */
interface MessageActBase {
  readonly type: 'message-act';
  readonly session: number;
  readonly request: number;
  /** Null, with `ids` and to revoke: whichever queue each is in. */
  readonly queue: string | null;
  readonly ids: readonly number[] | null;
  readonly filter: MessageFilter;
  readonly after: number;
  /** Nothing is changed, only counted. */
  readonly dryRun: boolean;
}

/** What is done. */
export type MessageAct =
  /** `force`: also what a handler has started. */
  | { readonly act: 'drop'; readonly force: boolean }
  | { readonly act: 'move'; readonly to: string; readonly force: boolean }
  | { readonly act: 'priority'; readonly priority: number }
  | { readonly act: 'retry' }
  | { readonly act: 'redrive' }
  /** `result`: a frame with the one result that they all have. `terminate` is told to those who work on them. */
  | { readonly act: 'revoke'; readonly terminate: boolean; readonly result: CompleteBatch };

export type MessageActCommand = MessageActBase & MessageAct;

export interface ExchangeListCommand {
  readonly type: 'exchange-list';
  readonly session: number;
  readonly request: number;
  readonly after: string | null;
  readonly limit: number;
}

export interface ExchangeDeclareCommand {
  readonly type: 'exchange-declare';
  readonly session: number;
  readonly request: number;
  readonly name: string;
  readonly kind: ExchangeType;
  readonly alternate: string | null;
}

export interface ExchangeDeleteCommand {
  readonly type: 'exchange-delete';
  readonly session: number;
  readonly request: number;
  readonly name: string;
  readonly ifUnused: boolean;
}

export interface BindCommand {
  readonly type: 'bind' | 'unbind';
  readonly session: number;
  readonly request: number;
  readonly binding: BindingFacts;
}

export interface BindingListCommand {
  readonly type: 'binding-list';
  readonly session: number;
  readonly request: number;
  readonly exchange: string;
  /** Id of the last binding of the page before, 0 for the first page. */
  readonly after: number;
  readonly limit: number;
}

/** A token whose secret was drawn at the door: the engine keeps `hash` and tells `secret` once. */
export interface TokenCreateCommand {
  readonly type: 'token-create';
  readonly session: number;
  readonly request: number;
  readonly id: string;
  readonly hash: string;
  readonly secret: string;
  readonly fields: TokenFields;
}

/** `namespace`: only tokens that belong to it; null for all. */
export interface TokenListCommand {
  readonly type: 'token-list';
  readonly session: number;
  readonly request: number;
  readonly namespace: string | null;
  readonly after: string | null;
  readonly limit: number;
}

export interface TokenRevokeCommand {
  readonly type: 'token-revoke';
  readonly session: number;
  readonly request: number;
  readonly namespace: string | null;
  readonly id: string;
}

export interface NamespaceSetCommand {
  readonly type: 'namespace-set';
  readonly session: number;
  readonly request: number;
  readonly name: string;
  readonly settings: NamespaceSettings;
}

/** `only`: this one or none; null for all. */
export interface NamespaceListCommand {
  readonly type: 'namespace-list';
  readonly session: number;
  readonly request: number;
  readonly only: string | null;
  readonly after: string | null;
  readonly limit: number;
}

export interface NamespaceDeleteCommand {
  readonly type: 'namespace-delete';
  readonly session: number;
  readonly request: number;
  readonly name: string;
}

/** `rate` null: no override any more. */
export interface RateLimitSetCommand {
  readonly type: 'rate-limit-declare' | 'rate-limit-override';
  readonly session: number;
  readonly request: number;
  readonly name: string;
  readonly rate: Rate | null;
}

export interface RateLimitDeleteCommand {
  readonly type: 'rate-limit-delete';
  readonly session: number;
  readonly request: number;
  readonly name: string;
}

export interface RateLimitListCommand {
  readonly type: 'rate-limit-list';
  readonly session: number;
  readonly request: number;
  readonly after: string | null;
  readonly limit: number;
}
