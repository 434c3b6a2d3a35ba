/** Bytes through sockets and disk as fast as this machine can, in frames of a given profile. */
import { LoadProcess } from '../load/load-process.js';
import { measureWindow } from '../load/window.js';
import { waitShowing } from '../run/delay.js';
import { freePort } from '../run/free-port.js';
import { tempDirectory } from '../run/temp-directory.js';
import type { FrameProfile } from './frame-profile.js';

export interface LimitShape {
  readonly profile: FrameProfile;
  readonly window: number;
  readonly directory: string | undefined;
  readonly warmUpMs: number;
  readonly windowMs: number;
}

export interface LimitResult {
  /** Messages' worth of frames that reached the consumer, a second. */
  readonly messagesPerSecond: number;
  readonly syncsPerSecond: number;
  readonly relayCores: number;
  readonly clientCores: number;
}

const NO_TARGET = { driver: 'none', endpoint: '', settings: {} } as const;

export async function runLimit(
  { profile, window, directory, ...times }: LimitShape,
  label: string,
): Promise<LimitResult> {
  const data = await tempDirectory(directory);
  const port = await freePort();
  const client = { url: `ws://127.0.0.1:${port}`, profile, window };
  const relay = await LoadProcess.start('relay', NO_TARGET, { port, directory: data.path, profile });
  const consumer = await LoadProcess.start('rawConsumer', NO_TARGET, client);
  const producer = await LoadProcess.start('rawProducer', NO_TARGET, client);
  await producer.call('start');
  await waitShowing(`${label}: warming up`, times.warmUpMs);
  const groups = { relay: [relay], producers: [producer], consumers: [consumer] };
  const { groups: rates } = await measureWindow(`${label}: measuring`, times.windowMs, { pids: [] }, groups);
  await Promise.all([producer.close(), consumer.close()]);
  await relay.close();
  await data.remove();
  return {
    messagesPerSecond: rates.consumers.messagesPerSecond,
    syncsPerSecond: rates.relay.messagesPerSecond,
    relayCores: rates.relay.cores,
    clientCores: rates.producers.cores + rates.consumers.cores,
  };
}
