/**
 * A queue that is filled while nobody may consume it, and then emptied while nobody publishes:
 *
 *     paused ── fill ──► resumed ── drain ──► paused ── fill ──► ...
 *
 * Producer, consumer and broker stay the same, so a long queue is compared with a short one when all of them are warm.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from '@lovage/client';
import type { LovageServer } from '../broker/lovage-server.js';
import { cpuSeconds, sumOf } from '../run/process-usage.js';
import { showProgress } from '../run/progress.js';
import { median } from '../run/statistics.js';
import { LoadProcess } from './load-process.js';
import { type Look, type Slice, SliceMeter } from './slice-meter.js';
import { STANDARD, standardConsumer } from './standard.js';

/** Messages of a short queue; what is filled is a multiple of it. */
export const SHORT_QUEUE = 200_000;

export interface FlowRates {
  readonly publishedPerSecond: number;
  readonly drainedPerSecond: number;
}

export interface BacklogRun {
  readonly messages: number;
  /** Of short queues, the median of several. */
  readonly short: FlowRates;
  readonly long: FlowRates;
  /** By messages that were in the queue already. */
  readonly publish: readonly Slice[];
  /** By messages that were gone already. */
  readonly drain: readonly Slice[];
}

/** Called many times a second while the backlog grows, the first time with 0 and the last time with all. */
export type BacklogWatcher = (messagesInQueue: number) => void | Promise<void>;

const QUEUE = 'backlog';
const SHORT_ROUNDS = 3;
const SLICES = 10;
/** A look comes so late at most, which is little beside the time that a short queue takes. */
const LOOK_MS = 10;

export async function runBacklog(
  server: LovageServer,
  { messages, seed }: { readonly messages: number; readonly seed: number },
  watcher: BacklogWatcher = () => undefined,
): Promise<BacklogRun> {
  const label = `backlog of ${messages}`;
  const cycle = await BacklogCycle.open(server, seed);
  await cycle.fillAndDrain(SHORT_QUEUE, `${label}: warming up`);
  const shorts: FlowRates[] = [];
  for (let round = 0; round < SHORT_ROUNDS; round++) {
    const { publish, drain } = await cycle.fillAndDrain(SHORT_QUEUE, `${label}: a short queue first`);
    shorts.push({ publishedPerSecond: rateOf(publish), drainedPerSecond: rateOf(drain) });
  }
  const { publish, drain } = await cycle.fillAndDrain(messages, label, watcher);
  await cycle.close();
  return {
    messages,
    short: {
      publishedPerSecond: median(shorts.map(({ publishedPerSecond }) => publishedPerSecond)),
      drainedPerSecond: median(shorts.map(({ drainedPerSecond }) => drainedPerSecond)),
    },
    long: { publishedPerSecond: rateOf(publish), drainedPerSecond: rateOf(drain) },
    publish,
    drain,
  };
}

/** The rate of all slices together. */
function rateOf(slices: readonly Slice[]): number {
  const seconds = slices.reduce((sum, { messages, perSecond }) => sum + messages / perSecond, 0);
  return slices.reduce((sum, { messages }) => sum + messages, 0) / seconds;
}

class BacklogCycle {
  readonly #server: LovageServer;
  readonly #admin: Client;
  readonly #producer: LoadProcess;
  readonly #consumer: LoadProcess;

  private constructor(server: LovageServer, admin: Client, producer: LoadProcess, consumer: LoadProcess) {
    this.#server = server;
    this.#admin = admin;
    this.#producer = producer;
    this.#consumer = consumer;
  }

  static async open(server: LovageServer, seed: number): Promise<BacklogCycle> {
    const { bytes, window, priorities } = STANDARD;
    const load = { queues: [QUEUE], bytes, window, priorities, seed, limit: SHORT_QUEUE };
    const producer = await LoadProcess.start('producer', server.target, load);
    const consumer = await LoadProcess.start('consumer', server.target, standardConsumer([QUEUE]));
    return new BacklogCycle(server, await server.connect(), producer, consumer);
  }

  async fillAndDrain(
    messages: number,
    label: string,
    watcher: BacklogWatcher = () => undefined,
  ): Promise<Pick<BacklogRun, 'publish' | 'drain'>> {
    await this.#admin.queues.pause(QUEUE);
    const publish = await this.#follow(this.#producer, messages, `${label}: publishing`, watcher, async () => {
      for (let begun = 0; begun < messages; begun += SHORT_QUEUE) await this.#producer.call('start');
    });
    const drain = await this.#follow(
      this.#consumer,
      messages,
      `${label}: draining`,
      () => undefined,
      () => this.#admin.queues.resume(QUEUE),
    );
    return { publish, drain };
  }

  async close(): Promise<void> {
    await Promise.all([this.#admin.close(), this.#producer.close(), this.#consumer.close()]);
  }

  /** Lets a load process begin and follows it until it has done so many messages more. */
  async #follow(
    load: LoadProcess,
    messages: number,
    label: string,
    watcher: BacklogWatcher,
    begin: () => Promise<void>,
  ): Promise<Slice[]> {
    const first = await load.call('sample');
    const look = async (): Promise<Look> => {
      const { timeMs, count, failed } = await load.call('sample');
      if (failed > 0) throw new Error(`Cannot go on with "${label}": ${failed} publishes failed`);
      const brokerCpuSeconds = sumOf(this.#server.pids, cpuSeconds);
      return { count: count - first.count, seconds: (timeMs - first.timeMs) / 1_000, brokerCpuSeconds };
    };
    const meter = new SliceMeter(messages / SLICES, await look());
    await begin();
    for (;;) {
      const now = await look();
      await watcher(now.count);
      showProgress(`${label}: ${now.count} of ${messages}`);
      if (now.count >= messages) {
        meter.end(now);
        return meter.slices;
      }
      meter.add(now);
      await delay(LOOK_MS);
    }
  }
}
