/** Random things to do with a broker. An intent names no ids: the world turns it into a command by what is there. */
import type { FailureCause, Role } from '@lovage/protocol';
import fc from 'fast-check';

export const QUEUES = ['q0', 'q1', 'q2', 'q3'] as const;
/** The last name is the default exchange, which cannot be declared. */
export const EXCHANGES = ['e0', 'e1', 'e2', 'e3', ''] as const;
/** Routing keys first, then patterns, of which the last is none. */
export const KEYS = ['', 'a', 'b', 'a.b', 'a.b.b', 'q1', '*', '#', 'a.*', '#.b', '*.b', '#.#.b', '**'] as const;
export const HEADERS = [undefined, {}, { a: 1 }, { a: 1, b: 'x' }, { a: '1' }, { b: 'x', c: true }] as const;
const ROUTING_KEYS = 6;

export interface MessageIntent {
  readonly queue: number;
  readonly priority: number;
  readonly delayMs: number;
  readonly expiresInMs: number;
  readonly key: number;
  readonly bytes: number;
  /** Index of an exchange; without it the message is for the queue. */
  readonly exchange?: number | undefined;
  readonly routingKey?: number | undefined;
  readonly headers?: number | undefined;
  /** Rate limit, -1 for none, and its key. */
  readonly rate?: number;
  readonly rateKey?: number;
}

/** What a binding says, by indexes; `to` counts queues first. */
export interface BindingIntent {
  readonly session: number;
  readonly exchange: number;
  readonly to: number;
  readonly bindingKey: number;
  readonly headers: number;
  readonly any: boolean;
}

export type Intent =
  | { readonly type: 'open'; readonly other: boolean; readonly producer: number }
  | { readonly type: 'again'; readonly session: number; readonly sameProducer: boolean }
  | { readonly type: 'detach' | 'close' | 'flush'; readonly session: number }
  | { readonly type: 'declare'; readonly session: number; readonly queue: number; readonly settings: number }
  | { readonly type: 'merge'; readonly session: number; readonly queue: number; readonly change: number }
  | {
      readonly type: 'delete';
      readonly session: number;
      readonly queue: number;
      readonly ifEmpty: boolean;
      readonly ifUnused: boolean;
    }
  | {
      readonly type: 'purge' | 'pause' | 'resume' | 'inspect' | 'list';
      readonly session: number;
      readonly queue: number;
    }
  | {
      readonly type: 'publish';
      readonly session: number;
      readonly messages: readonly MessageIntent[];
      readonly memory: boolean;
      readonly autoDeclare: boolean;
      /** 0: new numbers; otherwise the frame begins so many numbers back. */
      readonly back: number;
      readonly confirm: boolean;
      readonly tooLarge: boolean;
      /** Refused at the door: 0 nothing, 1 what goes to the first queue, 2 all of it. */
      readonly refused: number;
      readonly mandatory?: boolean;
    }
  | {
      readonly type: 'consume';
      readonly session: number;
      readonly consumer: number;
      readonly queues: readonly number[];
      readonly prefetch: number;
      readonly ack: 'late' | 'early' | 'none';
      readonly order: 'strict' | 'weighted' | 'fair';
      readonly exclusive: boolean;
      readonly priority: number;
    }
  | { readonly type: 'cancel'; readonly session: number; readonly consumer: number }
  | { readonly type: 'prefetch'; readonly session: number; readonly consumer: number; readonly prefetch: number }
  | {
      readonly type: 'settle';
      readonly session: number;
      readonly op: 'start' | 'ack' | 'complete' | 'nack' | 'release';
      /** Which of the session's tags, some of them stale or not given out yet. */
      readonly from: number;
      readonly count: number;
      readonly second: number;
      readonly again: boolean;
      readonly requeue: boolean;
      readonly delayMs: number;
      /** Characters of a NACK's reason, -1 for none. */
      readonly reason: number;
      readonly cause: FailureCause;
      /** Of a COMPLETE of one tag: what is published with it. */
      readonly follow?: readonly MessageIntent[];
      readonly autoDeclare?: boolean;
    }
  | {
      readonly type: 'watch';
      readonly session: number;
      readonly from: number;
      readonly count: number;
      readonly stop: boolean;
    }
  | {
      readonly type: 'note';
      readonly session: number;
      readonly from: number;
      readonly step: number;
      readonly lines: number;
    }
  | { readonly type: 'drained'; readonly session: number; readonly share: number }
  | {
      readonly type: 'token';
      readonly session: number;
      readonly token: number;
      readonly role: Role;
      readonly inOther: boolean;
      readonly expiresInMs: number;
    }
  | { readonly type: 'revoke' | 'tokens'; readonly session: number; readonly token: number; readonly inOther: boolean }
  | {
      readonly type: 'setNamespace';
      readonly session: number;
      readonly inOther: boolean;
      readonly queuesMax: number | null;
      readonly messagesMax: number | null;
      readonly bytesMax: number | null;
      readonly defaults: number;
    }
  | {
      readonly type: 'messages';
      readonly session: number;
      readonly queue: number;
      /** Of the ids that there are, and -1 for one that there is not; empty for a filter. */
      readonly picks: readonly number[];
      readonly state: number;
      readonly priorityMin: number;
      readonly after: number;
      readonly limit: number;
      readonly peek: boolean;
      /** Of `HEADERS`. */
      readonly headers?: number;
    }
  | {
      readonly type: 'act';
      readonly session: number;
      readonly queue: number;
      readonly picks: readonly number[];
      readonly state: number;
      readonly priorityMin: number;
      readonly act: number;
      readonly to: number;
      readonly force: boolean;
      readonly dryRun: boolean;
      readonly headers?: number;
    }
  | {
      readonly type: 'rateLimit';
      readonly session: number;
      readonly limit: number;
      readonly what: 'declare' | 'override' | 'delete' | 'list';
      /** -1 for none. */
      readonly rate: number;
    }
  | { readonly type: 'namespaces' | 'deleteNamespace'; readonly session: number; readonly inOther: boolean }
  | { readonly type: 'advance' | 'late'; readonly ms: number }
  | { readonly type: 'full'; readonly isFull: boolean; readonly isBlocked?: boolean; readonly isForNow?: boolean }
  | {
      readonly type: 'exchange';
      readonly session: number;
      readonly exchange: number;
      readonly kind: number;
      /** -1 for none. */
      readonly alternate: number;
    }
  | { readonly type: 'exchangeDelete'; readonly session: number; readonly exchange: number; readonly ifUnused: boolean }
  | ({ readonly type: 'bind' | 'unbind' } & BindingIntent)
  | { readonly type: 'exchanges'; readonly session: number; readonly exchange: number }
  | {
      /** The archive takes the oldest results of a namespace, has stored or not stored those that it took first, or all of them are purged. */
      readonly type: 'archive';
      readonly inOther: boolean;
      readonly what: 'take' | 'stored' | 'refused' | 'purge';
      readonly most: number;
    }
  | { readonly type: 'roll' | 'copy' | 'reclaim' | 'crash' };

const session = fc.nat(5);
const queue = fc.nat(3);
const consumer = fc.integer({ min: 1, max: 3 });

const message = fc.record({
  queue,
  priority: fc.constantFrom(-1, 0, 0, 1, 5, 255),
  delayMs: fc.constantFrom(0, 0, 0, 0, 5, 50, 3_000),
  expiresInMs: fc.constantFrom(0, 0, 0, 0, 7, 60, 2_000),
  key: fc.constantFrom(-1, -1, -1, 0, 1, 2),
  bytes: fc.nat(40),
  exchange: fc.constantFrom(undefined, undefined, undefined, undefined, 0, 1, 2, 3, 4),
  routingKey: fc.nat(ROUTING_KEYS - 1),
  headers: fc.nat(HEADERS.length - 1),
  rate: fc.constantFrom(-1, -1, -1, 0, 0, 1),
  rateKey: fc.nat(2),
});

const ARBITRARIES: readonly (readonly [number, fc.Arbitrary<Intent>])[] = [
  [3, fc.record({ type: fc.constant('open' as const), other: fc.nat(4).map((n) => n === 0), producer: fc.nat(2) })],
  [3, fc.record({ type: fc.constant('again' as const), session, sameProducer: fc.nat(5).map((n) => n > 0) })],
  [2, fc.record({ type: fc.constant('detach' as const), session })],
  [1, fc.record({ type: fc.constant('close' as const), session })],
  [4, fc.record({ type: fc.constant('flush' as const), session })],
  [5, fc.record({ type: fc.constant('declare' as const), session, queue, settings: fc.integer({ min: -1, max: 6 }) })],
  [4, fc.record({ type: fc.constant('merge' as const), session, queue, change: fc.nat(21) })],
  [
    1,
    fc.record({
      type: fc.constant('delete' as const),
      session,
      queue,
      ifEmpty: fc.boolean(),
      ifUnused: fc.boolean(),
    }),
  ],
  [3, fc.record({ type: fc.constantFrom('purge', 'pause', 'resume', 'resume', 'inspect', 'list'), session, queue })],
  [
    16,
    fc.record({
      type: fc.constant('publish' as const),
      session,
      messages: fc.array(message, { minLength: 1, maxLength: 5 }),
      memory: fc.nat(5).map((n) => n === 0),
      autoDeclare: fc.nat(3).map((n) => n === 0),
      back: fc.constantFrom(0, 0, 0, 1, 3, 8),
      confirm: fc.boolean(),
      tooLarge: fc.nat(20).map((n) => n === 0),
      refused: fc.constantFrom(0, 0, 0, 0, 0, 0, 0, 0, 1, 2),
      mandatory: fc.boolean(),
    }),
  ],
  [
    8,
    fc.record({
      type: fc.constant('consume' as const),
      session,
      consumer,
      queues: fc.shuffledSubarray([0, 1, 2, 3], { minLength: 1 }),
      prefetch: fc.constantFrom(0, 1, 2, 3, 10),
      ack: fc.constantFrom('late', 'late', 'late', 'early', 'none'),
      order: fc.constantFrom('strict', 'weighted', 'fair'),
      exclusive: fc.nat(9).map((n) => n === 0),
      priority: fc.constantFrom(0, 0, 0, 1, 9),
    }),
  ],
  [3, fc.record({ type: fc.constant('cancel' as const), session, consumer })],
  [3, fc.record({ type: fc.constant('prefetch' as const), session, consumer, prefetch: fc.constantFrom(0, 1, 2, 5) })],
  [
    4,
    fc.record({
      type: fc.constant('note' as const),
      session,
      from: fc.nat(9),
      step: fc.integer({ min: -1, max: 3 }),
      lines: fc.constantFrom(0, 0, 1, 2, 60),
    }),
  ],
  [
    6,
    fc.record({
      type: fc.constant('watch' as const),
      session,
      from: fc.nat(20),
      count: fc.constantFrom(1, 2, 5),
      stop: fc.nat(5).map((n) => n === 0),
    }),
  ],
  [
    28,
    fc.record({
      type: fc.constant('settle' as const),
      session,
      op: fc.constantFrom('start', 'start', 'ack', 'ack', 'complete', 'complete', 'nack', 'release'),
      from: fc.nat(12),
      count: fc.constantFrom(1, 1, 2, 4),
      second: fc.constantFrom(-1, -1, 0, 3),
      again: fc.nat(9).map((n) => n === 0),
      requeue: fc.nat(3).map((n) => n > 0),
      delayMs: fc.constantFrom(-1, -1, 0, 0, 20),
      reason: fc.constantFrom(-1, 0, 7, 100, 101),
      cause: fc.constantFrom('failed' as const, 'crashed' as const),
      follow: fc.oneof(fc.constant([]), fc.array(message, { maxLength: 3 })),
      autoDeclare: fc.nat(3).map((n) => n === 0),
    }),
  ],
  [
    4,
    fc.record({
      type: fc.constant('exchange' as const),
      session,
      exchange: fc.nat(3),
      kind: fc.nat(3),
      alternate: fc.constantFrom(-1, -1, 0, 1, 2, 3),
    }),
  ],
  [
    1,
    fc.record({ type: fc.constant('exchangeDelete' as const), session, exchange: fc.nat(3), ifUnused: fc.boolean() }),
  ],
  [
    9,
    fc.record({
      type: fc.constantFrom('bind', 'bind', 'bind', 'unbind'),
      session,
      exchange: fc.nat(3),
      to: fc.nat(7),
      bindingKey: fc.nat(KEYS.length - 1),
      headers: fc.nat(HEADERS.length - 1),
      any: fc.boolean(),
    }),
  ],
  [1, fc.record({ type: fc.constant('exchanges' as const), session, exchange: fc.nat(3) })],
  [4, fc.record({ type: fc.constant('drained' as const), session, share: fc.constantFrom(0.3, 1) })],
  [
    9,
    fc.record({
      type: fc.constantFrom('advance', 'advance', 'late'),
      ms: fc.constantFrom(0, 1, 6, 25, 60, 400, 2_500),
    }),
  ],
  [
    2,
    fc.record({
      type: fc.constant('token' as const),
      session,
      token: fc.nat(5),
      role: fc.constantFrom<Role>('admin', 'admin', 'operator', 'producer', 'consumer', 'viewer'),
      inOther: fc.boolean(),
      expiresInMs: fc.constantFrom(-1, 0, 0, 50, 3_000),
    }),
  ],
  [2, fc.record({ type: fc.constantFrom('revoke', 'tokens'), session, token: fc.nat(5), inOther: fc.boolean() })],
  [
    2,
    fc.record({
      type: fc.constant('messages' as const),
      session,
      queue: fc.nat(QUEUES.length - 1),
      picks: fc.array(fc.integer({ min: -1, max: 12 }), { maxLength: 3 }),
      state: fc.nat(7),
      priorityMin: fc.constantFrom(0, 0, 1, 5),
      after: fc.constantFrom(0, 0, 3, 20),
      limit: fc.constantFrom(1, 3, 100),
      peek: fc.boolean(),
      headers: fc.constantFrom(0, 0, 0, 1, 2, 3, 4),
    }),
  ],
  [
    6,
    fc.record({
      type: fc.constant('act' as const),
      session,
      queue: fc.nat(QUEUES.length - 1),
      picks: fc.array(fc.integer({ min: -1, max: 12 }), { maxLength: 3 }),
      state: fc.nat(7),
      priorityMin: fc.constantFrom(0, 1, 5),
      act: fc.nat(5),
      to: fc.nat(QUEUES.length - 1),
      force: fc.boolean(),
      dryRun: fc.constantFrom(false, false, false, true),
      headers: fc.constantFrom(0, 0, 0, 1, 2, 3, 4),
    }),
  ],
  [
    2,
    fc.record({
      type: fc.constant('setNamespace' as const),
      session,
      inOther: fc.boolean(),
      queuesMax: fc.constantFrom(null, null, 1, 3),
      messagesMax: fc.constantFrom(null, null, 4, 15),
      bytesMax: fc.constantFrom(null, null, null, 400),
      defaults: fc.nat(3),
    }),
  ],
  [
    5,
    fc.record({
      type: fc.constant('rateLimit' as const),
      session,
      limit: fc.nat(1),
      what: fc.constantFrom('declare', 'declare', 'override', 'override', 'delete', 'list'),
      rate: fc.integer({ min: -1, max: 4 }),
    }),
  ],
  [1, fc.record({ type: fc.constantFrom('namespaces'), session, inOther: fc.boolean() })],
  // Everything goes with a namespace: not too often.
  [
    1,
    fc.record({
      type: fc.constant('deleteNamespace' as const),
      session,
      inOther: fc.nat(5).map((n) => n > 0),
    }),
  ],
  [
    1,
    fc.record({
      type: fc.constant('full' as const),
      isFull: fc.nat(2).map((n) => n === 0),
      isBlocked: fc.nat(3).map((n) => n === 0),
      isForNow: fc.boolean(),
    }),
  ],
  [
    6,
    fc.record({
      type: fc.constant('archive' as const),
      inOther: fc.nat(4).map((n) => n === 0),
      what: fc.constantFrom('take', 'take', 'take', 'stored', 'stored', 'refused', 'purge'),
      most: fc.constantFrom(1, 2, 10),
    }),
  ],
  [4, fc.record({ type: fc.constantFrom('roll', 'copy', 'reclaim') })],
  [1, fc.record({ type: fc.constant('crash' as const) })],
];

export const intent: fc.Arbitrary<Intent> = fc.oneof(
  ...ARBITRARIES.map(([weight, arbitrary]) => ({ weight, arbitrary })),
);
