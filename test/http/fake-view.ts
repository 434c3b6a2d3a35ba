/** A broker view whose numbers a test sets as it likes. */
import {
  type BindingInfo,
  defaultQueueSettings,
  type ExchangeInfo,
  type QueueInfo,
  type WorkerList,
} from '@lovage/protocol';
import type { BrokerView, Overview } from '../../server/broker/view.js';
import { noTotals } from '../../server/engine/queue.js';

export class FakeView implements BrokerView {
  isReady = true;
  isStopping = false;
  recoveredShare = 1;
  list: QueueInfo[] = [];
  exchangeList: ExchangeInfo[] = [];
  bindingList: BindingInfo[] = [];
  queueCount: number | null = null;
  messages = { ready: 7, delayed: 5, leased: 3, started: 2 };
  observe: (ms: number) => void = () => undefined;
  failure: Error | null = null;

  overview(): Overview {
    if (this.failure !== null) throw this.failure;
    return {
      version: '1.2.3',
      startedAt: 1_700_000_000_000,
      uptimeMs: 61_000,
      syncClass: 'always',
      isReady: this.isReady,
      isStopping: this.isStopping,
      connections: 4,
      sessions: 5,
      consumers: 6,
      queues: this.queueCount ?? this.list.length,
      dedupKeys: 12,
      messages: this.messages,
      totals: {
        published: 100,
        delivered: 90,
        acked: 80,
        returned: 4,
        dropped: 3,
        expired: 2,
        purged: 1,
        duplicates: 8,
        deadLettered: 11,
        evicted: 12,
        exhausted: 13,
        arrived: 14,
        moved: 15,
        archived: 16,
        refused: 9,
      },
      rates: { published: 1.5, delivered: 1.25, acked: 1 },
      journal: { segments: 2, bytes: 4_096, reservedBytes: 512, batches: 10, records: 20, syncs: 11, isFull: false },
      archive: { results: 21, resultBytes: 22, fileBytes: 23, failures: 24 },
      flow: {
        reason: 'disk',
        memoryBytes: 1_000,
        memoryBytesMax: 2_000,
        diskFreeBytes: 3_000,
        diskFreeBytesMin: 4_000,
        blocks: 5,
      },
    };
  }

  queues(namespace: string | null, after: string | null, limit: number): QueueInfo[] {
    return this.list
      .filter(
        (queue) => (namespace === null || queue.namespace === namespace) && (after === null || queue.name > after),
      )
      .slice(0, limit);
  }

  queue(namespace: string, name: string): QueueInfo | null {
    return this.list.find((queue) => queue.namespace === namespace && queue.name === name) ?? null;
  }

  exchanges(namespace: string | null, after: string | null, limit: number): ExchangeInfo[] {
    return this.exchangeList
      .filter(
        (found) => (namespace === null || found.namespace === namespace) && (after === null || found.name > after),
      )
      .slice(0, limit);
  }

  workers(): WorkerList {
    return { workers: [], stranded: [] };
  }

  bindings(namespace: string | null, exchange: string | null, after: number, limit: number): BindingInfo[] {
    return this.bindingList
      .filter((found) => namespace === null || found.namespace === namespace)
      .filter((found) => (exchange === null || found.exchange === exchange) && found.id > after)
      .slice(0, limit);
  }

  onSync(observe: (ms: number) => void): void {
    this.observe = observe;
  }
}

export function queueInfo(name: string, ready = 0, namespace = 'default'): QueueInfo {
  return {
    name,
    namespace,
    isPaused: false,
    settings: defaultQueueSettings(),
    version: 1,
    ready,
    limited: 0,
    delayed: 0,
    leased: 0,
    started: 0,
    bytes: ready * 10,
    consumers: 0,
    dedupKeys: 0,
    totals: noTotals(),
  };
}
