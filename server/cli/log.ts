/** The log of `lovage start`: one JSON line an event, on standard error. */
import { type Logger, pino } from 'pino';
import type { LogLevel } from '../settings/index.js';

/** Bytes of log that may wait for a reader that does not read; what comes then is dropped rather than stopping the broker. */
const WAITING_BYTES_MAX = 16_777_216;

/** A pino logger that never blocks the event loop. `flush` writes what waits, for the moment before the process ends. */
export function createLog(level: LogLevel): { readonly log: Logger; readonly flush: () => void } {
  const destination = pino.destination({ dest: 2, sync: false, maxLength: WAITING_BYTES_MAX });
  const log = pino({ level, timestamp: pino.stdTimeFunctions.isoTime, base: { pid: process.pid } }, destination);
  return { log, flush: () => destination.flushSync() };
}
