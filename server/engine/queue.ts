/** One queue: its waiting messages, who consumes it, and its counters. Every counter equals a recount of the table at any time. */
import { type QueueInfo, type QueueSettings, RESULTS_QUEUE } from '@lovage/protocol';
import type { Attachment, Consumer } from './consumer.js';
import { type DedupUsage, DedupWindow } from './dedup-window.js';
import type { Binding } from './exchange.js';
import type { MessageTable } from './message-table.js';
import { Space } from './queue-directory.js';
import { Rotation } from './rotation.js';
import { Waiting } from './waiting.js';

export type QueueTotals = { -readonly [K in keyof QueueInfo['totals']]: number };

export function noTotals(): QueueTotals {
  return {
    published: 0,
    delivered: 0,
    acked: 0,
    returned: 0,
    dropped: 0,
    expired: 0,
    purged: 0,
    duplicates: 0,
    deadLettered: 0,
    evicted: 0,
    exhausted: 0,
    arrived: 0,
    moved: 0,
    archived: 0,
  };
}

/** Starts counting anew: totals are of one run of the broker. */
export function clearTotals(totals: QueueTotals): void {
  Object.assign(totals, noTotals());
}

export function addTotals(sum: QueueTotals, more: QueueTotals): void {
  for (const name of Object.keys(sum) as (keyof QueueTotals)[]) sum[name] += more[name];
}

/** What `Recall` knows of a queue that it looks at. */
export interface Watch {
  /** ms of the last look. */
  lookedMs: number;
  pauseMs: number;
  /** Priority of the most urgent message that waited then, -1 if none did. */
  priority: number;
}

/** Keys that have run out and are let go before a queue tells of them: 1 ms of work. If it is more, they are counted still. */
const INFO_KEYS = 5_000;

/** Results of one queue beyond which the archive does not wait until they are old. */
const CROWDED = 100_000;

/** The space of a queue that has no name yet. */
const NOWHERE = new Space('');

export class Queue {
  readonly index: number;
  readonly namespace: string;
  readonly name: string;
  /** Changed by `configure` only. */
  settings: QueueSettings;
  /** 1, and one more with each change of the settings. */
  version = 1;
  readonly ready: Waiting;
  readonly rotation = new Rotation();
  readonly dedup: DedupWindow;
  /** Every attachment, marked or not. */
  readonly attachments = new Set<Attachment>();
  /** Bindings that lead here; null for none. */
  incoming: Set<Binding> | null = null;
  exclusive: Consumer | null = null;
  /** Who is served, of a queue with a single active consumer; see `single-active.ts`. */
  active: Attachment | null = null;
  isPaused = false;
  /** Results of its namespace stand in it, and nobody is delivered any. */
  readonly isResults: boolean;
  /**
   * Of a queue of results: which of the results that were archived for its namespace still count, those of this era. Another one begins when it is purged. An era is never used again: it is an engine time, or the
   * number behind the last era. 0 for other queues, and for those that are older than the archive.
   */
  era = 0;
  /** Its name is free already, and what is left in it goes slice by slice. */
  isDeleted = false;
  /** ms of its last use, see `queue-expiry.ts`. */
  usedMs = 0;
  /** While `Recall` looks at it. */
  watch: Watch | null = null;
  // What the settings mean for the hot path: a queue of default settings has none of these.
  /** It refuses publishes beyond a bound. */
  isRefusing = false;
  /** It pushes messages out beyond a bound. */
  isEvicting = false;
  isSingle = false;
  /** A purge removes slice by slice what waits with an id below this; nothing is delivered meanwhile. 0: no purge. */
  purgeBelowId = 0;
  /** Head of the list of delayed messages, through `next` and `prev`. */
  delayedHead = -1;
  delayed = 0;
  leased = 0;
  started = 0;
  /** What its namespace amounts to. Given with its name. */
  space = NOWHERE;
  #bytes = 0;
  readonly totals = noTotals();

  constructor(
    index: number,
    namespace: string,
    name: string,
    settings: QueueSettings,
    { table, dedupUsage }: { readonly table: MessageTable; readonly dedupUsage: DedupUsage },
  ) {
    this.index = index;
    this.namespace = namespace;
    this.name = name;
    this.isResults = name === RESULTS_QUEUE;
    this.settings = settings;
    this.ready = new Waiting(table, this);
    this.dedup = new DedupWindow(settings.dedupWindowMs, settings.dedupKeysMax, dedupUsage);
    this.#derive();
  }

  /** Takes new settings, live or on replay. */
  configure(settings: QueueSettings, version: number, nowMs: number): void {
    this.settings = settings;
    this.version = version;
    this.dedup.resize(settings.dedupWindowMs, settings.dedupKeysMax, nowMs);
    this.#derive();
  }

  /** Bytes of all messages of the queue, waiting and unsettled. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Changed once for each message that comes or goes, by its length, which is never 0: so the namespace's count follows, too. */
  set bytes(bytes: number) {
    const { space } = this;
    const change = bytes - this.#bytes;
    this.#bytes = bytes;
    space.bytes += change;
    space.messages += change > 0 ? 1 : -1;
  }

  /** Messages of the queue, waiting and unsettled. */
  get size(): number {
    return this.ready.size + this.delayed + this.leased + this.started;
  }

  /** Whether it holds more than it may and has to push something out. */
  get isTooFull(): boolean {
    return this.isEvicting && !this.fits(0, 0);
  }

  /** Of a queue of results: whether there are so many, or it is half as full as it may be, that they are to be archived at once. */
  get isCrowded(): boolean {
    const { messagesMax, bytesMax, deadLetterQueue } = this.settings;
    const { size } = this.ready;
    if (deadLetterQueue !== null) return false;
    if (size > CROWDED) return true;
    return (messagesMax > 0 && size * 2 > messagesMax) || (bytesMax > 0 && this.bytes * 2 > bytesMax);
  }

  /** Whether so many more messages and bytes are within its bounds. */
  fits(messages: number, bytes: number): boolean {
    const { messagesMax, bytesMax } = this.settings;
    return (
      (messagesMax === 0 || this.size + messages <= messagesMax) && (bytesMax === 0 || this.bytes + bytes <= bytesMax)
    );
  }

  get isDeliverable(): boolean {
    return !this.isPaused && this.purgeBelowId === 0 && !this.isResults;
  }

  info(nowMs: number): QueueInfo {
    this.dedup.prune(nowMs, INFO_KEYS);
    return {
      name: this.name,
      namespace: this.namespace,
      isPaused: this.isPaused,
      settings: { ...this.settings },
      version: this.version,
      ready: this.ready.size,
      limited: this.ready.limited,
      delayed: this.delayed,
      leased: this.leased,
      started: this.started,
      bytes: this.bytes,
      consumers: this.attachments.size,
      dedupKeys: this.dedup.size,
      totals: { ...this.totals },
    };
  }

  #derive(): void {
    const { messagesMax, bytesMax, overflow, singleActiveConsumer } = this.settings;
    const isBounded = messagesMax > 0 || bytesMax > 0;
    this.isRefusing = isBounded && overflow === 'reject-publish';
    this.isEvicting = isBounded && overflow !== 'reject-publish';
    this.isSingle = singleActiveConsumer;
  }
}

/** Adds a message to its queue's list of delayed ones. */
export function linkDelayed(table: MessageTable, queue: Queue, slot: number): void {
  table.prev[slot] = -1;
  table.next[slot] = queue.delayedHead;
  if (queue.delayedHead >= 0) table.prev[queue.delayedHead] = slot;
  queue.delayedHead = slot;
  queue.delayed++;
}

export function unlinkDelayed(table: MessageTable, queue: Queue, slot: number): void {
  const prev = table.prev[slot]!;
  const next = table.next[slot]!;
  if (prev < 0) queue.delayedHead = next;
  else table.next[prev] = next;
  if (next >= 0) table.prev[next] = prev;
  queue.delayed--;
}
