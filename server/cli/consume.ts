/** `lovage consume`: prints messages, one JSON line each, and settles each when its line has been taken by whoever reads. */
import { isUtf8 } from 'node:buffer';
import type { Client, Consumer, Delivery } from '@lovage/client';
import { ACK_MODES, type AckMode, isName, LIMITS } from '@lovage/protocol';
import { type Command, Option } from 'commander';
import { withClient } from './client.js';
import { UsageError } from './failure.js';
import { addSettings, integerOption, JSON_OPTION } from './options.js';
import { Output } from './output.js';
import { onStopSignal } from './signals.js';

interface ConsumeFlags {
  readonly count?: number;
  readonly idleMs?: number;
  readonly prefetch: number;
  readonly ack: AckMode;
  readonly priority?: number;
  readonly declare?: boolean;
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
      integerOption('--prefetch <number>', 'messages at a time that are not settled', {
        min: 1,
        max: LIMITS.prefetchMax,
      }).default(100),
    )
    .addOption(
      new Option('--ack <mode>', 'settle a message when it is printed (late), taken up (early) or sent (none)')
        .choices(ACK_MODES)
        .default('late'),
    )
    .addOption(
      integerOption('--priority <number>', 'before consumers of a lower one; the most urgent is 255', {
        min: 0,
        max: LIMITS.priorityMax,
      }),
    )
    .option('--declare', 'make the queues with default settings if they do not exist')
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
  await withClient(flags, async (client) => {
    if (flags.declare) for (const queue of queues) await client.queues.declare(queue);
    await new Consumption(client, output, flags).run(queues);
  });
  await output.end();
}

/**
 * One run of the command: `running` until the count is reached, nothing came for so long, a signal came, or the output or the broker failed; then the
 * consumer is cancelled, which waits for the lines that are being written.
 *
 * With a count the prefetch is never above what is still wanted, so what is left stays with the broker, untouched:
 *
 *     delivered  <=  settled + prefetch  <=  count
 */
class Consumption {
  readonly #client: Client;
  readonly #output: Output;
  readonly #flags: ConsumeFlags;
  readonly #countMax: number;
  #consumer: Promise<Consumer> | null = null;
  #prefetch: number;
  #shrinking: Promise<void> | null = null;
  #taken = 0;
  #writing = 0;
  /** Written, and settled as soon as the broker knows how much is still wanted. */
  #written = 0;
  #idleTimer: NodeJS.Timeout | undefined;
  #isOver = false;
  #end: () => void = () => undefined;
  #fail: (error: unknown) => void = () => undefined;

  constructor(client: Client, output: Output, flags: ConsumeFlags) {
    this.#client = client;
    this.#output = output;
    this.#flags = flags;
    this.#countMax = flags.count ?? Number.POSITIVE_INFINITY;
    this.#prefetch = Math.min(flags.prefetch, this.#countMax);
  }

  async run(queues: readonly string[]): Promise<void> {
    const over = new Promise<void>((resolve, reject) => {
      this.#end = resolve;
      this.#fail = reject;
    });
    over.catch(() => undefined);
    onStopSignal(() => this.#finish());
    const { ack, priority } = this.#flags;
    const options = { prefetch: this.#prefetch, concurrency: this.#prefetch, ack, priority };
    this.#consumer = this.#client.consume(queues, (delivery) => this.#print(delivery), options);
    const consumer = await this.#consumer;
    void consumer.ended.then((error) => error !== null && this.#fail(error));
    this.#armIdle();
    try {
      await over;
      await consumer.cancel();
    } finally {
      clearTimeout(this.#idleTimer);
    }
  }

  async #print(delivery: Delivery): Promise<void> {
    this.#taken++;
    this.#writing++;
    if (this.#taken === this.#countMax) this.#finish();
    try {
      await this.#output.line(lineOf(delivery));
    } catch (error) {
      // Nobody took the line, so the message is not settled: the handler never ends, and the connection does.
      this.#fail(error);
      await new Promise(() => undefined);
    }
    this.#writing--;
    this.#written++;
    this.#armIdle();
    if (this.#countMax - this.#written < this.#prefetch) await this.#shrink();
  }

  /** Resolves when the broker sends no more than what is wanted beyond the lines that are written. */
  #shrink(): Promise<void> {
    this.#shrinking ??= this.#shrinkOnce();
    return this.#shrinking;
  }

  async #shrinkOnce(): Promise<void> {
    // Lines that were written together ask together.
    await null;
    this.#shrinking = null;
    if (this.#isOver) return;
    this.#prefetch = this.#countMax - this.#written;
    const consumer = await this.#consumer;
    await consumer?.setPrefetch(this.#prefetch).catch(this.#fail);
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
export function lineOf(
  delivery: Omit<Delivery, 'signal' | 'value' | 'ack' | 'complete' | 'nack' | 'progress' | 'log'>,
): string {
  const { id, queue, priority, attempt, redelivered, headers, contentType, body } = delivery;
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  const shown = isUtf8(bytes) ? bytes.toString() : { base64: bytes.toString('base64') };
  return JSON.stringify({ id, queue, priority, attempt, redelivered, headers, contentType, body: shown }, jsonOf);
}

/** Values of headers that JSON does not have: large whole numbers as text, bytes as `{base64}`. */
function jsonOf(_key: string, value: unknown): unknown {
  if (typeof value === 'bigint') return String(value);
  return value instanceof Uint8Array ? { base64: Buffer.from(value).toString('base64') } : value;
}
