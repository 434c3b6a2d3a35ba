/** `lovage start`: runs a broker until it is told to stop. */
import { resolve } from 'node:path';
import type { Command } from 'commander';
import type { App } from '../app/app.js';
import { isLoopback, loadSettings, type Settings } from '../settings/index.js';
import { EXIT } from './failure.js';
import type { createLog } from './log.js';
import { addSettings, JSON_OPTION } from './options.js';
import { Output } from './output.js';
import { onStopSignal, type StopSignal } from './signals.js';

export function addStart(program: Command): void {
  const command = program
    .command('start')
    .description('run a broker; SIGINT or SIGTERM stop it when what it has taken is safe, a second one at once')
    .option(...JSON_OPTION);
  addSettings(command, 'broker').action(start);
}

async function start(flags: Record<string, unknown>): Promise<void> {
  const settings = loadSettings('broker', { flags, variables: process.env });
  // Loaded here, as the broker is, so that the other commands start without them.
  const { createLog } = await import('./log.js');
  const { log, flush } = createLog(settings.logLevel);
  process.on('exit', flush);
  // Ahead of main's own, which ends the process.
  process.prependListener('uncaughtException', (err) => log.fatal({ err }, 'the broker failed and stops at once'));
  const { startApp } = await import('../app/app.js');
  const app = await startApp(settings, log);
  const { renewTls } = app;
  if (renewTls !== null) process.on('SIGHUP', () => renew(renewTls, log));
  const stopped = new Promise<StopSignal>(onStopSignal);
  const output = new Output(flags.json === true);
  // A broker serves its clients, not the reader of its first line.
  await output.print(readyFacts(settings, app), readyText(settings, app)).catch((err: unknown) => {
    log.warn({ err }, 'the ready line could not be printed');
  });
  log.info({ signal: await stopped }, 'stopping');
  await app.close();
  log.info('stopped');
  process.exit(EXIT.done);
}

/** Certificates are renewed while the broker runs; with files that are no good it goes on with those that it has. */
function renew(renewTls: () => void, log: ReturnType<typeof createLog>['log']): void {
  try {
    renewTls();
    log.info('the TLS files are read again');
  } catch (err) {
    log.error({ err }, 'the TLS files cannot be used; the broker goes on with those that it had');
  }
}

/** What the ready line says, for programs. */
interface ReadyFacts {
  readonly ready: true;
  readonly url: string;
  /** Null with --memory. */
  readonly dataDir: string | null;
  readonly sync: Settings['sync'] | 'memory';
  readonly pid: number;
  readonly warnings: readonly string[];
}

function readyFacts(settings: Settings, app: App): ReadyFacts {
  return {
    ready: true,
    url: app.url,
    dataDir: settings.memory ? null : resolve(settings.dataDir),
    sync: settings.memory ? 'memory' : settings.sync,
    pid: process.pid,
    warnings: warnings(settings, app),
  };
}

function readyText(settings: Settings, app: App): string {
  const place = settings.memory
    ? 'in memory only, all is gone after a stop'
    : `data in ${resolve(settings.dataDir)}, sync ${syncText(settings.sync)}`;
  const told = warnings(settings, app).map((text) => `Warning: ${text}`);
  return [`Lovage is ready at ${app.url} (${place})`, ...told].join('\n');
}

function syncText(sync: Settings['sync']): string {
  return typeof sync === 'number' ? `every ${sync} ms` : sync;
}

function warnings({ host }: Settings, app: App): string[] {
  if (!app.isOpen()) return [];
  const who = isLoopback(host) ? 'every program on this machine' : `everybody who reaches ${host}`;
  return [
    `there is no token, so ${who} may read and change all queues (set LOVAGE_TOKEN to ask for one, or make tokens with "lovage tokens create --role admin")`,
  ];
}
