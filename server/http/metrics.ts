/**
 * `/metrics` in Prometheus' text format. Nothing is counted here: each scrape reads the broker's own numbers. Names end in their unit; labels come
 * from bounded sets, queues being cut off at `QUEUE_SERIES_MAX`.
 */
import type { QueueInfo } from '@lovage/protocol';
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import { FLOW_REASONS } from '../broker/flow-gate.js';
import type { BrokerView, Overview } from '../broker/view.js';

/** Queues with series of their own; the rest is summed under queue="_other" with an empty namespace. */
export const QUEUE_SERIES_MAX = 200;

interface MetricRow {
  readonly type: 'gauge' | 'counter';
  readonly name: string;
  readonly help: string;
  readonly read: (overview: Overview) => number;
}

const MESSAGE_STATES = ['ready', 'delayed', 'leased', 'started'] as const;
const TOTALS = {
  published: 'Messages taken from publishers.',
  delivered: 'Deliveries sent to consumers.',
  acked: 'Messages settled as done.',
  returned: 'Deliveries that came back to their queue.',
  dropped: 'Messages dropped by a consumer.',
  expired: 'Messages that outlived their time.',
  purged: 'Messages removed by purging or deleting a queue.',
  duplicates: 'Publishes that were known already.',
  deadLettered: 'Messages that their queue has given up and sent to its dead letter queue.',
  evicted: 'Messages dropped because of a limit of their queue.',
  exhausted: 'Messages dropped after as many attempts as their queue allows.',
  arrived: 'Messages that came to a queue from another one.',
  moved: 'Messages moved to another queue by hand.',
  archived: 'Results that went from their queue to the archive.',
  refused: 'Publishes that were refused.',
} as const satisfies Record<keyof Overview['totals'], string>;

const METRICS: readonly MetricRow[] = [
  gaugeRow('ready', 'Whether the broker has recovered and takes work (1) or not (0).', (o) =>
    Number(o.isReady && !o.isStopping),
  ),
  gaugeRow('connections', 'Open client connections.', (o) => o.connections),
  gaugeRow('sessions', 'Client sessions, those in their grace window included.', (o) => o.sessions),
  gaugeRow('consumers', 'Consumers.', (o) => o.consumers),
  gaugeRow('queues', 'Queues.', (o) => o.queues),
  gaugeRow('dedup_keys', 'Dedup keys in memory.', (o) => o.dedupKeys),
  gaugeRow(
    'unsettled_messages',
    'Messages at consumers: leased or started.',
    (o) => o.messages.leased + o.messages.started,
  ),
  gaugeRow('journal_segments', 'Segment files of the journal.', (o) => o.journal.segments),
  gaugeRow('journal_bytes', 'Bytes of records in the journal.', (o) => o.journal.bytes),
  gaugeRow('journal_reserved_bytes', 'Bytes reserved on the disk for settlements.', (o) => o.journal.reservedBytes),
  gaugeRow('journal_full', 'Whether publishes are refused because the disk is full (1) or not (0).', (o) =>
    Number(o.journal.isFull),
  ),
  gaugeRow('archive_results', 'Results in the archive.', (o) => o.archive?.results ?? 0),
  gaugeRow('archive_result_bytes', 'Bytes of the results in the archive.', (o) => o.archive?.resultBytes ?? 0),
  gaugeRow('archive_file_bytes', 'Bytes of the file of the archive.', (o) => o.archive?.fileBytes ?? 0),
  ...FLOW_REASONS.map((reason) =>
    gaugeRow(`flow_blocked_${reason}`, `Whether publishers are held back for want of ${reason} (1) or not (0).`, (o) =>
      Number(o.flow.reason === reason),
    ),
  ),
  gaugeRow('memory_used_bytes', 'Memory that messages take.', (o) => o.flow.memoryBytes),
  gaugeRow('memory_max_bytes', 'Memory that messages may take, 0 for no bound.', (o) => o.flow.memoryBytesMax ?? 0),
  gaugeRow(
    'disk_free_bytes',
    'Bytes free on the disk of the journal, 0 where there is none.',
    (o) => o.flow.diskFreeBytes ?? 0,
  ),
  counterRow(
    'archive_failures_total',
    'Times that the archive could not be read or written.',
    (o) => o.archive?.failures ?? 0,
  ),
  counterRow('flow_blocks_total', 'Times that publishers were held back.', (o) => o.flow.blocks),
  counterRow('journal_batches_total', 'Batches written to the journal.', (o) => o.journal.batches),
  counterRow('journal_records_total', 'Records written to the journal.', (o) => o.journal.records),
  counterRow('journal_syncs_total', 'Times the journal was forced to disk.', (o) => o.journal.syncs),
  ...(Object.keys(TOTALS) as (keyof typeof TOTALS)[]).map((total) =>
    counterRow(`messages_${snakeCase(total)}_total`, TOTALS[total], (o) => o.totals[total]),
  ),
];

/** From a tenth of a millisecond to ten seconds: a good disk's sync to one that raises an alarm. */
const SYNC_SECONDS = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

export interface Metrics {
  readonly contentType: string;
  /** The page, from one reading of the broker. */
  page(): Promise<string>;
}

/** Metrics in a registry of their own, whose numbers are read from `view` when a page is asked for. */
export function createMetrics(view: BrokerView): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const setters = [...METRICS.map((row) => plainMetric(registry, row)), ...labelledMetrics(registry, view)];
  observeSyncs(registry, view);
  return {
    contentType: registry.contentType,
    page: () => {
      const overview = view.overview();
      for (const set of setters) set(overview);
      return registry.metrics();
    },
  };
}

type Setter = (overview: Overview) => void;

function plainMetric(registry: Registry, { type, name, help, read }: MetricRow): Setter {
  const registers = [registry];
  if (type === 'gauge') {
    const gauge = new Gauge({ name, help, registers });
    return (overview) => gauge.set(read(overview));
  }
  const counter = new Counter({ name, help, registers });
  return (overview) => {
    // prom-client's counters only grow by steps; the broker keeps the totals itself.
    counter.reset();
    counter.inc(read(overview));
  };
}

function labelledMetrics(registry: Registry, view: BrokerView): Setter[] {
  const registers = [registry];
  const info = new Gauge({
    name: 'lovage_info',
    help: 'Constant 1; the labels say which version runs and when it syncs its journal.',
    labelNames: ['version', 'sync_class'],
    registers,
  });
  const messages = new Gauge({ name: 'lovage_messages', help: 'Messages by state.', labelNames: ['state'], registers });
  const labelNames = ['namespace', 'queue', 'state'];
  const queues = new Gauge({
    name: 'lovage_queue_messages',
    help: 'Messages of a queue by state.',
    labelNames,
    registers,
  });
  return [
    (overview) => info.set({ version: overview.version, sync_class: overview.syncClass }, 1),
    (overview) => {
      for (const state of MESSAGE_STATES) messages.set({ state }, overview.messages[state]);
    },
    (overview) => setQueues(queues, overview, view.queues(null, null, QUEUE_SERIES_MAX)),
  ];
}

function setQueues(gauge: Gauge, overview: Overview, shown: readonly QueueInfo[]): void {
  gauge.reset();
  for (const state of MESSAGE_STATES) {
    let sum = 0;
    for (const queue of shown) {
      gauge.set({ namespace: queue.namespace, queue: queue.name, state }, queue[state]);
      sum += queue[state];
    }
    if (overview.queues <= shown.length) continue;
    gauge.set({ namespace: '', queue: '_other', state }, Math.max(0, overview.messages[state] - sum));
  }
}

function observeSyncs(registry: Registry, view: BrokerView): void {
  const histogram = new Histogram({
    name: 'lovage_journal_sync_seconds',
    help: 'Time that forcing the journal to disk took.',
    buckets: SYNC_SECONDS,
    registers: [registry],
  });
  view.onSync((ms) => histogram.observe(ms / 1_000));
}

function gaugeRow(name: string, help: string, read: MetricRow['read']): MetricRow {
  return { type: 'gauge', name: `lovage_${name}`, help, read };
}

function counterRow(name: string, help: string, read: MetricRow['read']): MetricRow {
  return { type: 'counter', name: `lovage_${name}`, help, read };
}

function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
