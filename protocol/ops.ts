/**
 * The two closed tables of ops. One WebSocket binary message is one MessagePack array `[op, ...fields]`; README.md specifies each
 * row's fields. Numbers below 64 travel from client to broker, the others from broker to client.
 *
 * How to change this: numbers are never reused; new fields go to the end of a row, because readers ignore what they do not know.
 */
export const CLIENT_OPS = {
  HELLO: 1,
  HEARTBEAT: 2,
  PUBLISH: 3,
  CONSUME: 4,
  CANCEL: 5,
  PREFETCH: 6,
  START: 7,
  ACK: 8,
  NACK: 9,
  RELEASE: 10,
  QUEUE_DECLARE: 11,
  QUEUE_DELETE: 12,
  QUEUE_PURGE: 13,
  QUEUE_PAUSE: 14,
  QUEUE_RESUME: 15,
  QUEUE_INSPECT: 16,
  QUEUE_LIST: 17,
  GOODBYE: 18,
  EXCHANGE_DECLARE: 19,
  EXCHANGE_DELETE: 20,
  EXCHANGE_LIST: 21,
  BIND: 22,
  UNBIND: 23,
  BINDING_LIST: 24,
  MESSAGE_LIST: 25,
  MESSAGE_PEEK: 26,
  MESSAGE_MOVE: 27,
  MESSAGE_DROP: 28,
  MESSAGE_RETRY: 29,
  MESSAGE_PRIORITY: 30,
  MESSAGE_REDRIVE: 31,
  TOKEN_CREATE: 32,
  TOKEN_LIST: 33,
  TOKEN_REVOKE: 34,
  NAMESPACE_SET: 35,
  NAMESPACE_LIST: 36,
  NAMESPACE_DELETE: 37,
  COMPLETE: 38,
  RESULT_WATCH: 39,
  RESULT_UNWATCH: 40,
  MESSAGE_STATE: 41,
  MESSAGE_REVOKE: 42,
  NOTE: 43,
  WORKER_ANNOUNCE: 44,
  WORKER_LIST: 45,
  WORKER_CONTROL: 46,
  WORKER_ANSWER: 47,
  RATE_LIMIT_DECLARE: 48,
  RATE_LIMIT_OVERRIDE: 49,
  RATE_LIMIT_DELETE: 50,
  RATE_LIMIT_LIST: 51,
} as const;

export const SERVER_OPS = {
  WELCOME: 64,
  HEARTBEAT: 65,
  CONFIRM: 66,
  DUPLICATE: 67,
  REJECT: 68,
  DELIVER: 69,
  SETTLED: 70,
  REFUSED: 71,
  RECALL: 72,
  REPLY: 73,
  ERROR: 74,
  CONSUMER_CANCELLED: 75,
  FLOW: 76,
  RESULT: 77,
  REVOKED: 78,
  NOTED: 79,
  CONTROL: 80,
  CONSUMER_QUEUE_GONE: 81,
} as const;

export type ClientOp = keyof typeof CLIENT_OPS;
export type ServerOp = keyof typeof SERVER_OPS;

/** Bits of PUBLISH's flags. */
export const PUBLISH_FLAGS = {
  /** Keep these messages in memory only: they skip the journal and are gone after a restart. */
  MEMORY: 1,
  /** Declare a queue that does not exist, with default settings. */
  AUTO_DECLARE: 2,
  /** Refuse a message that an exchange leads to no queue: UNROUTABLE. Without it such a message is confirmed with id 0 and dropped. */
  MANDATORY: 4,
} as const;

/** What a confirm means; the number travels in CONFIRM, the word stands in receipts. */
export const DURABILITY = ['disk', 'interval', 'never', 'memory'] as const;
/**
 * `disk`: synced before the confirm. `interval`: written, synced within the broker's `--sync <ms>`. `never`: written, synced when the system likes.
 * `memory`: kept in memory only.
 */
export type Durability = (typeof DURABILITY)[number];

export const ACK_MODES = ['late', 'early', 'none'] as const;
/** `late`: settled when the handler is done. `early`: settled when it starts. `none`: settled when sent. */
export type AckMode = (typeof ACK_MODES)[number];

export const QUEUE_ORDERS = ['strict', 'weighted', 'fair'] as const;
/** Which queue of several a consumer is served from: the first that has messages, by weight, or each in turn. */
export type QueueOrder = (typeof QUEUE_ORDERS)[number];

export const DECLARE_MODES = ['check', 'merge'] as const;
/** What a declaration does with a queue that exists: `check` that it has these settings, or change those that are given (`merge`). */
export type DeclareMode = (typeof DECLARE_MODES)[number];
export const EXCHANGE_TYPES = ['direct', 'fanout', 'topic', 'headers'] as const;
/** Which bindings a message follows: those of its key, all, those whose pattern its key matches, or those that its headers match. */
export type ExchangeType = (typeof EXCHANGE_TYPES)[number];

export const HEADER_MATCHES = ['all', 'any'] as const;
/** Whether a message must have all headers of a binding, or one of them. */
export type HeaderMatch = (typeof HEADER_MATCHES)[number];

/** WebSocket subprotocol. */
export const SUBPROTOCOL = 'lovage.v1';
/** Content types that the SDK gives to bodies it encodes itself. Bytes have none (nil on the wire). */
export const CONTENT_TYPES = { text: 'text/plain', value: 'application/msgpack' } as const;
