/** `lovage publish`: puts messages into a queue. */
import { isUtf8 } from 'node:buffer';
import type { ExchangeTarget, PublishMessage, PublishOptions, Receipt } from '@lovage/client';
import { assertName, CONTENT_TYPES, LIMITS, LovageError } from '@lovage/protocol';
import { type Command, Option } from 'commander';
import { SETTINGS } from '../settings/index.js';
import { type Body, bodiesFrom } from './bodies.js';
import { withClient } from './client.js';
import { UsageError } from './failure.js';
import { IdRanges } from './id-ranges.js';
import { addSettings, integerOption, JSON_OPTION, pairsOption } from './options.js';
import { Output, ReaderGone } from './output.js';
import { publishAll } from './pipeline.js';

interface PublishFlags {
  readonly file?: string;
  readonly lines?: boolean;
  readonly declare?: boolean;
  readonly json?: boolean;
  readonly priority?: number;
  readonly delayMs?: number;
  readonly expiresInMs?: number;
  readonly dedupKey?: string;
  readonly rateLimit?: string;
  readonly rateKey?: string;
  readonly header?: Record<string, string>;
  readonly contentType?: string;
  readonly durability?: 'disk' | 'memory';
  readonly exchange?: string;
  readonly key?: string;
  readonly mandatory?: boolean;
}

const DELAY = { min: 0, max: LIMITS.delayMsMax } as const;

export function addPublish(program: Command): void {
  const command = program
    .command('publish')
    .description('put messages into a queue: given bodies, standard input as one body, or lines')
    .usage('[options] <queue> [body...]\n       lovage publish [options] --exchange <name> [body...]')
    .argument('[words...]', 'the queue, unless an exchange is given, and a message each; "-" for standard input')
    .option('--exchange <name>', 'publish to this exchange and not to a queue')
    .option('--key <key>', 'routing key, with --exchange (default empty)')
    .option('--mandatory', 'fail if the exchange leads the message to no queue')
    .option('--file <path>', 'publish each line of this file')
    .option('--lines', 'publish each line of standard input')
    .addOption(integerOption('--priority <number>', 'the most urgent is 255', { min: 0, max: LIMITS.priorityMax }))
    .addOption(integerOption('--delay-ms <ms>', 'deliver not before so long', DELAY))
    .addOption(integerOption('--expires-in-ms <ms>', 'drop if not delivered in so long', { ...DELAY, min: 1 }))
    .option('--dedup-key <text>', 'publish once: the same key again within the window of the queue is a duplicate')
    .option('--rate-limit <name>', 'deliver no faster than this rate limit says')
    .option('--rate-key <text>', 'with --rate-limit: the rate is for the messages of this key alone')
    .addOption(pairsOption('--header <name=value>', 'a header; may be repeated'))
    .option('--content-type <type>', `what the body is (default ${CONTENT_TYPES.text} for UTF-8 text)`)
    .addOption(new Option('--durability <kind>', 'memory: gone after a restart').choices(['disk', 'memory']))
    .option('--declare', 'make the queue with default settings if it does not exist')
    .option(...JSON_OPTION);
  addSettings(command, 'client').action(publish);
}

async function publish(given: readonly string[], flags: PublishFlags & Record<string, unknown>): Promise<void> {
  const target = targetOf(given[0], flags);
  checkLengths(flags);
  const bodies = bodiesFrom({
    words: typeof target === 'string' ? given.slice(1) : given,
    lines: flags.lines === true,
    file: flags.file,
    lineBytesMax: SETTINGS.bodyBytesMax.range.max,
  });
  const options = optionsOf(flags);
  const output = new Output(flags.json === true);
  const report = new Report(typeof target === 'string' ? target : `exchange ${target.exchange}`, output);
  await withClient(flags, async (client) => {
    if (flags.declare && typeof target === 'string') await client.queues.declare(target);
    const send = (batch: readonly Body[]) =>
      client.publishMany(
        target,
        batch.map((body) => messageOf(body, options)),
      );
    await publishAll(bodies, send, (receipts) => report.add(receipts));
  });
  await report.end();
}

/** The queue, or the exchange with its key. */
function targetOf(queue: string | undefined, { exchange, key, declare }: PublishFlags): string | ExchangeTarget {
  if (exchange === undefined) {
    if (queue === undefined) throw new UsageError("missing required argument 'queue'");
    if (key !== undefined) throw new UsageError('Cannot use --key: there is no --exchange');
    checked(() => assertName(queue, 'queue'));
    return queue;
  }
  if (exchange !== '') checked(() => assertName(exchange, 'exchange'));
  if (declare) throw new UsageError('Cannot use --declare with --exchange: it makes queues');
  return { exchange, key: key ?? '' };
}

/** A name that cannot be one is wrong usage, found before anything is sent. */
function checked(check: () => void): void {
  try {
    check();
  } catch (error) {
    throw error instanceof LovageError ? new UsageError(error.message) : error;
  }
}

function checkLengths({ dedupKey, rateLimit, rateKey, contentType }: PublishFlags): void {
  if (rateLimit !== undefined) checked(() => assertName(rateLimit, 'rate limit'));
  if (rateKey !== undefined && rateLimit === undefined)
    throw new UsageError('Cannot use --rate-key: there is no --rate-limit');
  const lengths = [
    ['--dedup-key', dedupKey, LIMITS.dedupKeyLengthMax],
    ['--rate-key', rateKey, LIMITS.rateKeyLengthMax],
    ['--content-type', contentType, LIMITS.contentTypeLengthMax],
  ] as const;
  for (const [flag, text, max] of lengths) {
    if (text !== undefined && (text.length === 0 || text.length > max)) {
      throw new UsageError(`Cannot use ${flag}: ${text.length} characters, expected 1 to ${max}`);
    }
  }
}

/** What all messages of the command have in common; a field that was not given is not there. */
function optionsOf(flags: PublishFlags): PublishOptions {
  const options = {
    priority: flags.priority,
    delayMs: flags.delayMs,
    expiresInMs: flags.expiresInMs,
    dedupKey: flags.dedupKey,
    rateLimit: flags.rateLimit,
    rateKey: flags.rateKey,
    headers: flags.header,
    contentType: flags.contentType,
    durability: flags.durability,
    mandatory: flags.mandatory,
  };
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}

function messageOf(body: Body, options: PublishOptions): PublishMessage {
  if (typeof body === 'string' || options.contentType !== undefined || !isUtf8(body)) return { ...options, body };
  return { ...options, body, contentType: CONTENT_TYPES.text };
}

/** Prints a line a receipt with --json, else one line at the end. Publishing goes on when nobody reads them any more. */
class Report {
  readonly #target: string;
  readonly #output: Output;
  readonly #ids = new IdRanges();
  #duplicates = 0;
  #unrouted = 0;

  constructor(target: string, output: Output) {
    this.#target = target;
    this.#output = output;
  }

  async add(receipts: readonly Receipt[]): Promise<void> {
    for (const receipt of receipts) {
      if (receipt.id === 0) this.#unrouted++;
      else this.#ids.add(receipt.id);
      if (receipt.duplicate) this.#duplicates++;
    }
    if (!this.#output.isJson || receipts.length === 0) return;
    const lines = receipts.map(({ id, duplicate, durability }) => JSON.stringify({ id, duplicate, durability }));
    await this.#output.item(lines.join('\n')).catch((error: unknown) => {
      if (!(error instanceof ReaderGone)) throw error;
    });
  }

  async end(): Promise<void> {
    if (!this.#output.isJson) {
      const count = this.#ids.count + this.#unrouted;
      const unrouted = this.#unrouted === 0 ? '' : `, ${this.#unrouted} of them to no queue`;
      const known = this.#duplicates === 0 ? '' : `, ${this.#duplicates} of them known already`;
      const ids = this.#ids.count === 0 ? '' : ` (${count === 1 ? 'id' : 'ids'} ${this.#ids})`;
      await this.#output.line(
        `Published ${count} ${count === 1 ? 'message' : 'messages'} to ${this.#target}${ids}${known}${unrouted}`,
      );
    }
    await this.#output.end();
  }
}
