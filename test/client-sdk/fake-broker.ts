/**
 * A broker in memory for the client: sockets that only remember, answers that the test gives, and a clock that only the test moves. What nearly
 * every test wants (WELCOME, a REPLY to each request) comes by itself unless told otherwise.
 */
import {
  beginDeliver,
  beginRun,
  CLIENT_OPS,
  type ClientOp,
  type DeadLetter,
  decodeValue,
  encodeFrame,
  encodeValue,
  endRun,
  FrameWriter,
  LIMITS,
  type LovageError,
  SERVER_OPS,
  type ServerOp,
  type Welcome,
  writeDeadLetters,
  writeDeliveryHead,
} from '@lovage/protocol';
import { afterAll, afterEach, expect, vi } from 'vitest';
import { Client } from '../../client-sdk/client.js';
import type { ConnectOptions } from '../../client-sdk/options.js';
import type { Platform, Transport, TransportEvents } from '../../client-sdk/transport.js';

const realImmediate = setImmediate;
const OP_NAMES = new Map(Object.entries(CLIENT_OPS).map(([name, op]) => [op as number, name as ClientOp]));
/** Requests, whose second field is a number that asks for one answer. */
const REQUESTS: readonly ClientOp[] = [
  'CONSUME',
  'CANCEL',
  'PREFETCH',
  'QUEUE_DECLARE',
  'QUEUE_DELETE',
  'QUEUE_PURGE',
  'QUEUE_PAUSE',
  'QUEUE_RESUME',
  'QUEUE_INSPECT',
  'QUEUE_LIST',
];
export const URL = 'ws://broker.test:7420';

/** A frame of the client. */
export interface ClientFrame {
  readonly op: ClientOp;
  readonly fields: readonly unknown[];
  readonly bytes: Uint8Array;
}

/** A message to deliver; what is absent is as a first delivery of queue 0 has it. */
export interface Outgoing {
  readonly tag: number;
  readonly id?: number;
  readonly queueIndex?: number;
  readonly priority?: number;
  readonly attempt?: number;
  readonly redelivered?: boolean;
  readonly contentType?: string | null;
  readonly headers?: Record<string, unknown> | null;
  readonly body?: string | Uint8Array;
  readonly history?: readonly DeadLetter[];
}

/** The client's end of one connection, and the broker's. */
export class FakeSocket implements Transport {
  bufferedBytes = 0;
  /** True: what is sent stays in the socket until `drain`. */
  isStalled = false;
  isTerminated = false;
  readonly frames: ClientFrame[] = [];
  readonly #events: TransportEvents;
  readonly #broker: FakeBroker;
  #taken: (() => void)[] = [];
  #seen = 0;

  constructor(broker: FakeBroker, events: TransportEvents) {
    this.#broker = broker;
    this.#events = events;
  }

  send(frame: Uint8Array, taken?: () => void): void {
    expect(this.isTerminated, 'nothing is sent over a dropped socket').toBe(false);
    const [op, ...fields] = decodeValue(frame) as [number, ...unknown[]];
    const sent = { op: OP_NAMES.get(op)!, fields, bytes: frame };
    this.frames.push(sent);
    if (this.isStalled) {
      this.bufferedBytes += frame.length;
      if (taken !== undefined) this.#taken.push(taken);
    } else taken?.();
    this.#broker.heard(this, sent);
  }

  terminate(): void {
    this.isTerminated = true;
  }

  /** Everything that stalled has been taken. */
  drain(): void {
    this.bufferedBytes = 0;
    for (const taken of this.#taken.splice(0)) taken();
  }

  opened(): void {
    this.#events.opened();
  }

  /** A frame of the broker. */
  tell(op: ServerOp, ...fields: readonly unknown[]): void {
    this.tellBytes(encodeFrame([SERVER_OPS[op], ...fields]));
  }

  tellBytes(bytes: Uint8Array): void {
    this.#events.received(Uint8Array.from(bytes));
  }

  deliver(consumerId: number, ...messages: readonly Outgoing[]): void {
    this.tellBytes(deliverFrame(consumerId, messages));
  }

  /** The connection ends; 1006 is a mere loss. */
  close(code = 1006, reason = ''): void {
    this.#events.closed(code, reason);
  }

  /** Frames of one op. */
  all(op: ClientOp): ClientFrame[] {
    return this.frames.filter((frame) => frame.op === op);
  }

  /** Op and fields of every frame that came since the last call, without HEARTBEAT, and without the `mayWait` of START and ACK, which has tests of its own. */
  news(): unknown[][] {
    return this.newsWithMayWait().map(([op, ...fields]) =>
      op === 'START' || op === 'ACK' ? [op, ...fields.slice(0, 2)] : [op, ...fields],
    );
  }

  newsWithMayWait(): unknown[][] {
    const news = this.frames.slice(this.#seen);
    this.#seen = this.frames.length;
    return news.filter(({ op }) => op !== 'HEARTBEAT').map(({ op, fields }) => [op, ...fields]);
  }
}

export class FakeBroker implements Platform {
  readonly sockets: FakeSocket[] = [];
  readonly urls: string[] = [];
  /** False: sockets cannot be opened. */
  isUp = true;
  /** False: the test calls `opened` and tells WELCOME itself. */
  answersHello = true;
  /** What a REPLY to each request says; null: the test answers. */
  replies: ((op: ClientOp, fields: readonly unknown[]) => unknown) | null = () => ({});
  /** True: each publish is confirmed at once with id 1000 + its number. */
  confirms = false;
  /** True: each settlement is answered at once. */
  settles = false;
  welcome: Partial<Welcome> = {};
  #tasks: (() => void)[] = [];

  open(url: string, events: TransportEvents): Transport {
    const socket = new FakeSocket(this, events);
    this.sockets.push(socket);
    this.urls.push(url);
    if (this.answersHello || !this.isUp)
      this.schedule(() => {
        if (socket.isTerminated) return;
        if (this.isUp) socket.opened();
        else socket.close(1006, 'nobody is there');
      });
    return socket;
  }

  schedule(task: () => void): void {
    this.#tasks.push(task);
  }

  /** The present connection. */
  get socket(): FakeSocket {
    return this.sockets.at(-1)!;
  }

  /** Lets everything happen that needs no time to pass. */
  async turn(): Promise<void> {
    do {
      await new Promise((resolve) => realImmediate(resolve));
      for (const task of this.#tasks.splice(0)) task();
      await new Promise((resolve) => realImmediate(resolve));
    } while (this.#tasks.length > 0);
  }

  /** Time passes. */
  async pass(ms: number): Promise<void> {
    await this.turn();
    // The client's timers count whole ms and wait one more.
    await vi.advanceTimersByTimeAsync(ms);
    await this.turn();
  }

  /** The connection is lost and made again. */
  async reconnect(welcome: Partial<Welcome> = {}): Promise<void> {
    this.welcome = welcome;
    const count = this.sockets.length;
    this.socket.close();
    await this.turn();
    await this.untilSockets(count + 1);
  }

  /** Time passes until the client has opened so many sockets and said HELLO on the last. */
  async untilSockets(count: number): Promise<void> {
    const isThere = (): boolean => this.sockets.length >= count && this.socket.frames.length > 0;
    for (let i = 0; !isThere() && i < 100; i++) await this.pass(1_000);
    expect(isThere(), `socket ${count} is open`).toBe(true);
    await this.turn();
  }

  heard(socket: FakeSocket, { op, fields }: ClientFrame): void {
    if (op === 'HELLO' && this.answersHello) this.#later(socket, () => socket.tell('WELCOME', this.welcomeFields()));
    if (REQUESTS.includes(op) && this.replies !== null) {
      const result = this.replies(op, fields);
      this.#later(socket, () => socket.tell('REPLY', fields[0], result));
    }
    if (op === 'PUBLISH' && this.confirms) {
      const firstSeq = fields[0] as number;
      const count = (fields[3] as unknown[]).length;
      this.#later(socket, () => socket.tell('CONFIRM', firstSeq, count, 1_000 + firstSeq, 0));
    }
    if (this.settles && ['START', 'ACK', 'NACK', 'RELEASE'].includes(op))
      this.#later(socket, () => socket.tell('SETTLED', fields[0]));
  }

  welcomeFields(): Welcome {
    return {
      version: 1,
      session: 's1',
      resumed: false,
      held: [],
      settleSeq: 0,
      serverTime: 0,
      heartbeatMs: 20_000,
      graceMs: 10_000,
      durability: 'disk',
      limits: {
        bodyBytesMax: LIMITS.bodyBytesMax,
        headerBytesMax: LIMITS.headerBytesMax,
        frameBytesMax: LIMITS.bodyBytesMax + LIMITS.frameOverheadBytes,
      },
      ...this.welcome,
    };
  }

  #later(socket: FakeSocket, task: () => void): void {
    this.schedule(() => {
      if (!socket.isTerminated) task();
    });
  }
}

let clients: Client[] = [];

/** A virtual clock for the tests of a file; call it at the top. */
export function useVirtualTime(): void {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
  afterEach(() => {
    for (const client of clients) client.terminate();
    clients = [];
    vi.clearAllTimers();
    vi.restoreAllMocks();
  });
  afterAll(() => {
    vi.useRealTimers();
  });
}

/** A client that is under way to a broker of its own. */
export function connecting(
  options: ConnectOptions = {},
  broker = new FakeBroker(),
): { readonly broker: FakeBroker; readonly promise: Promise<Client> } {
  const promise = Client.connect(broker, URL, { producer: 'p', ...options });
  promise.then(
    (client) => clients.push(client),
    () => undefined,
  );
  return { broker, promise };
}

/** A connected client and its broker. */
export async function connected(
  options: ConnectOptions = {},
  prepare: (broker: FakeBroker) => void = () => undefined,
): Promise<{ readonly client: Client; readonly broker: FakeBroker }> {
  const { broker, promise } = connecting(options);
  prepare(broker);
  await broker.turn();
  const client = await promise;
  broker.socket.news();
  return { client, broker };
}

/** What has become of a promise, kept up to date. Its rejection counts as handled. */
export interface Outcome<T> {
  state: 'pending' | 'resolved' | 'rejected';
  value?: T;
  error?: LovageError;
}

export function outcomeOf<T>(promise: Promise<T>): Outcome<T> {
  const outcome: Outcome<T> = { state: 'pending' };
  promise.then(
    (value) => Object.assign(outcome, { state: 'resolved', value }),
    (error: unknown) => Object.assign(outcome, { state: 'rejected', error }),
  );
  return outcome;
}

function deliverFrame(consumerId: number, messages: readonly Outgoing[]): Uint8Array {
  const writer = new FrameWriter(1_024);
  beginDeliver(writer, 1);
  const at = beginRun(writer, consumerId);
  for (const message of messages) {
    const { tag, id = tag, queueIndex = 0, priority = 0, attempt = 1, redelivered = false } = message;
    const { contentType = null, headers = null, body = 'hi', history = [] } = message;
    const hasHistory = history.length > 0;
    writeDeliveryHead(writer, { tag, id, queueIndex, priority, attempt, redelivered }, hasHistory ? 1 : 0);
    if (contentType === null) writer.nil();
    else writer.str(contentType);
    if (headers === null) writer.nil();
    else writer.raw(encodeValue(headers));
    writer.bin(typeof body === 'string' ? Buffer.from(body) : body);
    if (hasHistory) writeDeadLetters(writer, history);
  }
  endRun(writer, at, messages.length);
  return writer.copy();
}
