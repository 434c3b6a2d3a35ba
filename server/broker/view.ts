/** What the HTTP API and the metrics see of the broker: numbers, read when asked for, never a handle to change anything. */
import type { BindingInfo, ExchangeInfo, QueueInfo, WorkerList } from '@lovage/protocol';
import type { ArchiveStats } from '../archive/archive.js';
import type { JournalStats, SyncClass } from '../journal/journal.js';
import type { FlowStats } from './flow-gate.js';

export interface Overview {
  readonly version: string;
  readonly startedAt: number;
  readonly uptimeMs: number;
  readonly syncClass: SyncClass;
  readonly isReady: boolean;
  readonly isStopping: boolean;
  readonly connections: number;
  readonly sessions: number;
  readonly consumers: number;
  readonly queues: number;
  /** Dedup keys in memory. */
  readonly dedupKeys: number;
  readonly messages: {
    readonly ready: number;
    readonly delayed: number;
    readonly leased: number;
    readonly started: number;
  };
  /** Totals since start. */
  readonly totals: {
    readonly published: number;
    readonly delivered: number;
    readonly acked: number;
    readonly returned: number;
    readonly dropped: number;
    readonly expired: number;
    readonly purged: number;
    readonly duplicates: number;
    readonly deadLettered: number;
    readonly evicted: number;
    readonly exhausted: number;
    readonly arrived: number;
    readonly moved: number;
    readonly archived: number;
    readonly refused: number;
  };
  /** Per second, over the last ten seconds. */
  readonly rates: { readonly published: number; readonly delivered: number; readonly acked: number };
  readonly journal: JournalStats;
  /** Null where there is none. */
  readonly archive: ArchiveStats | null;
  /** Whether publishers are held back, and how near that is. */
  readonly flow: FlowStats;
}

export interface BrokerView {
  /** False until recovery is done. */
  readonly isReady: boolean;
  /** True from the moment a stop was asked for. */
  readonly isStopping: boolean;
  /** Share of the journal replayed, 0 to 1. */
  readonly recoveredShare: number;
  overview(): Overview;
  /** Queues of a namespace (all namespaces when null) in the order of their names, after `after`, at most `limit`. */
  queues(namespace: string | null, after: string | null, limit: number): QueueInfo[];
  queue(namespace: string, name: string): QueueInfo | null;
  /** Exchanges, as queues. */
  exchanges(namespace: string | null, after: string | null, limit: number): ExchangeInfo[];
  /** Bindings of a namespace and an exchange (of all when null) in the order of their ids, above `after`, at most `limit`. */
  workers(namespace: string): WorkerList;
  bindings(namespace: string | null, exchange: string | null, after: number, limit: number): BindingInfo[];
  /** Calls `observe` with the ms of every sync from now on (the metrics' histogram). */
  onSync(observe: (ms: number) => void): void;
}
