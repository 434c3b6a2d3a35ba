import type { Client } from '@lovage/client';
import { withLovage } from '../broker/lovage-server.js';
import {
  brokerMicros,
  confirmedRate,
  consumedRate,
  runThroughput,
  type ThroughputResult,
} from '../load/throughput-run.js';
import { conditions } from '../report/conditions.js';
import { short, whole } from '../report/format.js';
import type { BenchOptions, Scenario } from './scenario.js';

/** Bindings of the exchange; 0: published to the queue itself. */
const BINDINGS = [0, 10, 1_000, 10_000] as const;
const EXCHANGE = 'bench-topics';
/** Its name is the routing key. */
const QUEUE = 'bench.order.paid.eu';
/** Words that no key has, so that every other binding is passed by. */
const OTHER_PATTERNS = [
  (i: number) => `bench.other${i}.paid.eu`,
  (i: number) => `bench.*.paid.other${i}`,
  (i: number) => `#.other${i}`,
] as const;
/** Requests under way at a time while bindings are made. */
const BINDS_AT_ONCE = 1_000;

interface Run {
  readonly bindings: number;
  readonly result: ThroughputResult;
}

export const routing: Scenario = {
  name: 'routing',
  question: 'Does a message through a topic exchange cost the broker more when the exchange has more bindings?',
  async run(options) {
    const runs: Run[] = [];
    for (const bindings of BINDINGS) runs.push({ bindings, result: await measured(options, bindings) });
    return {
      conditions: conditions(),
      setUp:
        'One producer, one consumer. The producer publishes to a topic exchange with one key of four words, which one binding leads to the consumed queue; the other bindings (whole keys, patterns with *, patterns with #) lead to another queue and fit no message. 0 bindings: published to the queue itself. One run each.',
      tables: [
        {
          title: 'Through a topic exchange',
          head: ['bindings', 'confirmed /s', 'consumed /s', 'broker us a message', 'broker cores'],
          rows: runs.map(({ bindings, result }) => [
            whole(bindings),
            whole(confirmedRate(result)),
            whole(consumedRate(result)),
            short(brokerMicros(result)),
            short(result.broker.cores),
          ]),
        },
      ],
      plots: [],
      leftOut: [],
      data: runs,
    };
  },
};

function measured(options: BenchOptions, bindings: number): Promise<ThroughputResult> {
  const { seed, warmUpMs, windowMs } = options;
  return withLovage(options, async (server) => {
    const { target, pids } = server;
    const settings = bindings === 0 ? target.settings : { ...target.settings, exchange: EXCHANGE };
    if (bindings > 0) await bind(await server.connect(), bindings);
    const shape = { seed, warmUpMs, windowMs, queues: [QUEUE] };
    const label = `routing, ${whole(bindings)} bindings`;
    return runThroughput({ target: { ...target, settings }, pids }, shape, label);
  });
}

/** One binding that messages follow, and others that they do not. */
async function bind(client: Client, bindings: number): Promise<void> {
  for (const queue of [QUEUE, 'other']) await client.queues.declare(queue);
  await client.exchanges.declare(EXCHANGE, { type: 'topic' });
  await client.exchanges.bind({ exchange: EXCHANGE, queue: QUEUE, key: 'bench.order.*.eu' });
  let open: Promise<unknown>[] = [];
  for (let i = 1; i < bindings; i++) {
    const key = OTHER_PATTERNS[i % OTHER_PATTERNS.length]!(i);
    open.push(client.exchanges.bind({ exchange: EXCHANGE, queue: 'other', key }));
    if (open.length < BINDS_AT_ONCE) continue;
    await Promise.all(open);
    open = [];
  }
  await Promise.all(open);
  await client.close();
}
