/** The client: one connection, and everything that goes over it. */
import { type Hello, LovageError, type Welcome } from '@lovage/protocol';
import { Alarm } from './alarm.js';
import { type FrameTargets, handleBrokerFrame } from './broker-frames.js';
import type { SenderContext } from './channel.js';
import { Connection, type ConnectionEvents } from './connection.js';
import { ActiveConsumer, type Consumer, type Handler, type Work } from './consumer.js';
import type { Delivery } from './delivery.js';
import { invalidArgument } from './errors.js';
import { Exchanges } from './exchanges.js';
import { followFrame } from './follow-ups.js';
import type { ExchangeTarget, PublishMessage, PublishOptions, Receipt } from './message.js';
import { Messages } from './messages.js';
import { Namespaces } from './namespaces.js';
import { NoteSender } from './notes.js';
import { type ConnectOptions, type ConsumeOptions, parseConnectOptions, parseConsumeOptions } from './options.js';
import { Publisher } from './publisher.js';
import { Queues } from './queues.js';
import { RateLimits } from './rate-limits.js';
import { Requests } from './requests.js';
import { Results } from './results.js';
import { Settlements } from './settlements.js';
import type { Status } from './status-feed.js';
import { TagSet } from './tag-set.js';
import { Tokens } from './tokens.js';
import type { Platform } from './transport.js';
import { Workers } from './workers.js';

/** The promise of `connect`. */
interface Pending {
  readonly resolve: (client: Client) => void;
  readonly reject: (error: LovageError) => void;
}

/** A client in a state to use; `connect` makes it. */
export class Client {
  /** Declare, inspect, purge, pause and delete queues. */
  readonly queues: Queues;
  /** Give namespaces bounds, list and delete them. */
  readonly namespaces: Namespaces;
  /** Make, list and revoke tokens. */
  readonly tokens: Tokens;
  /** Declare, override, list and delete rate limits. */
  readonly rateLimits: RateLimits;
  /** Declare, bind, list and delete exchanges. */
  readonly exchanges: Exchanges;
  /** Look at messages by id or filter; drop, move, retry, reorder and redrive them. */
  readonly messages: Messages;
  /** What came of messages that were completed. */
  readonly results: Results;
  /** Which workers are connected to the broker, and telling them what to do. */
  readonly workers: Workers;
  readonly #connection: Connection;
  readonly #publisher: Publisher;
  readonly #autoDeclare: boolean;
  readonly #settlements: Settlements;
  readonly #notes: NoteSender;
  readonly #requests: Requests;
  readonly #consumers = new Map<number, ActiveConsumer>();
  readonly #targets: FrameTargets;
  readonly #alarm: Alarm;
  /** Key of the session to resume, null for none. */
  #session: string | null = null;
  #lastConsumerId = 0;
  #isClosing = false;
  #closed: Promise<void> | null = null;
  /** How `connect` ends. */
  #connected: Pending | null;

  private constructor(platform: Platform, url: string, options: ConnectOptions, connected: Pending) {
    this.#connected = connected;
    const parsed = parseConnectOptions(options, randomName);
    this.#alarm = new Alarm((nowMs) =>
      Math.min(
        ...[this.#connection, this.#publisher, this.#settlements, this.#requests].map((part) => part.tick(nowMs)),
      ),
    );
    const time = { nowMs, wakeAt: (deadlineMs: number) => this.#alarm.at(deadlineMs) };
    this.#connection = new Connection(url, parsed, { ...time, platform }, this.#events());
    const context: SenderContext = { ...time, channel: this.#connection };
    this.#publisher = new Publisher(parsed, context);
    this.#autoDeclare = parsed.autoDeclare;
    this.#requests = new Requests(parsed.requestTimeoutMs, context);
    this.#settlements = new Settlements(parsed.requestTimeoutMs, context);
    this.#notes = new NoteSender(this.#connection);
    this.queues = new Queues(this.#requests);
    this.tokens = new Tokens(this.#requests);
    this.namespaces = new Namespaces(this.#requests);
    this.exchanges = new Exchanges(this.#requests);
    this.rateLimits = new RateLimits(this.#requests);
    this.messages = new Messages(this.#requests);
    this.results = new Results(this.#requests);
    this.workers = new Workers(this.#requests);
    this.#targets = {
      flowChanged: (blocked) => {
        this.#connection.blocked(blocked);
        this.#publisher.blocked(blocked);
      },
      publisher: this.#publisher,
      settlements: this.#settlements,
      requests: this.#requests,
      results: this.results,
      workers: this.workers,
      consumers: this.#consumers,
      lastTag: 0,
    };
  }

  /** Connects; `connect` of the package brings the platform. */
  static connect(platform: Platform, url: string, options: ConnectOptions): Promise<Client> {
    return new Promise((resolve, reject) => {
      const client = new Client(platform, checkedUrl(url), options, { resolve, reject });
      client.#connection.open();
    });
  }

  /**
   * The states of the connection. Iterating gives the present one, then each change, and ends after `closed`; `status.current` looks without
   * waiting.
   */
  get status(): AsyncIterable<Status> & { readonly current: Status } {
    return this.#connection.status;
  }

  /** Bytes of the largest body that the broker takes, as it has said when it was connected. */
  get bodyBytesMax(): number {
    return this.#publisher.limits.bodyBytesMax;
  }

  /**
   * Publishes a message to a queue, or to an exchange under a routing key; resolves when the broker has it as safe as its receipt says. `body`: bytes
   * as they are, a string as UTF-8, anything else as MessagePack.
   *
   * Rejects, nothing being stored: INVALID_NAME, INVALID_ARGUMENT, QUEUE_NOT_FOUND, EXCHANGE_NOT_FOUND, UNROUTABLE (with `mandatory`; `details` has
   * exchange and key), BODY_TOO_LARGE, HEADERS_TOO_LARGE, TOO_MANY_MESSAGES, DISK_FULL, FLOW_BLOCKED (with `whenBlocked: 'fail'`),
   * FORBIDDEN, QUOTA_EXCEEDED,
   * PUBLISH_BUFFER_FULL. Rejects with an unknown outcome: PUBLISH_TIMEOUT (after `publishTimeoutMs`, connected or not) unless `details.wasSent` is
   * false, CONNECTION_LOST and CLIENT_CLOSED (the client gave up). A lost connection alone rejects nothing: what is unconfirmed is sent
   * again when it is back, and the broker stores it once.
   */
  publish(target: string | ExchangeTarget, body: unknown, options?: PublishOptions): Promise<Receipt> {
    return this.#publisher.publish(target, body, options);
  }

  /**
   * Publishes messages in order and resolves with their receipts. They are no transaction: if some fail, the others are taken all the same, and the
   * rejection is the first failure, with its `details.index` and the number of failures in `details.failed`. Codes as of `publish`;
   * PUBLISH_BUFFER_FULL, with nothing sent, if there is no room for all of them.
   */
  publishMany(target: string | ExchangeTarget, messages: readonly PublishMessage[]): Promise<Receipt[]> {
    return this.#publisher.publishMany(target, messages);
  }

  /**
   * Has `handler` called for the messages of one or several queues. Resolves when the broker has the consumer. After a lost connection it goes on by
   * itself. Rejects INVALID_NAME, INVALID_ARGUMENT, QUEUE_NOT_FOUND, QUEUE_EXCLUSIVE, TOO_MANY_CONSUMERS, REQUEST_TIMEOUT, CLIENT_CLOSED.
   */
  async consume(queues: string | readonly string[], handler: Handler, options: ConsumeOptions = {}): Promise<Consumer> {
    if (typeof handler !== 'function') throw invalidArgument('handler', handler, 'a function');
    return await this.#consume(queues, { handler }, options);
  }

  /**
   * Messages for a `for await` loop, each started when the loop takes it and settled by `ack` or `nack` only. Leaving the loop ends the consumer;
   * what was taken and not settled can still be. Throws what `consume` rejects, QUEUE_DELETED, and CLIENT_CLOSED after `terminate`; ends after
   * `close`. `concurrency` means nothing here, and `onError` is told of deleted queues only.
   */
  async *deliveries(
    queues: string | readonly string[],
    options: ConsumeOptions = {},
  ): AsyncGenerator<Delivery, void, undefined> {
    let wake: () => void = () => undefined;
    let end: { readonly error: LovageError | null } | null = null as { readonly error: LovageError | null } | null;
    const consumer = await this.#consume(queues, { arrived: () => wake() }, options);
    void consumer.ended.then((error) => {
      end = { error };
      wake();
    });
    try {
      for (;;) {
        const delivery = consumer.take();
        if (delivery !== null) {
          yield delivery;
        } else if (end === null) {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        } else if (end.error === null) {
          return;
        } else {
          throw end.error;
        }
      }
    } finally {
      await consumer.cancel();
    }
  }

  /**
   * Cancels the consumers, waits for running handlers and their answers and for the confirms of what was published (each at most its deadline), and
   * says goodbye. Handlers may publish until they are done. Idempotent.
   */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  /** Drops the socket at once, as a crash would: what is under way rejects CLIENT_CLOSED with an unknown outcome. Idempotent. */
  terminate(): void {
    this.#connection.end(null);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #consume(queues: string | readonly string[], work: Work, options: ConsumeOptions): Promise<ActiveConsumer> {
    const parsed = parseConsumeOptions(queues, options);
    if (this.#isClosing) throw new LovageError('CLIENT_CLOSED');
    const consumer = new ActiveConsumer(++this.#lastConsumerId, parsed, work, {
      requests: this.#requests,
      settlements: this.#settlements,
      notes: this.#notes,
      bodyBytesMax: () => this.bodyBytesMax,
      followFrame: (followUps, resultBytes) =>
        followFrame(followUps, resultBytes, this.#publisher.limits, this.#autoDeclare),
      forget: ({ id }) => this.#consumers.delete(id),
    });
    this.#consumers.set(consumer.id, consumer);
    await consumer.open();
    return consumer;
  }

  async #close(): Promise<void> {
    this.#isClosing = true;
    await Promise.all([...this.#consumers.values()].map((consumer) => consumer.cancel()));
    await this.#publisher.whenIdle();
    // Answers that were given by hand, after their consumer had ended.
    await this.#settlements.whenAnswered();
    this.#connection.leave();
    for await (const { state } of this.status) if (state === 'closed') return;
  }

  #events(): ConnectionEvents {
    return {
      resume: () => this.#resume(),
      welcomed: (welcome) => this.#welcomed(welcome),
      received: (op, frame) => handleBrokerFrame(this.#targets, op, frame),
      flush: () => this.#flush(),
      heartbeat: () => [...this.#consumers.values()].flatMap(({ id, unsettled }) => [id, unsettled]),
      lost: () => this.#lost(),
      ended: (error) => this.#ended(error),
    };
  }

  #resume(): Hello['resume'] {
    return this.#session === null ? null : { session: this.#session, lastTag: this.#targets.lastTag };
  }

  #welcomed(welcome: Welcome): void {
    this.#session = welcome.session;
    if (welcome.resumed) this.#goOn(new TagSet(welcome.held), welcome.settleSeq);
    else this.#startOver();
    for (const consumer of this.#consumers.values()) consumer.resubscribe();
    this.#requests.welcomed();
    this.results.welcomed();
    this.workers.welcomed();
    this.#publisher.welcomed(welcome.limits);
    this.#flush();
    this.#connected?.resolve(this);
    this.#connected = null;
  }

  /** The session goes on: deliveries that it does not hold were taken back, and answers are sent again. */
  #goOn(held: TagSet, settleSeq: number | null): void {
    const error = new LovageError('SUPERSEDED');
    for (const consumer of this.#consumers.values()) consumer.resumed(held, error);
    this.#settlements.giveBack(this.#unknown(held));
    this.#settlements.resumed(settleSeq, held);
  }

  /** Another session: what the old one held is with others by now. */
  #startOver(): void {
    const error = new LovageError('SUPERSEDED');
    for (const consumer of this.#consumers.values()) consumer.resumed(null, error);
    const message = 'Cannot tell whether the delivery was settled: the session ended before the answer';
    this.#settlements.restarted(new LovageError('CONNECTION_LOST', message));
    this.#targets.lastTag = 0;
  }

  /** Tags that the session holds for handlers that are not here any more. */
  *#unknown(held: TagSet): IterableIterator<number> {
    const known = new Set(this.#settlements.unansweredTags());
    for (const consumer of this.#consumers.values()) for (const tag of consumer.heldTags()) known.add(tag);
    for (const tag of held) if (!known.has(tag)) yield tag;
  }

  #flush(): void {
    this.#publisher.flush();
    this.#settlements.flush();
  }

  #lost(): void {
    this.#publisher.disconnected();
    this.#settlements.disconnected();
    this.#requests.disconnected();
    for (const consumer of this.#consumers.values()) consumer.disconnected();
  }

  #ended(error: LovageError): void {
    this.#isClosing = true;
    this.#alarm.stop();
    this.#connected?.reject(error);
    this.#connected = null;
    this.#publisher.ended(error);
    this.#settlements.ended(error);
    this.#requests.ended(error);
    this.results.ended(error);
    for (const consumer of [...this.#consumers.values()]) consumer.abandon(error);
  }
}

function nowMs(): number {
  return performance.now();
}

function checkedUrl(url: string): string {
  const parsed = typeof url === 'string' && URL.canParse(url) ? new URL(url) : null;
  // WebSockets have no fragments (RFC 6455 section 3).
  if (parsed === null || !['ws:', 'wss:'].includes(parsed.protocol) || url.includes('#'))
    throw invalidArgument('url', url, 'ws://host:port or wss://host:port');
  return url;
}

/** 128 random bits. `crypto.randomUUID` is missing in browsers on pages without TLS. */
function randomName(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
