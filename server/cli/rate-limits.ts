/** `lovage rate-limits`: declare limits, override them while they are in force, list and delete them. */
import type { Client } from '@lovage/client';
import { isName, LIMITS, LovageError, parseRate, type Rate, type RateLimitInfo, rateText } from '@lovage/protocol';
import { type Command, InvalidArgumentError } from 'commander';
import { withClient } from './client.js';
import { UsageError } from './failure.js';
import { addSettings, integerOption, JSON_OPTION } from './options.js';
import { Output } from './output.js';
import { pagesOf } from './pages.js';
import { textTable } from './text-table.js';

type Flags = Readonly<Record<string, unknown>>;

const RATE = '100/s, also per m, h and d';
const BURST = { min: 1, max: LIMITS.rateCountMax } as const;

export function addRateLimits(program: Command): void {
  const limits = program.command('rate-limits').description('declare, override, list and delete rate limits');
  const list = limits.command('list').description('show all rate limits of the namespace');
  addSettings(list.option(...JSON_OPTION).action(listLimits), 'client');
  for (const verb of ['declare', 'override'] as const) {
    const command = limits.command(verb).argument('<name>', 'name of the rate limit');
    if (verb === 'declare') command.description('say what a rate limit is').argument('<rate>', RATE, rateOf);
    else
      command
        .description('put another rate in its place, at once; without a rate: end that')
        .argument('[rate]', RATE, rateOf);
    command.addOption(
      integerOption('--burst <number>', 'messages at once after a rest, default those of 10 ms', BURST),
    );
    command.option(...JSON_OPTION);
    command.action((name: string, rate: Rate | undefined, flags: Flags) => setLimit(verb, name, rate, flags));
    addSettings(command, 'client');
  }
  const remove = limits.command('delete').description('delete a rate limit: what it held back may go');
  remove.argument('<name>', 'name of the rate limit');
  addSettings(remove.option(...JSON_OPTION).action(deleteLimit), 'client');
}

function rateOf(text: string): Rate {
  try {
    return parseRate(text);
  } catch (error) {
    throw new InvalidArgumentError(error instanceof LovageError ? error.message : String(error));
  }
}

async function setLimit(
  verb: 'declare' | 'override',
  name: string,
  rate: Rate | undefined,
  flags: Flags,
): Promise<void> {
  assertName(name);
  if (rate === undefined && flags.burst !== undefined) throw new UsageError('Cannot use --burst: there is no rate');
  const given = rate === undefined ? null : withBurst(rate, flags.burst);
  const info = await withClient(flags, (client) => {
    return given !== null && verb === 'declare'
      ? client.rateLimits.declare(name, given)
      : client.rateLimits.override(name, given);
  });
  await new Output(flags.json === true).print(info, `Rate limit ${name}: ${forceText(info)}`);
}

function withBurst(rate: Rate, burst: unknown): Rate {
  return typeof burst === 'number' ? { ...rate, burst } : rate;
}

async function deleteLimit(name: string, flags: Flags): Promise<void> {
  assertName(name);
  const { waiting } = await withClient(flags, (client) => client.rateLimits.delete(name));
  const text = `Deleted rate limit ${name}, which held ${waiting} ${waiting === 1 ? 'message' : 'messages'} back`;
  await new Output(flags.json === true).print({ rateLimit: name, waiting }, text);
}

async function listLimits(flags: Flags): Promise<void> {
  const output = new Output(flags.json === true);
  const rows: (string | number)[][] = [];
  await withClient(flags, async (client: Client) => {
    const page = (after?: string) => client.rateLimits.list({ after, limit: LIMITS.pageMax });
    for await (const info of pagesOf(page, ({ name }) => name)) {
      const { name, rate, override, waiting } = info;
      if (output.isJson) await output.item(JSON.stringify(info));
      else rows.push([name, textOf(rate), textOf(override), waiting]);
    }
  });
  const heads = ['rate limit', 'rate', 'override', 'waiting'];
  if (!output.isJson) await output.line(rows.length === 0 ? 'No rate limits' : textTable(heads, rows));
  await output.end();
}

/** What is in force. */
function forceText({ rate, override }: RateLimitInfo): string {
  if (override !== null) return `${rateText(override)}${rate === null ? '' : ` in place of ${rateText(rate)}`}`;
  return rate === null ? 'none any more' : rateText(rate);
}

function textOf(rate: Rate | null): string {
  return rate === null ? '-' : rateText(rate);
}

function assertName(name: string): void {
  if (!isName(name))
    throw new UsageError(`Cannot use ${JSON.stringify(name)} as rate limit: expected 1-200 of A-Z a-z 0-9 _ . : / -`);
}
