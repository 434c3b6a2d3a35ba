// hot path
/**
 * Decides where the messages of a frame go that names exchanges: what is routed, to which queues, what is refused. Nothing here changes the state but
 * the queues that AUTO_DECLARE makes, once it is clear that the frame is taken.
 */
import { PUBLISH_FLAGS, type PublishBatch } from '@lovage/protocol';
import type { RefusedPublish } from './command.js';
import type { EffectSink } from './effects.js';
import type { Exchange } from './exchange.js';
import { exceededQuota } from './namespaces.js';
import type { Queue } from './queue.js';
import { QueueClaims } from './queue-claims.js';
import type { QueueRegistry } from './queue-registry.js';
import type { PublishRoutes } from './record.js';
import { Router } from './router.js';
import type { Session } from './session.js';
import type { EngineState } from './state.js';

/** Copies that one frame may make: some 100 ms of work, and lists of queues that one record can hold. */
const COPIES_MAX = 1_000_000;

/** What is known of a target. */
const FOUND = 0;
/** Its queues depend on each message's headers. */
const BY_HEADERS = 1;
/** There is no queue of this name, or no exchange, or the door refuses it. */
const MISSING = 2;
/** There is no queue of this name yet. */
const TO_DECLARE = 3;
/** No message has asked for it yet. */
const UNSEEN = 4;

export class RoutePlanner implements PublishRoutes {
  readonly #state: EngineState;
  readonly #registry: QueueRegistry;
  readonly #router: Router;
  lists: number[][] = [];
  listOf: number[] | null = null;
  /** index, id, index, id, ... of messages that are not taken; id 0 means refused. */
  exceptions: number[] = [];
  /** Ids that the messages take. */
  copies = 0;
  readonly #kinds: number[] = [];
  readonly #exchanges: (Exchange | null)[] = [];
  /** Lists that are of no target, by what is in them. */
  readonly #listsByText = new Map<string, number>();
  readonly #claims = new QueueClaims();
  /** What the frame adds, if none of it is known already. */
  readonly #wanted = { messages: 0, bytes: 0 };
  /** Queues that have no room for a message, by its index. */
  readonly #full = new Map<number, Queue>();

  constructor(state: EngineState, registry: QueueRegistry) {
    this.#state = state;
    this.#registry = registry;
    this.#router = new Router(state);
  }

  /** Decides about a frame without a `problem`; the answer stands in the fields. Returns why the frame is refused whole, null if it is not. */
  plan(session: Session, batch: PublishBatch, refused: RefusedPublish | null, out: EffectSink): RefusedPublish | null {
    this.#begin(batch);
    for (const t of refused?.targets ?? []) this.#kinds[t] = MISSING;
    if (!this.#route(session.namespace, batch)) return { code: 'TOO_MANY_MESSAGES', message: '', targets: null };
    const exceeded = exceededQuota(this.#state, session.namespace, this.#wanted);
    if (exceeded !== null) return exceeded;
    // Queues that are named are made in the order of the frame; the default exchange leads to what there is then.
    for (let t = 0; t < batch.targets.length; t++)
      if (this.#kinds[t] === TO_DECLARE && batch.exchanges[t] === null) this.#declare(session.namespace, batch, t, out);
    for (let t = 0; t < batch.targets.length; t++)
      if (this.#kinds[t] === TO_DECLARE) this.#findDeclared(session.namespace, batch, t);
    this.#decide(session, batch);
    return null;
  }

  /** Whether there is the exchange that a target names. */
  hasExchange(target: number): boolean {
    return this.#exchanges[target] !== null;
  }

  /** The queue that has no room for message `i`, null if none is full. */
  fullOf(i: number): Queue | null {
    return this.#full.get(i) ?? null;
  }

  #begin(batch: PublishBatch): void {
    this.lists = batch.targets.map(() => []);
    this.listOf = null;
    this.exceptions = [];
    this.copies = 0;
    this.#kinds.length = 0;
    this.#exchanges.length = 0;
    this.#listsByText.clear();
    this.#claims.clear();
    this.#full.clear();
    for (let t = 0; t < batch.targets.length; t++) {
      this.#kinds.push(UNSEEN);
      this.#exchanges.push(null);
    }
  }

  /** Finds the queues of each message; false if there are too many copies. */
  #route(namespace: string, batch: PublishBatch): boolean {
    const { table } = this.#state;
    const copiesMax = Math.min(COPIES_MAX, table.capacity - table.size);
    const wanted = this.#wanted;
    wanted.messages = 0;
    wanted.bytes = 0;
    for (let i = 0; i < batch.count; i++) {
      const t = batch.target[i]!;
      if (this.#kinds[t] === UNSEEN) this.#findTarget(namespace, batch, t);
      const kind = this.#kinds[t];
      if (kind === BY_HEADERS) {
        const found = this.#router.route(this.#exchanges[t]!, batch.targets[t]!, batch.headersOf(i));
        this.#setList(batch, i, found);
      }
      const copies = kind === TO_DECLARE ? 1 : this.#listOf(batch, i).length;
      wanted.messages += copies;
      wanted.bytes += copies * batch.payloadLength[i]!;
      if (wanted.messages > copiesMax) return false;
    }
    return true;
  }

  #findTarget(namespace: string, batch: PublishBatch, t: number): void {
    const name = batch.targets[t]!;
    const exchangeName = batch.exchanges[t]!;
    if (exchangeName === null || exchangeName === '') {
      const queue = this.#state.queue(namespace, name);
      const declares = (batch.flags & PUBLISH_FLAGS.AUTO_DECLARE) !== 0;
      if (queue !== null) this.lists[t] = [queue.index];
      if (queue !== null) this.#kinds[t] = FOUND;
      else if (exchangeName === null) this.#kinds[t] = declares ? TO_DECLARE : MISSING;
      else this.#kinds[t] = declares && this.#isDeclaredBy(batch, name) ? TO_DECLARE : FOUND;
      return;
    }
    const exchange = this.#state.exchange(namespace, exchangeName);
    this.#exchanges[t] = exchange;
    if (exchange === null) {
      this.#kinds[t] = MISSING;
      return;
    }
    const found = this.#router.route(exchange, name, null);
    this.#kinds[t] = this.#router.readsHeaders ? BY_HEADERS : FOUND;
    if (!this.#router.readsHeaders) this.lists[t] = found;
  }

  /** Whether a frame with AUTO_DECLARE makes the queue `name`: the default exchange then leads there for the whole frame. */
  #isDeclaredBy(batch: PublishBatch, name: string): boolean {
    return batch.targets.some(
      (target, t) => target === name && batch.exchanges[t] === null && this.#kinds[t] !== MISSING,
    );
  }

  #declare(namespace: string, batch: PublishBatch, t: number, out: EffectSink): void {
    const name = batch.targets[t]!;
    // The same name may stand in the frame twice.
    const queue =
      this.#state.queue(namespace, name) ??
      this.#registry.create(namespace, name, this.#state.defaultSettings(namespace, name), out);
    this.#kinds[t] = queue === null ? MISSING : FOUND;
    if (queue !== null) this.lists[t] = [queue.index];
  }

  /** A queue that the frame names elsewhere. Without room for one more, the default exchange leads nowhere. */
  #findDeclared(namespace: string, batch: PublishBatch, t: number): void {
    const queue = this.#state.queue(namespace, batch.targets[t]!);
    this.#kinds[t] = FOUND;
    if (queue !== null) this.lists[t] = [queue.index];
  }

  /** Finds what is not taken, message by message, and counts the copies of the rest. */
  #decide({ producer }: Session, batch: PublishBatch): void {
    const isResent = producer !== null && batch.firstSeq <= producer.lastSeq;
    const isMandatory = (batch.flags & PUBLISH_FLAGS.MANDATORY) !== 0;
    const keysInFrame = new Map<string, number>();
    for (let i = 0; i < batch.count; i++) {
      const taken = isResent ? producer.idOf(batch.firstSeq + i) : 0;
      if (taken !== 0) {
        this.exceptions.push(i, taken);
        continue;
      }
      const exchange = this.#exchanges[batch.target[i]!]!;
      if (exchange !== null) exchange.totals.published++;
      const queues = this.#listOf(batch, i);
      if (queues.length === 0) {
        if (exchange !== null) exchange.totals.unrouted++;
        if (isMandatory || this.#kinds[batch.target[i]!] === MISSING) this.exceptions.push(i, 0);
      } else {
        this.#admit(batch, i, queues, keysInFrame);
      }
    }
  }

  /**
   * A key counts in each queue for itself: a message whose key is in the windows of some of its queues goes to the others. One of these that refuses what is too
   * many refuses the whole message, so that it is nowhere or everywhere.
   */
  #admit(batch: PublishBatch, i: number, queues: readonly number[], keysInFrame: Map<string, number>): void {
    const key = batch.dedupKeys.get(i);
    const fresh = key === undefined ? queues : this.#withoutDuplicates(i, queues, key, keysInFrame);
    if (fresh.length === 0) return;
    const bytes = batch.payloadLength[i]!;
    const refusing = fresh.map((index) => this.#state.queues[index]!).filter((queue) => queue.isRefusing);
    const full = refusing.find((queue) => !this.#claims.fits(queue, bytes));
    if (full !== undefined) {
      this.#full.set(i, full);
      this.exceptions.push(i, 0);
      return;
    }
    for (const queue of refusing) this.#claims.take(queue, bytes);
    if (key !== undefined)
      for (const [copy, index] of fresh.entries())
        keysInFrame.set(`${index} ${key}`, this.#state.nextId + this.copies + copy);
    if (fresh.length < queues.length) this.#setList(batch, i, [...fresh]);
    this.copies += fresh.length;
  }

  /** The queues that do not know the key. If all do, the message is an exception: it has the id of the first that is known. */
  #withoutDuplicates(
    i: number,
    queues: readonly number[],
    key: string,
    keysInFrame: ReadonlyMap<string, number>,
  ): number[] {
    const fresh: number[] = [];
    let firstDuplicate = 0;
    for (const index of queues) {
      const queue = this.#state.queues[index]!;
      const id = this.#duplicateOf(queue, key, keysInFrame);
      if (id === 0) {
        fresh.push(index);
      } else {
        queue.totals.duplicates++;
        if (firstDuplicate === 0) firstDuplicate = id;
      }
    }
    if (fresh.length === 0) this.exceptions.push(i, firstDuplicate);
    return fresh;
  }

  /** Id of the message that has this key in a queue's window, 0 if there is none. */
  #duplicateOf(queue: Queue, key: string, keysInFrame: ReadonlyMap<string, number>): number {
    if (queue.settings.dedupWindowMs === 0) return 0;
    return keysInFrame.get(`${queue.index} ${key}`) ?? queue.dedup.find(key, this.#state.nowMs);
  }

  #listOf(batch: PublishBatch, i: number): readonly number[] {
    return this.lists[this.listOf === null ? batch.target[i]! : this.listOf[i]!]!;
  }

  /** Gives a message a list that is not its target's. */
  #setList(batch: PublishBatch, i: number, queues: number[]): void {
    this.listOf ??= Array.from(batch.target.subarray(0, batch.count));
    const text = queues.join();
    let list = this.#listsByText.get(text);
    if (list === undefined) {
      list = this.lists.length;
      this.lists.push(queues);
      this.#listsByText.set(text, list);
    }
    this.listOf[i] = list;
  }
}
