/**
 * A client of the wire and nothing more: it sends any bytes it is told to, keeps every frame that comes, and does nothing on its own: no heartbeats,
 * no acks, no reconnecting. What a test expects of the broker it says as a condition on what has come.
 */
import {
  CLIENT_OPS,
  type ConsumeOptions,
  type DeadLetter,
  decodeFrame,
  decodeValue,
  type ErrorCode,
  encodeFrame,
  encodeValue,
  FrameReader,
  type Hello,
  LIMITS,
  type QueueInfo,
  type QueueSettings,
  readDeadLetters,
  readDeliver,
  readOp,
  SERVER_OPS,
  SUBPROTOCOL,
  type Welcome,
  type WireDelivery,
} from '@lovage/protocol';
import { type ClientOptions, WebSocket } from 'ws';
import { atEnd } from './cleanup.js';
import { DEADLINE_MS } from './deadline.js';

/** One frame of the broker. `fields` are those behind the op; a DELIVER's are in `deliveries` instead. */
export interface ServerFrame {
  readonly op: number;
  readonly fields: readonly unknown[];
  readonly bytes: Uint8Array;
}

export interface Delivery {
  readonly consumerId: number;
  readonly tag: number;
  readonly id: number;
  readonly queueIndex: number;
  readonly priority: number;
  readonly attempt: number;
  readonly redelivered: boolean;
  readonly contentType: string | null;
  readonly headers: unknown;
  readonly body: Uint8Array;
  /** The body as UTF-8. */
  readonly text: string;
  /** Which queues have given it up, oldest first. */
  readonly deadLetters: readonly DeadLetter[];
  /** Wall clock when it came. */
  readonly atMs: number;
}

/** What became of one publish. */
export type Answer =
  | { readonly type: 'confirm'; readonly id: number; readonly durability: number }
  | { readonly type: 'duplicate'; readonly id: number; readonly durability: number }
  | { readonly type: 'reject'; readonly code: ErrorCode; readonly message: string; readonly details?: unknown };

export interface WireError {
  readonly request: number | null;
  readonly code: ErrorCode;
  readonly message: string;
  readonly details: Readonly<Record<string, unknown>> | null;
}

export interface Refusal {
  readonly settleSeq: number;
  readonly ranges: readonly number[];
  readonly code: ErrorCode;
}

/** One message of a PUBLISH; what is absent is as on the wire: nil or 0. */
export interface Message {
  /** Name of a queue; the routing key when there is an exchange. */
  readonly queue: string;
  readonly exchange?: string;
  readonly body: string | Uint8Array;
  readonly priority?: number;
  readonly delayMs?: number;
  readonly expiresInMs?: number;
  readonly dedupKey?: string;
  readonly contentType?: string;
  readonly headers?: Record<string, unknown>;
}

export interface PublishOptions {
  /** Default: the next number of this connection. */
  readonly firstSeq?: number;
  readonly confirmedSeq?: number;
  readonly flags?: number;
}

export interface ConnectOptions {
  /** HELLO's fields beside the version; null sends no HELLO. */
  readonly hello?: Partial<Hello> | null;
  readonly path?: string;
  readonly protocols?: readonly string[];
  readonly socket?: ClientOptions;
}

export interface NackOptions {
  readonly requeue?: boolean;
  readonly delayMs?: number;
  readonly reason?: string | null;
}

interface Waiter {
  readonly isMet: () => boolean;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

const OP_NAMES = new Map<number, string>(Object.entries(SERVER_OPS).map(([name, op]) => [op, name]));
const reader = new FrameReader();

export class RawClient {
  readonly #socket: WebSocket;
  readonly #waiters = new Set<Waiter>();
  readonly frames: ServerFrame[] = [];
  readonly deliveries: Delivery[] = [];
  /** By sequence number; the last one if there were several. */
  readonly answers = new Map<number, Answer>();
  /** How many answers came for each sequence number. */
  readonly answerCounts = new Map<number, number>();
  readonly replies = new Map<number, unknown>();
  readonly errors: WireError[] = [];
  readonly refusals: Refusal[] = [];
  /** Tags that the broker wants back. */
  readonly recalled: number[] = [];
  /** Tags that the broker has taken back for good, and whether by force. */
  readonly revoked: { readonly tags: readonly number[]; readonly terminate: boolean }[] = [];
  readonly cancelled: { readonly consumerId: number; readonly code: ErrorCode }[] = [];
  /** Queues that the broker took from consumers. */
  readonly queuesGone: { readonly consumerId: number; readonly queue: string; readonly code: ErrorCode }[] = [];
  welcome: Welcome | null = null;
  /** Highest number of a SETTLED. */
  settledSeq = 0;
  closed: { readonly code: number; readonly reason: string } | null = null;
  nextSeq = 1;
  nextSettleSeq = 1;
  /** Far above the numbers that tests choose themselves. */
  #nextRequest = 1_000_001;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.on('message', (data, isBinary) => {
      if (isBinary) this.#receive(data as Buffer);
    });
    socket.on('close', (code, reason) => {
      this.closed = { code, reason: reason.toString() };
      this.#look();
    });
    // A broken connection is told by `close`, with code 1006.
    socket.on('error', () => undefined);
  }

  /** Connects and, unless told not to, says HELLO and waits for WELCOME. */
  static async connect(url: string, options: ConnectOptions = {}): Promise<RawClient> {
    const socket = new WebSocket(`${url}${options.path ?? ''}`, [...(options.protocols ?? [SUBPROTOCOL])], {
      perMessageDeflate: false,
      maxPayload: 256 * 1024 * 1024,
      ...options.socket,
    });
    const client = new RawClient(socket);
    atEnd(() => client.terminate());
    await new Promise<void>((resolve, reject) => {
      socket.once('open', resolve);
      socket.once('error', reject);
    });
    if (options.hello === null) return client;
    client.send([CLIENT_OPS.HELLO, { version: LIMITS.version, ...options.hello }]);
    await client.until(() => client.welcome !== null, 'WELCOME');
    return client;
  }

  get isOpen(): boolean {
    return this.closed === null;
  }

  /** Fields as a frame. */
  send(fields: readonly unknown[]): void {
    this.sendBytes(encodeFrame(fields));
  }

  sendBytes(bytes: Uint8Array): void {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(bytes, { binary: true });
  }

  /** One message in as many fragments as there are parts. */
  sendFragments(parts: readonly Uint8Array[]): void {
    for (const [i, part] of parts.entries()) this.#socket.send(part, { binary: true, fin: i === parts.length - 1 });
  }

  ping(bytes: Uint8Array): void {
    this.#socket.ping(bytes);
  }

  sendText(text: string): void {
    this.#socket.send(text, { binary: false });
  }

  /** Bytes straight into the TCP connection, past WebSocket's framing. */
  sendPastWebSocket(bytes: Uint8Array): void {
    this.#tcp.write(bytes);
  }

  /** Stops reading: what the broker sends stays in the buffers on the way. */
  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  /** Bytes that the broker has not taken yet. */
  get unsentBytes(): number {
    return this.#socket.bufferedAmount;
  }

  /** Drops the connection without a close frame, as a crash does. */
  terminate(): void {
    this.#socket.terminate();
  }

  /** Waits until the condition is met; it is asked after every frame. Fails at once when the connection ends before. */
  until(isMet: () => boolean, what: string, ms: number = DEADLINE_MS): Promise<void> {
    if (isMet()) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => settle(new Error(`Waited ${ms} ms for ${what}; ${this.#story()}`)), ms);
      const settle = (error: Error | null): void => {
        clearTimeout(timer);
        this.#waiters.delete(waiter);
        if (error === null) resolve();
        else reject(error);
      };
      const waiter: Waiter = { isMet, resolve: () => settle(null), reject: settle };
      this.#waiters.add(waiter);
      if (this.closed !== null) this.#look(what);
    });
  }

  /** Waits for the end of the connection and returns its close code. */
  async untilClosed(): Promise<number> {
    await this.until(() => this.closed !== null, 'the end of the connection');
    return this.closed!.code;
  }

  /** Sends a request and returns its result; throws when the answer is an error. */
  async request<T = unknown>(op: number, ...fields: readonly unknown[]): Promise<T> {
    const answer = await this.ask(op, ...fields);
    if ('code' in answer) throw new Error(`${answer.code}: ${answer.message}`);
    return answer.result as T;
  }

  /** Sends a request and returns its answer, whichever it is. */
  async ask(op: number, ...fields: readonly unknown[]): Promise<WireError | { readonly result: unknown }> {
    const request = this.#nextRequest++;
    this.send([op, request, ...fields]);
    return await this.answerOf(request);
  }

  /** The answer to a request that was sent by hand. */
  async answerOf(request: number): Promise<WireError | { readonly result: unknown }> {
    const error = (): WireError | undefined => this.errors.find((one) => one.request === request);
    await this.until(() => this.replies.has(request) || error() !== undefined, `the answer to request ${request}`);
    return error() ?? { result: this.replies.get(request) };
  }

  /** When this resolves everything that the broker decided before has come: the second answer leaves after all that left with the first. */
  async barrier(): Promise<void> {
    await this.request(CLIENT_OPS.QUEUE_LIST, null, 1);
    await this.request(CLIENT_OPS.QUEUE_LIST, null, 1);
  }

  declare(queue: string, settings: Record<string, unknown> | null = null): Promise<unknown> {
    return this.request(CLIENT_OPS.QUEUE_DECLARE, queue, settings);
  }

  /** Changes settings of a queue. */
  merge(queue: string, settings: Record<string, unknown>): Promise<{ settings: QueueSettings; version: number }> {
    return this.request(CLIENT_OPS.QUEUE_DECLARE, queue, settings, 'merge');
  }

  inspect(queue: string): Promise<QueueInfo> {
    return this.request<QueueInfo>(CLIENT_OPS.QUEUE_INSPECT, queue);
  }

  consume(consumerId: number, queues: readonly string[], options: Partial<ConsumeOptions> = {}): Promise<unknown> {
    return this.request(CLIENT_OPS.CONSUME, consumerId, consumeOptions(queues, options));
  }

  /** Sends one PUBLISH and returns the number of its first message. */
  sendPublish(messages: readonly Message[], options: PublishOptions = {}): number {
    const firstSeq = options.firstSeq ?? this.nextSeq;
    this.nextSeq = Math.max(this.nextSeq, firstSeq + messages.length);
    this.sendBytes(publishFrame(messages, { ...options, firstSeq }));
    return firstSeq;
  }

  /** Publishes and waits for the answers, one a message, in order. */
  async publish(messages: readonly Message[], options: PublishOptions = {}): Promise<Answer[]> {
    const firstSeq = options.firstSeq ?? this.nextSeq;
    const before = messages.map((_, i) => this.answerCounts.get(firstSeq + i) ?? 0);
    this.sendPublish(messages, options);
    await this.until(
      () => messages.every((_, i) => (this.answerCounts.get(firstSeq + i) ?? 0) > before[i]!),
      `answers to publishes ${firstSeq} to ${firstSeq + messages.length - 1}`,
    );
    return messages.map((_, i) => this.answers.get(firstSeq + i)!);
  }

  /** Publishes texts to one queue, waits for their confirms and returns their ids. */
  async publishTexts(queue: string, texts: readonly string[], fields: Partial<Message> = {}): Promise<number[]> {
    const answers = await this.publish(texts.map((body) => ({ ...fields, queue, body })));
    return answers.map((answer) => {
      if (answer.type !== 'confirm') throw new Error(`Expected a confirm, got ${JSON.stringify(answer)}`);
      return answer.id;
    });
  }

  /** START, ACK, RELEASE of tags (ranges when given as such); returns the settleSeq. */
  settle(op: 'START' | 'ACK' | 'RELEASE', tags: readonly number[]): number {
    return this.settleRanges(op, rangesOf(tags));
  }

  settleRanges(op: 'START' | 'ACK' | 'RELEASE', ranges: readonly number[]): number {
    const settleSeq = this.nextSettleSeq++;
    this.send([CLIENT_OPS[op], settleSeq, ranges]);
    return settleSeq;
  }

  nack(tags: readonly number[], { requeue = true, delayMs = 0, reason = null }: NackOptions = {}): number {
    const settleSeq = this.nextSettleSeq++;
    this.send([CLIENT_OPS.NACK, settleSeq, rangesOf(tags), requeue, delayMs, reason]);
    return settleSeq;
  }

  /** Waits for the SETTLED that covers a number. */
  async settled(settleSeq: number): Promise<void> {
    await this.until(() => this.settledSeq >= settleSeq, `SETTLED ${settleSeq}`);
  }

  async start(tags: readonly number[]): Promise<void> {
    await this.settled(this.settle('START', tags));
  }

  async ack(tags: readonly number[]): Promise<void> {
    await this.settled(this.settle('ACK', tags));
  }

  async release(tags: readonly number[]): Promise<void> {
    await this.settled(this.settle('RELEASE', tags));
  }

  /** Waits until so many deliveries have come in all, and returns those from `from` on. */
  async delivered(count: number, from = 0): Promise<Delivery[]> {
    await this.until(() => this.deliveries.length >= count, `${count} deliveries (${this.deliveries.length} so far)`);
    return this.deliveries.slice(from);
  }

  /** Says GOODBYE and waits for the close. */
  async goodbye(): Promise<number> {
    this.send([CLIENT_OPS.GOODBYE]);
    return await this.untilClosed();
  }

  #receive(data: Buffer): void {
    // The frame's memory may be shared with other frames of the same read.
    const bytes = Uint8Array.from(data);
    const op = readOp(bytes);
    if (op === SERVER_OPS.DELIVER) {
      this.frames.push({ op, fields: [], bytes });
      readDeliver(reader.open(bytes), (consumerId, delivery) => {
        this.deliveries.push(deliveryOf(consumerId, delivery));
      });
    } else {
      const fields = decodeFrame(bytes).slice(1);
      this.frames.push({ op, fields, bytes });
      HANDLERS[op]?.(this, fields);
    }
    this.#look();
  }

  #look(what = 'what was awaited'): void {
    for (const waiter of [...this.#waiters]) {
      if (waiter.isMet()) waiter.resolve();
      else if (this.closed !== null)
        waiter.reject(new Error(`The connection ended before ${what} came; ${this.#story()}`));
    }
  }

  /** What has come, for the message of a failure. */
  #story(): string {
    const last = this.frames.slice(-5).map(({ op, fields }) => `${OP_NAMES.get(op) ?? op} ${JSON.stringify(fields)}`);
    const end = this.closed === null ? 'the connection is open' : `closed with ${this.closed.code}`;
    return `${end}; last frames: ${last.join(', ').slice(0, 2_000)}`;
  }

  get #tcp(): { write(bytes: Uint8Array): void } {
    return (this.#socket as unknown as { _socket: { write(bytes: Uint8Array): void } })._socket;
  }
}

/** What each frame but DELIVER adds to what the client knows. */
const HANDLERS: Readonly<Record<number, (client: RawClient, fields: readonly unknown[]) => void>> = {
  [SERVER_OPS.WELCOME]: (client, fields) => {
    client.welcome = fields[0] as Welcome;
  },
  [SERVER_OPS.CONFIRM]: (client, fields) => {
    const [firstSeq, count, firstId, durability] = fields as [number, number, number, number];
    for (let i = 0; i < count; i++)
      answered(client, firstSeq + i, { type: 'confirm', id: firstId === 0 ? 0 : firstId + i, durability });
  },
  [SERVER_OPS.DUPLICATE]: (client, fields) => {
    const [seq, id, durability] = fields as [number, number, number];
    answered(client, seq, { type: 'duplicate', id, durability });
  },
  [SERVER_OPS.REJECT]: (client, fields) => {
    const [firstSeq, count, code, message, details] = fields as [number, number, ErrorCode, string, unknown];
    const extra = details === undefined ? {} : { details };
    for (let i = 0; i < count; i++) answered(client, firstSeq + i, { type: 'reject', code, message, ...extra });
  },
  [SERVER_OPS.SETTLED]: (client, fields) => {
    client.settledSeq = Math.max(client.settledSeq, fields[0] as number);
  },
  [SERVER_OPS.REFUSED]: (client, fields) => {
    const [settleSeq, ranges, code] = fields as [number, number[], ErrorCode];
    client.refusals.push({ settleSeq, ranges, code });
  },
  [SERVER_OPS.RECALL]: (client, fields) => {
    const ranges = fields[0] as number[];
    for (const tag of tagsOf(ranges)) client.recalled.push(tag);
  },
  [SERVER_OPS.REVOKED]: (client, fields) => {
    const [ranges, terminate] = fields as [number[], boolean];
    client.revoked.push({ tags: tagsOf(ranges), terminate });
  },
  [SERVER_OPS.REPLY]: (client, fields) => {
    client.replies.set(fields[0] as number, fields[1]);
  },
  [SERVER_OPS.ERROR]: (client, fields) => {
    const [request, code, message, details] = fields as [
      number | null,
      ErrorCode,
      string,
      Record<string, unknown> | null,
    ];
    client.errors.push({ request, code, message, details });
  },
  [SERVER_OPS.CONSUMER_CANCELLED]: (client, fields) => {
    const [consumerId, code] = fields as [number, ErrorCode];
    client.cancelled.push({ consumerId, code });
  },
  [SERVER_OPS.CONSUMER_QUEUE_GONE]: (client, fields) => {
    const [consumerId, queue, code] = fields as [number, string, ErrorCode];
    client.queuesGone.push({ consumerId, queue, code });
  },
};

function answered(client: RawClient, seq: number, answer: Answer): void {
  client.answers.set(seq, answer);
  client.answerCounts.set(seq, (client.answerCounts.get(seq) ?? 0) + 1);
}

function deliveryOf(consumerId: number, delivery: WireDelivery): Delivery {
  const body = Uint8Array.from(delivery.body);
  const headers = delivery.headers === null ? null : decodeValue(delivery.headers);
  const deadLetters = delivery.history === null ? [] : readDeadLetters(delivery.history);
  const { history: _, ...fields } = delivery;
  return { ...fields, consumerId, headers, body, text: Buffer.from(body).toString(), deadLetters, atMs: Date.now() };
}

/** CONSUME's map with what most tests want: late acks, strict order, prefetch 10. */
export function consumeOptions(queues: readonly string[], options: Partial<ConsumeOptions> = {}): ConsumeOptions {
  return { queues, prefetch: 10, ack: 'late', queueOrder: 'strict', ...options };
}

/** A PUBLISH frame as bytes. */
export function publishFrame(
  messages: readonly Message[],
  options: PublishOptions & { readonly firstSeq: number },
): Uint8Array {
  const texts = messages.map(({ queue, exchange }) =>
    JSON.stringify(exchange === undefined ? queue : [exchange, queue]),
  );
  const targets = [...new Set(texts)];
  const rows = messages.map((message, i) => [
    targets.indexOf(texts[i]!),
    message.priority ?? null,
    message.delayMs ?? 0,
    message.expiresInMs ?? 0,
    message.dedupKey ?? null,
    message.contentType ?? null,
    message.headers ?? null,
    typeof message.body === 'string' ? Buffer.from(message.body) : message.body,
  ]);
  return encodeValue([
    CLIENT_OPS.PUBLISH,
    options.firstSeq,
    options.confirmedSeq ?? 0,
    options.flags ?? 0,
    rows,
    targets.map((text) => JSON.parse(text) as unknown),
  ]);
}

/** Tags as first, count, first, count, ... */
export function rangesOf(tags: readonly number[]): number[] {
  const ranges: number[] = [];
  for (const tag of tags) {
    const last = ranges.length - 2;
    if (last >= 0 && ranges[last]! + ranges[last + 1]! === tag) ranges[last + 1]!++;
    else ranges.push(tag, 1);
  }
  return ranges;
}

export function tagsOf(ranges: readonly number[]): number[] {
  const tags: number[] = [];
  for (let i = 0; i < ranges.length; i += 2) for (let j = 0; j < ranges[i + 1]!; j++) tags.push(ranges[i]! + j);
  return tags;
}
