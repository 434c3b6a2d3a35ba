/** `lovage publish`: puts messages into a queue. */
import { isUtf8 } from 'node:buffer';
import type { PublishMessage, PublishOptions, Receipt } from '@lovage/client';
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
  readonly header?: Record<string, string>;
  readonly contentType?: string;
  readonly durability?: 'disk' | 'memory';
}

const DELAY = { min: 0, max: LIMITS.delayMsMax } as const;

export function addPublish(program: Command): void {
  const command = program
    .command('publish')
    .description('put messages into a queue: given bodies, standard input as one body, or lines')
    .argument('<queue>', 'queue to publish to')
    .argument('[body...]', 'a message each; "-" for standard input, which is also read when something is piped in')
    .option('--file <path>', 'publish each line of this file')
    .option('--lines', 'publish each line of standard input')
    .addOption(integerOption('--priority <number>', 'the most urgent is 255', { min: 0, max: LIMITS.priorityMax }))
    .addOption(integerOption('--delay-ms <ms>', 'deliver not before so long', DELAY))
    .addOption(integerOption('--expires-in-ms <ms>', 'drop if not delivered in so long', { ...DELAY, min: 1 }))
    .option('--dedup-key <text>', 'publish once: the same key again within the window of the queue is a duplicate')
    .addOption(pairsOption('--header <name=value>', 'a header; may be repeated'))
    .option('--content-type <type>', `what the body is (default ${CONTENT_TYPES.text} for UTF-8 text)`)
    .addOption(new Option('--durability <kind>', 'memory: gone after a restart').choices(['disk', 'memory']))
    .option('--declare', 'make the queue with default settings if it does not exist')
    .option(...JSON_OPTION);
  addSettings(command, 'client').action(publish);
}

async function publish(
  queue: string,
  words: readonly string[],
  flags: PublishFlags & Record<string, unknown>,
): Promise<void> {
  checked(() => assertName(queue, 'queue'));
  checkLengths(flags);
  const bodies = bodiesFrom({
    words,
    lines: flags.lines === true,
    file: flags.file,
    lineBytesMax: SETTINGS.bodyBytesMax.range.max,
  });
  const options = optionsOf(flags);
  const output = new Output(flags.json === true);
  const report = new Report(queue, output);
  await withClient(flags, async (client) => {
    if (flags.declare) await client.queues.declare(queue);
    const send = (batch: readonly Body[]) =>
      client.publishMany(
        queue,
        batch.map((body) => messageOf(body, options)),
      );
    await publishAll(bodies, send, (receipts) => report.add(receipts));
  });
  await report.end();
}

/** A name that cannot be one is wrong usage, found before anything is sent. */
function checked(check: () => void): void {
  try {
    check();
  } catch (error) {
    throw error instanceof LovageError ? new UsageError(error.message) : error;
  }
}

function checkLengths({ dedupKey, contentType }: PublishFlags): void {
  const lengths = [
    ['--dedup-key', dedupKey, LIMITS.dedupKeyLengthMax],
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
    headers: flags.header,
    contentType: flags.contentType,
    durability: flags.durability,
  };
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}

function messageOf(body: Body, options: PublishOptions): PublishMessage {
  if (typeof body === 'string' || options.contentType !== undefined || !isUtf8(body)) return { ...options, body };
  return { ...options, body, contentType: CONTENT_TYPES.text };
}

/** Prints a line a receipt with --json, else one line at the end. Publishing goes on when nobody reads them any more. */
class Report {
  readonly #queue: string;
  readonly #output: Output;
  readonly #ids = new IdRanges();
  #duplicates = 0;

  constructor(queue: string, output: Output) {
    this.#queue = queue;
    this.#output = output;
  }

  async add(receipts: readonly Receipt[]): Promise<void> {
    for (const receipt of receipts) {
      this.#ids.add(receipt.id);
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
      const { count } = this.#ids;
      const known = this.#duplicates === 0 ? '' : `, ${this.#duplicates} of them known already`;
      const ids = count === 0 ? '' : ` (${count === 1 ? 'id' : 'ids'} ${this.#ids})`;
      await this.#output.line(
        `Published ${count} ${count === 1 ? 'message' : 'messages'} to ${this.#queue}${ids}${known}`,
      );
    }
    await this.#output.end();
  }
}
