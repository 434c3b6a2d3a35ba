/** The public names of the SDK, the same in Node and in browsers. */
export {
  type BindingInfo,
  ERRORS,
  type ErrorCode,
  type ExchangeInfo,
  type ExchangeType,
  type HeaderMatch,
  type HeaderValue,
  LovageError,
  type MessageFilter,
  type MessageInfo,
  type MessagePage,
  type MessageSelection,
  type MessageSkip,
  type MessageState,
  type MessageWhereabouts,
  type NamespaceInfo,
  type NamespaceSettings,
  type Note,
  type PeekedMessage,
  type Progress,
  type QueueInfo,
  type QueueSettings,
  type Right,
  type Role,
  type TokenInfo,
  type TokenOptions,
  type WorkerAction,
  type WorkerInfo,
  type WorkerList,
} from '@lovage/protocol';
export type { Client } from './client.js';
export type { Consumer, Handler } from './consumer.js';
export type { AckOptions, CompleteOptions, Delivery, NackOptions } from './delivery.js';
export type { DeclaredExchange, ExchangeBinding, ExchangeOptions, Exchanges } from './exchanges.js';
export type { FollowUp } from './follow-ups.js';
export type { ExchangeTarget, PublishMessage, PublishOptions, Receipt } from './message.js';
export type { ActOptions, ForceOptions, MessageChanges, Messages, PageOptions, RevokeOptions } from './messages.js';
export type { Namespaces } from './namespaces.js';
export type { ConnectOptions, ConsumeOptions } from './options.js';
export type { DeclaredQueue, Queues } from './queues.js';
export type { RateLimits } from './rate-limits.js';
export type { Results, StoredResult, WaitOptions } from './results.js';
export type { Blocked, ConnectionState, Status } from './status-feed.js';
export type { CreatedToken, Tokens } from './tokens.js';
export type { TlsOptions } from './transport.js';
export type { Workers } from './workers.js';
