/**
 * The composition root: builds the rooms left to right and closes them right to left.
 *
 *     journal, archive ─► engine ─► broker ─► sessions ─► gateway ─┐
 *                                                http ─────────────┴─► one port
 *
 * The port answers health checks while the journal is replayed; clients are let in when that is done.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { ARCHIVE_FILE, type Archive, openArchive } from '../archive/index.js';
import { Broker } from '../broker/broker.js';
import { LiveBrokerView } from '../broker/broker-view.js';
import { type Clock, SYSTEM_CLOCK } from '../broker/clock.js';
import { Desk } from '../broker/desk.js';
import { LOOK_MS } from '../broker/flow-gate.js';
import { Engine } from '../engine/engine.js';
import { ENGINE_DEFAULTS } from '../engine/state.js';
import { Gateway } from '../gateway/gateway.js';
import { createHttp, type HttpOptions } from '../http/index.js';
import { type Journal, MemoryJournal, openFileJournal } from '../journal/index.js';
import type { AuditLine } from '../session/audit.js';
import { Authority } from '../session/authority.js';
import { FramePool } from '../session/frame-pool.js';
import {
  allowedHosts,
  assertSafeBinding,
  isLoopback,
  isSafeBinding,
  readBrokerTls,
  type Settings,
} from '../settings/index.js';
import { diskFreeBytes, diskFreeBytesMin, messageMemoryBytes } from './host-limits.js';
import { VERSION } from './version.js';

/** ms that bytes may wait for a client that takes none of them. */
const UNSENT_MS_MAX = 10_000;
const SAMPLE_MS = 1_000;
/** ms between two lines of the log about the archive. */
const ARCHIVE_LOG_MS = 10_000;
/** Exit code after a failed sync, when nobody can know what is on the disk (EX_IOERR of sysexits.h). */
const EXIT_IO_ERROR = 74;

export interface App {
  /** `ws://host:port` or `wss://host:port`, with the port in fact taken. */
  readonly url: string;
  /** Whether everybody who reaches the port may do everything, because there is no token. */
  isOpen(): boolean;
  /** Deliveries that are not answered yet. */
  unsettled(): number;
  /** Reads the TLS files again, for connections to come; null without TLS. Throws INVALID_SETTING, and all stays as it was. */
  readonly renewTls: (() => void) | null;
  /** Refuses new work, finishes what has arrived, syncs, closes. Idempotent. */
  close(): Promise<void>;
}

type Log = NonNullable<HttpOptions['log']>;

/** Starts a broker; resolves when clients are let in. Messages and tokens go by `clock`, connections by real time. Throws ADDRESS_IN_USE, DATA_DIR_LOCKED, JOURNAL_DAMAGED, ARCHIVE_DAMAGED, ARCHIVE_TOO_NEW, INVALID_SETTING. */
export async function startApp(settings: Settings, log: Log, clock: Clock = SYSTEM_CLOCK): Promise<App> {
  // Where there is no journal there are no tokens, and nothing needs to be made to say so.
  if (settings.memory || !existsSync(settings.dataDir)) assertSafeBinding(settings, false);
  const tls = readBrokerTls(settings);
  const journal = await openJournal(settings, log);
  const archive = await openArchiveOf(settings, journal, log);
  const engine = new Engine({
    messagesMax: settings.messagesMax,
    queuesMax: settings.queuesMax,
    graceMs: settings.graceMs,
    consumerBytesMax: settings.consumerBytesMax,
    // What the broker decides to send on its own must not be what a connection is closed for.
    unsentBytesMax: Math.min(ENGINE_DEFAULTS.unsentBytesMax, settings.unsentBytesMax / 2),
  });
  const broker = new Broker({
    engine,
    journal,
    archive,
    onArchiveFailure: (err) =>
      log.error({ err }, 'results could not be archived; they stay where they are, and it is tried again'),
    clock,
    flow: {
      memoryBytesMax: messageMemoryBytes(settings.memoryMax, settings.memory ? 0 : settings.cacheBytes),
      diskFreeBytesMin: settings.memory ? 0 : diskFreeBytesMin(settings.dataDir, settings.diskFreeMin),
      diskFreeBytes: () => diskFreeBytes(settings.dataDir),
    },
  });
  const view = new LiveBrokerView(broker, clock, VERSION, () => gateway);
  const hosts = allowedHosts(settings);
  const authority = new Authority({
    tokens: engine.state.tokens,
    connectionsMaxOf: (namespace) => engine.state.queuesByName.space(namespace)?.settings?.connectionsMax ?? null,
    token: settings.token,
    isOpen: settings.insecure || isLoopback(settings.host),
    clock,
  });
  broker.watchAccess(authority);
  const onAudit = (audit: AuditLine): void => log.info({ audit }, 'audit');
  const http = createHttp({ view, authority, desk: new Desk(broker), onAudit, allowedHosts: hosts, tls, log });
  const gateway = new Gateway({
    server: http.server,
    context: {
      broker,
      framePool: new FramePool((bytes) => journal.memory(bytes)),
      settings: { ...settings, unsentMsMax: UNSENT_MS_MAX },
      authority,
      onAudit,
      onError: (err) => log.error({ err }, 'a connection failed'),
    },
    connectionsMax: settings.connectionsMax,
    allowedHosts: hosts,
    nowMs: SYSTEM_CLOCK.monotonicMs,
  });
  const sampler = setInterval(() => view.sample(), SAMPLE_MS);
  const flowWatch = setInterval(() => {
    broker.unsentBytes = gateway.unsentBytes;
    if (broker.isReady) broker.flow.look();
  }, LOOK_MS);
  let closing: Promise<void> | null = null;
  const close = async (): Promise<void> => {
    view.isStopping = true;
    gateway.refuse();
    clearInterval(sampler);
    clearInterval(flowWatch);
    await broker.settle();
    await gateway.close();
    authority.close();
    await http.close();
    await broker.close();
    await archive?.close();
  };
  const app = {
    url: '',
    isOpen: () => authority.isOpen,
    unsettled: () => {
      const { leased, started } = engine.messageCounts();
      return leased + started;
    },
    renewTls: tls === null ? null : () => http.renew(readBrokerTls(settings)!),
    close: () => (closing ??= close()),
  };
  try {
    // Nobody may reach a port that is refused, so what only the journal can tell is read before it is opened.
    const isRefusable = !isSafeBinding(settings);
    if (isRefusable) {
      await broker.recover();
      assertSafeBinding(settings, authority.hasTokens);
    }
    const { port } = await http.listen(settings);
    if (!isRefusable) await broker.recover();
    gateway.open();
    return Object.assign(app, {
      url: `${tls === null ? 'ws' : 'wss'}://${settings.host.includes(':') ? `[${settings.host}]` : settings.host}:${port}`,
    });
  } catch (error) {
    await app.close();
    throw error;
  }
}

/** Where results go, null with --memory. Who opens the journal has the directory to itself. */
async function openArchiveOf({ memory, dataDir }: Settings, journal: Journal, log: Log): Promise<Archive | null> {
  if (memory) return null;
  const toldMs = { last: Number.NEGATIVE_INFINITY };
  const onReadFailure = (err: unknown): void => {
    const nowMs = SYSTEM_CLOCK.monotonicMs();
    if (nowMs - toldMs.last < ARCHIVE_LOG_MS) return;
    toldMs.last = nowMs;
    log.error({ err }, 'the archive could not be read; results that stand there are told as not there');
  };
  const isNew = !existsSync(join(dataDir, ARCHIVE_FILE));
  try {
    return openArchive({ directory: dataDir, onReadFailure });
  } catch (err) {
    if (isNew) {
      // A full disk, for example, must not keep a broker from starting whose consumers make room.
      log.error(
        { err },
        'the archive could not be made; until the next start results stay in memory and in the journal',
      );
      return null;
    }
    await journal.close();
    throw err;
  }
}

async function openJournal(settings: Settings, log: Log): Promise<Journal> {
  if (settings.memory) return new MemoryJournal();
  const { sync } = settings;
  const journal = await openFileJournal({
    directory: settings.dataDir,
    syncClass: typeof sync === 'number' ? 'interval' : sync,
    ...(typeof sync === 'number' && { syncIntervalMs: sync }),
    segmentBytes: settings.segmentBytes,
    cacheBytes: settings.cacheBytes,
    onFatal: (err) => {
      // Rule W1: what is on the disk is not known, so nothing is confirmed or refused any more.
      log.fatal({ err }, 'the journal could not be synced; the broker stops at once');
      process.exit(EXIT_IO_ERROR);
    },
  });
  const { torn } = journal;
  if (torn !== null) log.warn({ torn }, 'the tail of the journal was torn; it was cut off and a copy kept');
  return journal;
}
