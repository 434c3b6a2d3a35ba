/**
 * What clients know about each message that they have published, whatever happens to the broker meanwhile, and every promise that is broken by what
 * comes back:
 *
 *     open ──► confirmed     must be delivered, as often as it takes, until it is settled; under one id
 *          ├─► unknown       nobody can say: appears whole, under one id, or not at all
 *          └─► refused       never appears
 *
 * Messages that the broker keeps in memory only may be lost and may come again; all that holds for them is that they are whole and that none
 * was refused.
 */
import type { Delivery, Receipt } from '../../client-sdk/index.js';

/** Codes of a publish that may have been stored all the same. */
const UNKNOWN_CODES: readonly string[] = ['PUBLISH_TIMEOUT', 'CONNECTION_LOST', 'CLIENT_CLOSED', 'SHUTTING_DOWN'];
/** Codes of a publish that the test made to be refused. */
const REFUSED_CODES: readonly string[] = ['QUEUE_NOT_FOUND', 'DISK_FULL'];
/** Codes of an answer whose message may come again. */
const ANSWER_CODES: readonly string[] = ['SUPERSEDED', 'CONNECTION_LOST', 'CLIENT_CLOSED', 'SHUTTING_DOWN'];

export interface Message {
  /** Unique; the body is made from it. */
  readonly number: number;
  readonly producer: string;
  readonly body: string;
  readonly isMemory: boolean;
}

interface Entry extends Message {
  fate: 'open' | 'confirmed' | 'unknown' | 'refused';
  id: number | null;
  deliveries: number;
  /** Lowest attempt that its next delivery may have. */
  attemptMin: number;
  /** An ack was given; the broker may not have heard it. */
  isAnswered: boolean;
  /** An ack was confirmed: it must not come again. */
  isSettled: boolean;
}

export class Ledger {
  readonly faults: string[] = [];
  readonly counts = { confirmed: 0, unknown: 0, refused: 0, settled: 0, deliveries: 0, lostAnswers: 0 };
  readonly #entries: Entry[] = [];
  readonly #byId = new Map<number, Entry>();
  /** worker and priority -> id of the last delivery that was nobody else's before. */
  readonly #lastFresh = new Map<string, number>();
  #open = 0;
  /** Confirmed messages that nobody has answered. */
  #unanswered = 0;
  #waiters: (() => void)[] = [];

  /** A message of at least `bytes` bytes, whose text can be checked by whoever gets it. */
  message(producer: string, bytes: number, isMemory = false): Message {
    const number = this.#entries.length;
    const entry: Entry = {
      ...{ number, producer, isMemory, body: bodyOf(number, bytes) },
      ...{ fate: 'open', id: null, deliveries: 0, attemptMin: 1, isAnswered: false, isSettled: false },
    };
    this.#entries.push(entry);
    this.#open++;
    return entry;
  }

  /** Publishes without an answer so far. */
  get open(): number {
    return this.#open;
  }

  /** Messages that are known to be in the broker, or may soon be. */
  get backlog(): number {
    return this.#open + this.#unanswered;
  }

  /** Publishes and answers whose outcome is known: how far the work has come. */
  get progress(): number {
    return this.counts.confirmed + this.counts.settled;
  }

  /** Resolves when something has changed. */
  changed(): Promise<void> {
    return new Promise((resolve) => this.#waiters.push(resolve));
  }

  /** Nothing waits in the broker any more: what was confirmed and never reached anybody is lost. Returns every broken promise. */
  close(): readonly string[] {
    const lastIds = new Map<string, number>();
    for (const { number, producer, id, fate, isMemory, isAnswered } of this.#entries) {
      if (fate !== 'confirmed' || isMemory) continue;
      if (!isAnswered) this.#fault(`${number} was confirmed as ${id} and is lost`);
      const last = lastIds.get(producer) ?? 0;
      if (id! <= last) this.#fault(`${number} got id ${id} after ${last} of the same producer`);
      lastIds.set(producer, id!);
    }
    return this.faults;
  }

  /** Waits for the receipts of messages that were published together, in their order; `then` is called when they have come. */
  async published(
    messages: readonly Message[],
    receipts: Promise<readonly Receipt[]>,
    then: () => void,
  ): Promise<void> {
    const entries = messages.map(({ number }) => this.#entries[number]!);
    try {
      const given = await receipts;
      for (const [i, entry] of entries.entries()) this.#confirmed(entry, given[i]!);
    } catch (error) {
      for (const entry of entries) this.#failed(entry, error as { code?: string; details?: Record<string, unknown> });
    }
    this.#open -= entries.length;
    then();
    this.#wake();
  }

  /** A handler has got a message. */
  delivered(delivery: Delivery, worker: string): void {
    this.counts.deliveries++;
    const text = String(delivery.value());
    const entry = this.#entries[Number.parseInt(text, 10)];
    if (entry === undefined || entry.body !== text) return this.#fault(`delivery ${delivery.id} is not whole: ${text}`);
    if (entry.fate === 'refused') this.#fault(`${entry.number} was refused and came as ${delivery.id}`);
    if (entry.isMemory) return;
    this.#identify(entry, delivery.id);
    if (entry.isSettled) this.#fault(`${entry.number} was settled and came again`);
    const { attempt, redelivered } = delivery;
    if (attempt < entry.attemptMin) this.#fault(`${entry.number} has attempt ${attempt} after ${entry.attemptMin - 1}`);
    entry.attemptMin = attempt;
    if (!redelivered) this.#fresh(entry, delivery, worker);
    entry.deliveries++;
  }

  /** A handler has acked: waits for what becomes of that. */
  async acked(delivery: Delivery, answer: Promise<void>): Promise<void> {
    const entry = this.#entryOf(delivery);
    this.#answer(entry);
    if (!(await this.#answered(answer)) || entry.isMemory) return;
    if (entry.isSettled) this.#fault(`${entry.number} was settled twice`);
    else this.counts.settled++;
    entry.isSettled = true;
    this.#wake();
  }

  /** A handler has returned it: the next attempt is another one, once that is on disk. */
  async returned(delivery: Delivery, answer: Promise<void>): Promise<void> {
    const entry = this.#entryOf(delivery);
    if (await this.#answered(answer)) entry.attemptMin = Math.max(entry.attemptMin, delivery.attempt + 1);
  }

  /** A handler has ended without an answer of its own: the SDK acks, and nobody hears what becomes of that. */
  left(delivery: Delivery): void {
    this.#answer(this.#entryOf(delivery));
  }

  #answer(entry: Entry): void {
    if (!entry.isAnswered && !entry.isMemory && entry.fate === 'confirmed') this.#unanswered--;
    entry.isAnswered = true;
    this.#wake();
  }

  #confirmed(entry: Entry, { id, duplicate }: Receipt): void {
    entry.fate = 'confirmed';
    if (entry.isMemory) return;
    this.counts.confirmed++;
    if (!entry.isAnswered) this.#unanswered++;
    if (duplicate) this.#fault(`${entry.number} was confirmed as a duplicate of ${id}`);
    this.#identify(entry, id);
  }

  #failed(entry: Entry, { code = 'none', details }: { code?: string; details?: Record<string, unknown> }): void {
    const isUnsent = code === 'PUBLISH_TIMEOUT' && details?.wasSent === false;
    entry.fate = isUnsent || REFUSED_CODES.includes(code) ? 'refused' : 'unknown';
    this.counts[entry.fate]++;
    if (entry.fate === 'unknown' && !UNKNOWN_CODES.includes(code)) this.#fault(`${entry.number} rejected with ${code}`);
    if (entry.fate === 'refused' && entry.deliveries > 0) this.#fault(`${entry.number} came and was refused then`);
  }

  /** One message, one id. */
  #identify(entry: Entry, id: number): void {
    const other = this.#byId.get(id);
    if (other !== undefined && other !== entry) this.#fault(`${entry.number} and ${other.number} both have id ${id}`);
    if (entry.id !== null && entry.id !== id) this.#fault(`${entry.number} is there as ${entry.id} and as ${id}`);
    entry.id = id;
    this.#byId.set(id, entry);
  }

  /** What was with nobody before comes in the order of its priority. */
  #fresh(entry: Entry, { id, priority }: Delivery, worker: string): void {
    if (entry.deliveries > 0) this.#fault(`${entry.number} came again and says that it was with nobody before`);
    const key = `${worker} ${priority}`;
    const last = this.#lastFresh.get(key) ?? 0;
    if (id <= last) this.#fault(`${id} came to ${worker} after ${last} of the same priority ${priority}`);
    this.#lastFresh.set(key, id);
  }

  async #answered(answer: Promise<void>): Promise<boolean> {
    try {
      await answer;
      return true;
    } catch (error) {
      this.counts.lostAnswers++;
      const { code = 'none' } = error as { code?: string };
      if (!ANSWER_CODES.includes(code)) this.#fault(`an answer was rejected with ${String(error)}`);
      return false;
    }
  }

  #entryOf(delivery: Delivery): Entry {
    return this.#entries[Number.parseInt(String(delivery.value()), 10)]!;
  }

  #fault(text: string): void {
    if (this.faults.length < 20) this.faults.push(text);
    this.#wake();
  }

  #wake(): void {
    for (const wake of this.#waiters.splice(0)) wake();
  }
}

function bodyOf(number: number, bytes: number): string {
  const unit = `${number} `;
  return unit.repeat(Math.max(1, Math.ceil(bytes / unit.length)));
}
