/** The measured window: what happened between two looks at everything that takes part. */

import { waitShowing } from '../run/delay.js';
import { monotonicMs } from '../run/monotonic-clock.js';
import { cpuSeconds, residentBytes, sumOf } from '../run/process-usage.js';
import { type FrameCounts, framesBetween, sumFrames } from './frame-counter.js';
import type { LoadProcess } from './load-process.js';
import type { Sample } from './role.js';
import type { Server } from './server.js';

/** What a group of load processes did, all of them together. */
export interface GroupRate {
  readonly messagesPerSecond: number;
  /** CPU cores in use. */
  readonly cores: number;
  readonly failed: number;
  /** In the window. */
  readonly messages: number;
  readonly frames: FrameCounts;
}

/** What the broker did. */
export interface BrokerRate {
  /** CPU cores in use; null where the system does not tell. */
  readonly cores: number | null;
  /** At the end of the window; null where the system does not tell. */
  readonly residentBytes: number | null;
}

export interface WindowRates<G extends string> {
  readonly groups: Readonly<Record<G, GroupRate>>;
  readonly broker: BrokerRate;
}

/** Watches groups of load processes and the broker for so long. */
export async function measureWindow<G extends string>(
  label: string,
  windowMs: number,
  server: Pick<Server, 'pids'>,
  groups: Readonly<Record<G, readonly LoadProcess[]>>,
): Promise<WindowRates<G>> {
  const names = Object.keys(groups) as G[];
  const look = () => Promise.all(names.map((name) => Promise.all(groups[name].map((load) => load.call('sample')))));
  const [brokerBefore, before] = [brokerUsage(server), await look()];
  await waitShowing(label, windowMs);
  const [brokerAfter, after] = [brokerUsage(server), await look()];
  const rates = names.map((name, i) => [name, groupRate(before[i]!, after[i]!)] as const);
  return {
    groups: Object.fromEntries(rates) as Record<G, GroupRate>,
    broker: {
      cores:
        brokerBefore.cpu === null || brokerAfter.cpu === null
          ? null
          : (brokerAfter.cpu - brokerBefore.cpu) / ((brokerAfter.timeMs - brokerBefore.timeMs) / 1_000),
      residentBytes: sumOf(server.pids, residentBytes),
    },
  };
}

function brokerUsage({ pids }: Pick<Server, 'pids'>): { readonly timeMs: number; readonly cpu: number | null } {
  return { timeMs: monotonicMs(), cpu: sumOf(pids, cpuSeconds) };
}

/** Each process is looked at by its own clock, because a busy one answers late. */
function groupRate(before: readonly Sample[], after: readonly Sample[]): GroupRate {
  const perSecond = (read: (sample: Sample) => number): number =>
    after.reduce((sum, sample, i) => {
      const seconds = (sample.timeMs - before[i]!.timeMs) / 1_000;
      return sum + (read(sample) - read(before[i]!)) / seconds;
    }, 0);
  return {
    messagesPerSecond: perSecond(({ count }) => count),
    cores: perSecond((sample) => sample.cpuSeconds),
    failed: after.reduce((sum, { failed }) => sum + failed, 0),
    messages: after.reduce((sum, { count }, i) => sum + count - before[i]!.count, 0),
    frames: {
      sent: sumFrames(after.map(({ frames }, i) => framesBetween(before[i]!.frames.sent, frames.sent))),
      received: sumFrames(after.map(({ frames }, i) => framesBetween(before[i]!.frames.received, frames.received))),
    },
  };
}
