/** `lovage status`: how a broker does, from its HTTP API. */
import type { Command } from 'commander';
import { loadSettings, showBytes } from '../settings/index.js';
import { getJson } from './http-get.js';
import { addSettings, JSON_OPTION } from './options.js';
import { Output } from './output.js';
import { textPairs } from './text-table.js';

/** What is shown of the HTTP API's overview; --json passes all of it on. */
interface Overview {
  readonly version: string;
  readonly uptimeMs: number;
  readonly syncClass: string;
  readonly isReady: boolean;
  readonly isStopping: boolean;
  readonly connections: number;
  readonly sessions: number;
  readonly consumers: number;
  readonly queues: number;
  readonly messages: Readonly<Record<string, number>>;
  readonly totals: Readonly<Record<string, number>>;
  readonly rates: { readonly published: number; readonly delivered: number; readonly acked: number };
  readonly journal: { readonly segments: number; readonly bytes: number; readonly isFull: boolean };
  readonly archive: { readonly results: number; readonly fileBytes: number; readonly failures: number } | null;
  readonly flow: {
    readonly reason: string | null;
    readonly memoryBytes: number;
    readonly memoryBytesMax: number | null;
  };
}

const CLIENTS = ['connection', 'session', 'consumer'] as const;

export function addStatus(program: Command): void {
  const command = program
    .command('status')
    .description('show how a broker does')
    .option(...JSON_OPTION);
  addSettings(command, 'client').action(status);
}

async function status(flags: Record<string, unknown>): Promise<void> {
  const settings = loadSettings('client', { flags, variables: process.env });
  const overview = (await getJson(settings, 'api/v1/overview')) as Overview;
  await new Output(flags.json === true).print(overview, overviewText(overview, settings.url));
}

function overviewText(overview: Overview, url: string): string {
  const { messages, totals, rates, journal, archive, flow } = overview;
  const state = overview.isStopping ? 'stopping' : overview.isReady ? 'ready' : 'reading its journal';
  return textPairs([
    ['Broker', `Lovage ${overview.version} at ${url}, ${state}, up ${durationText(overview.uptimeMs)}`],
    ['Clients', CLIENTS.map((name) => countText(overview[`${name}s`], name)).join(', ')],
    ['Queues', overview.queues],
    [
      'Messages',
      Object.entries(messages)
        .map(([name, count]) => `${count} ${name}`)
        .join(', '),
    ],
    [
      'Totals',
      `${totals.published} published, ${totals.delivered} delivered, ${totals.acked} acked, ${totals.returned} returned`,
    ],
    [
      '',
      `${totals.dropped} dropped, ${totals.expired} expired, ${totals.purged} purged, ${totals.duplicates} duplicates`,
    ],
    [
      '',
      `${totals.deadLettered} dead-lettered, ${totals.evicted} evicted, ${totals.exhausted} exhausted, ${totals.moved} moved, ${totals.archived} archived`,
    ],
    [
      'Per second',
      `${rateText(rates.published)} published, ${rateText(rates.delivered)} delivered, ${rateText(rates.acked)} acked`,
    ],
    [
      'Memory',
      `${sizeText(flow.memoryBytes)}${flow.memoryBytesMax === null ? '' : ` of ${sizeText(flow.memoryBytesMax)}`} for messages${flow.reason === null ? '' : `, PUBLISHERS WAIT (${flow.reason})`}`,
    ],
    [
      'Journal',
      `sync ${overview.syncClass}, ${countText(journal.segments, 'segment')}, ${sizeText(journal.bytes)}${journal.isFull ? ', DISK FULL' : ''}`,
    ],
    ...archiveText(archive),
  ]);
}

/** A broker without a data directory, or of an older version, has none. */
function archiveText(archive: Overview['archive'] | undefined): [string, string][] {
  if (archive === null || archive === undefined) return [];
  const { results, fileBytes, failures } = archive;
  const failed = failures === 0 ? '' : `, ${countText(failures, 'failure')}`;
  return [['Archive', `${countText(results, 'result')}, ${sizeText(fileBytes)}${failed}`]];
}

const DURATIONS = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['min', 60_000],
  ['s', 1_000],
] as const;

/** The two largest units: `3 d 4 h`. */
export function durationText(ms: number): string {
  const first = DURATIONS.findIndex(([, unit]) => ms >= unit);
  if (first < 0) return '0 s';
  const parts = DURATIONS.slice(first, first + 2).map(([name, unit], i) => {
    const above = i === 0 ? Number.POSITIVE_INFINITY : (DURATIONS[first]?.[1] ?? 1);
    return `${Math.floor((ms % above) / unit)} ${name}`;
  });
  return parts.join(' ');
}

function countText(count: number, name: string): string {
  return `${count} ${name}${count === 1 ? '' : 's'}`;
}

function rateText(rate: number): string {
  return rate >= 100 ? String(Math.round(rate)) : String(Math.round(rate * 10) / 10);
}

/** `64MiB` for whole units, else the nearest tenth: `1.5 MiB`. */
function sizeText(bytes: number): string {
  const exact = showBytes(bytes);
  if (/[A-Z]/i.test(exact) || bytes < 1_024) return /[A-Z]/i.test(exact) ? exact : `${exact} bytes`;
  const power = Math.min(3, Math.floor(Math.log2(bytes) / 10));
  return `${Math.round((bytes / 1_024 ** power) * 10) / 10}${['', 'KiB', 'MiB', 'GiB'][power]}`;
}
