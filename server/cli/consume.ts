/** `lovage consume`: prints messages, one JSON line each, and settles each when its line has been taken by whoever reads. */
import { isUtf8 } from 'node:buffer';
import { ACK_MODES, type AckMode, isName, LIMITS } from '@lovage/protocol';
import { type Command, Option } from 'commander';
import { type BrokerClient, type Delivery, withClient } from './client.js';
import { UsageError } from './failure.js';
import { addSettings, integerOption, JSON_OPTION } from './options.js';
import { Output } from './output.js';
import { onStopSignal } from './signals.js';

interface ConsumeFlags {
  readonly count?: number;
  readonly idleMs?: number;
  readonly prefetch: number;
  readonly ack: AckMode;
}

/** `setTimeout` fires at once above this. */
const IDLE_MS_MAX = 2_147_483_647;

export function addConsume(program: Command): void {
  const command = program
    .command('consume')
    .description('print messages as JSON lines, and settle each one when its line has been taken')
    .argument('<queue...>', 'queues to take from, the first ones first')
    .addOption(
      integerOption('--count <number>', 'end after so many messages', { min: 1, max: Number.MAX_SAFE_INTEGER }),
    )
    .addOption(integerOption('--idle-ms <ms>', 'end after so long without a message', { min: 1, max: IDLE_MS_MAX }))
    .addOption(
      integerOption('--prefetch <number>', 'messages at a time that are not settled, default 100', {
        min: 1,
        max: LIMITS.prefetchMax,
      }).default(100),
    )
    .addOption(
      new Option('--ack <mode>', 'when a message is settled: printed, taken up, sent')
        .choices(ACK_MODES)
        .default('late'),
    )
    .option(JSON_OPTION[0], 'accepted for the sake of scripts; this command always prints JSON lines');
  addSettings(command, 'client').action(consume);
}

async function consume(queues: readonly string[], flags: ConsumeFlags & Record<string, unknown>): Promise<void> {
  const wrong = queues.find((queue) => !isName(queue));
  if (wrong !== undefined)
    throw new UsageError(`Cannot consume ${JSON.stringify(wrong)}: expected 1-200 of A-Z a-z 0-9 _ . : / -`);
  if (new Set(queues).size < queues.length)
    throw new UsageError('Cannot consume a queue twice: expected each name once');
  const output = new Output(true);
  await withClient(flags, (client) => new Consumption(client, output, flags).run(queues));
  await output.end();
}

/**
 * One run of the command: `running` until the count is reached, nothing came for so long, a signal came, or the output or the broker failed; then the
 * consumer is cancelled, which waits for the lines that are being written.
 */
class Consumption {
  readonly #client: BrokerClient;
  readonly #output: Output;
  readonly #flags: ConsumeFlags;
  #taken = 0;
  #writing = 0;
  #idleTimer: NodeJS.Timeout | undefined;
  #isOver = false;
  #end: () => void = () => undefined;
  #fail: (error: unknown) => void = () => undefined;

  constructor(client: BrokerClient, output: Output, flags: ConsumeFlags) {
    this.#client = client;
    this.#output = output;
    this.#flags = flags;
  }

  async run(queues: readonly string[]): Promise<void> {
    const { prefetch, count = Number.POSITIVE_INFINITY, ack } = this.#flags;
    const over = new Promise<void>((resolve, reject) => {
      this.#end = resolve;
      this.#fail = reject;
    });
    over.catch(() => undefined);
    onStopSignal(() => this.#finish());
    // No more than are wanted, so that what is left stays with the broker.
    const options = { prefetch: Math.min(prefetch, count), ack };
    const consumer = await this.#client.consume(queues, (delivery) => this.#print(delivery), options);
    this.#armIdle();
    try {
      await over;
      await consumer.cancel();
    } finally {
      clearTimeout(this.#idleTimer);
    }
  }

  async #print(delivery: Delivery): Promise<void> {
    // Handed over before the consumer was cancelled: back to its place.
    if (this.#isOver) return await delivery.nack({ requeue: true, delayMs: 0 });
    this.#taken++;
    this.#writing++;
    if (this.#taken === this.#flags.count) this.#finish();
    try {
      await this.#output.line(lineOf(delivery));
    } catch (error) {
      // Nobody took the line, so the message is not settled: the handler never ends, and the connection does.
      this.#fail(error);
      await new Promise(() => undefined);
    }
    this.#writing--;
    this.#armIdle();
  }

  #finish(): void {
    this.#isOver = true;
    this.#end();
  }

  /** Counts from the last message; while a line waits for its reader nothing is idle. */
  #armIdle(): void {
    const { idleMs } = this.#flags;
    if (idleMs === undefined || this.#isOver) return;
    clearTimeout(this.#idleTimer);
    this.#idleTimer = setTimeout(() => (this.#writing > 0 ? this.#armIdle() : this.#finish()), idleMs);
  }
}

/** A delivery as its line. A body that is UTF-8 text is a string, any other `{base64}`. */
export function lineOf(delivery: Delivery): string {
  const { id, queue, priority, attempt, redelivered, headers, contentType, body } = delivery;
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  const shown = isUtf8(bytes) ? bytes.toString() : { base64: bytes.toString('base64') };
  return JSON.stringify({ id, queue, priority, attempt, redelivered, headers, contentType, body: shown });
}
