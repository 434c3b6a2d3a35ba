/** One queue: its waiting messages, who consumes it, and its counters. Every counter equals a recount of the table at any time. */
import type { QueueInfo, QueueSettings } from '@lovage/protocol';
import type { Attachment, Consumer } from './consumer.js';
import { DedupWindow } from './dedup-window.js';
import type { MessageTable } from './message-table.js';
import { ReadyIndex } from './ready-index.js';
import { Rotation } from './rotation.js';

export type QueueTotals = { -readonly [K in keyof QueueInfo['totals']]: number };

export function noTotals(): QueueTotals {
  return { published: 0, delivered: 0, acked: 0, returned: 0, dropped: 0, expired: 0, purged: 0, duplicates: 0 };
}

/** Starts counting anew: totals are of one run of the broker. */
export function clearTotals(totals: QueueTotals): void {
  Object.assign(totals, noTotals());
}

export function addTotals(sum: QueueTotals, more: QueueTotals): void {
  for (const name of Object.keys(sum) as (keyof QueueTotals)[]) sum[name] += more[name];
}

export class Queue {
  readonly index: number;
  readonly namespace: string;
  readonly name: string;
  readonly settings: QueueSettings;
  readonly ready: ReadyIndex;
  readonly rotation = new Rotation();
  readonly dedup: DedupWindow;
  /** Every attachment, marked or not. */
  readonly attachments = new Set<Attachment>();
  exclusive: Consumer | null = null;
  isPaused = false;
  /** A purge removes slice by slice what waits with an id below this; nothing is delivered meanwhile. 0: no purge. */
  purgeBelowId = 0;
  /** Head of the list of delayed messages, through `next` and `prev`. */
  delayedHead = -1;
  delayed = 0;
  leased = 0;
  started = 0;
  /** Bytes of all messages of the queue, waiting and unsettled. */
  bytes = 0;
  readonly totals = {
    published: 0,
    delivered: 0,
    acked: 0,
    returned: 0,
    dropped: 0,
    expired: 0,
    purged: 0,
    duplicates: 0,
  };

  constructor(index: number, namespace: string, name: string, settings: QueueSettings, table: MessageTable) {
    this.index = index;
    this.namespace = namespace;
    this.name = name;
    this.settings = settings;
    this.ready = new ReadyIndex(table);
    this.dedup = new DedupWindow(settings.dedupWindowMs, settings.dedupKeysMax);
  }

  /** Messages of the queue, waiting and unsettled. */
  get size(): number {
    return this.ready.size + this.delayed + this.leased + this.started;
  }

  get isDeliverable(): boolean {
    return !this.isPaused && this.purgeBelowId === 0;
  }

  info(): QueueInfo {
    return {
      name: this.name,
      namespace: this.namespace,
      isPaused: this.isPaused,
      settings: { ...this.settings },
      ready: this.ready.size,
      delayed: this.delayed,
      leased: this.leased,
      started: this.started,
      bytes: this.bytes,
      consumers: this.attachments.size,
      totals: { ...this.totals },
    };
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
