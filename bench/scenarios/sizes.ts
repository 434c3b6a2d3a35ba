import { STANDARD } from '../load/standard.js';
import { brokerMicros, confirmedRate, consumedRate, type ThroughputResult } from '../load/throughput-run.js';
import { conditions } from '../report/conditions.js';
import { bytesText, mebibytes, short, whole } from '../report/format.js';
import { freshRun } from './fresh-run.js';
import type { BenchOptions, Scenario } from './scenario.js';

const KIB = 1_024;
const MIB = 1_024 * KIB;
const BODY_BYTES = [16, 256, 4 * KIB, 64 * KIB, MIB] as const;
/** Of large bodies not a thousand are in flight, but so many bytes. */
const IN_FLIGHT_BYTES = 16 * MIB;

interface OfSize {
  readonly bytes: number;
  /** Messages in flight: window and prefetch. */
  readonly window: number;
  readonly result: ThroughputResult;
}

export const sizes: Scenario = {
  name: 'sizes',
  question: 'How does the throughput depend on the size of the bodies?',
  async run(options) {
    const data: OfSize[] = [];
    for (const bytes of BODY_BYTES) data.push(await ofSize(bytes, options));
    const range = `${whole(windowOf(BODY_BYTES.at(-1)!))}-${whole(STANDARD.window)}`;
    return {
      conditions: conditions({ window: range, prefetch: range, body: '16 B - 1 MiB' }),
      setUp: `One producer and one consumer. Window and prefetch are ${whole(STANDARD.window)} messages, or as many as make ${bytesText(IN_FLIGHT_BYTES)}. One run each.`,
      tables: [
        {
          title: 'By size of a body',
          head: [
            'body',
            'window, prefetch',
            'confirmed /s',
            'consumed /s',
            'MiB of bodies /s',
            'broker us a message',
            'broker MiB',
          ],
          rows: data.map(row),
        },
      ],
      plots: [
        {
          title: 'Messages a second',
          xLabel: 'bytes of a body',
          yLabel: 'consumed a second',
          xScale: 'log',
          yScale: 'log',
          series: [
            { label: 'consumed', points: data.map(({ bytes, result }) => [bytes, consumedRate(result)] as const) },
          ],
        },
        {
          title: 'Bytes a second',
          xLabel: 'bytes of a body',
          yLabel: 'MiB of bodies a second',
          xScale: 'log',
          yScale: 'linear',
          series: [{ label: 'MiB', points: data.map((each) => [each.bytes, bodyBytesRate(each) / MIB] as const) }],
        },
      ],
      leftOut: [],
      data,
    };
  },
};

async function ofSize(bytes: number, options: BenchOptions): Promise<OfSize> {
  const window = windowOf(bytes);
  const result = await freshRun(options, { bytes, window, prefetch: window }, `sizes, ${bytesText(bytes)}`);
  return { bytes, window, result };
}

function windowOf(bytes: number): number {
  return Math.min(STANDARD.window, Math.ceil(IN_FLIGHT_BYTES / bytes));
}

function bodyBytesRate({ bytes, result }: OfSize): number {
  return bytes * consumedRate(result);
}

function row(each: OfSize): string[] {
  const { bytes, window, result } = each;
  return [
    bytesText(bytes),
    whole(window),
    whole(confirmedRate(result)),
    whole(consumedRate(result)),
    mebibytes(bodyBytesRate(each)),
    short(brokerMicros(result)),
    mebibytes(result.broker.residentBytes),
  ];
}
