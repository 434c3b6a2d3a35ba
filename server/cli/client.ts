/** What the commands ask of the SDK, and how they get hold of it. */
import type { QueueInfo, QueueSettings } from '@lovage/protocol';
import { type ClientSettings, loadSettings } from '../settings/index.js';

export interface Receipt {
  readonly id: number;
  readonly duplicate: boolean;
  readonly durability: string;
}

export interface PublishOptions {
  priority?: number;
  headers?: Record<string, unknown>;
  delayMs?: number;
  expiresInMs?: number;
  dedupKey?: string;
  durability?: 'disk' | 'memory';
  contentType?: string;
}

export interface Delivery {
  readonly id: number;
  readonly queue: string;
  readonly priority: number;
  readonly attempt: number;
  readonly redelivered: boolean;
  readonly headers: Record<string, unknown>;
  readonly contentType: string | null;
  readonly body: Uint8Array;
  nack(options: { requeue: boolean; delayMs: number }): Promise<void>;
}

export interface Consumer {
  cancel(): Promise<void>;
}

export interface BrokerClient {
  readonly queues: {
    declare(queue: string, settings?: Partial<QueueSettings>): Promise<unknown>;
    delete(queue: string, options?: { ifEmpty?: boolean; ifUnused?: boolean }): Promise<unknown>;
    purge(queue: string): Promise<unknown>;
    pause(queue: string): Promise<unknown>;
    resume(queue: string): Promise<unknown>;
    inspect(queue: string): Promise<QueueInfo>;
    list(options?: { after?: string; limit?: number }): Promise<readonly QueueInfo[]>;
  };
  publishMany(queue: string, messages: readonly ({ body: unknown } & PublishOptions)[]): Promise<Receipt[]>;
  consume(
    queues: readonly string[],
    handler: (delivery: Delivery) => Promise<void>,
    options: { prefetch: number; ack: 'late' | 'early' | 'none' },
  ): Promise<Consumer>;
  close(): Promise<void>;
  terminate(): void;
}

/** Connects by the settings among `flags`, runs, and closes. A failure of `run` wins over one of closing. */
export async function withClient<T>(
  flags: Record<string, unknown>,
  run: (client: BrokerClient) => Promise<T>,
): Promise<T> {
  const settings = loadSettings('client', { flags, variables: process.env });
  const client = await open(settings);
  let result: T;
  try {
    result = await run(client);
  } catch (error) {
    client.terminate();
    throw error;
  }
  await client.close();
  return result;
}

async function open({ url, token, namespace }: ClientSettings): Promise<BrokerClient> {
  const { connect } = (await import(SDK)) as { connect: (url: string, options: object) => Promise<BrokerClient> };
  return await connect(url, { ...(token === null ? {} : { token }), namespace, name: 'lovage-cli' });
}

const SDK: string = '@lovage/client';
