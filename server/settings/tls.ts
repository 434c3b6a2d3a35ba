/** Certificates from files, at the broker and at the commands that talk to one. */
import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import { LovageError } from '@lovage/protocol';
import { flagOf, type SettingKey } from './table.js';

/** PEM texts. */
export interface TlsFiles {
  readonly cert?: string;
  readonly key?: string;
  readonly ca?: string;
}

type TlsKey = Extract<SettingKey, 'tlsCert' | 'tlsKey' | 'tlsCa'>;
type TlsSettings = Readonly<Record<TlsKey, string | null>>;

/**
 * What a broker listens with; null without TLS. Throws INVALID_SETTING for a certificate without its key or the other way, a CA without them, a file that cannot
 * be read, and files that do not belong together.
 */
export function readBrokerTls(settings: TlsSettings): TlsFiles | null {
  const { tlsCert, tlsKey, tlsCa } = settings;
  if (tlsCert === null && tlsKey === null && tlsCa === null) return null;
  if (tlsCert === null) throw missing('tlsCert', tlsKey === null ? 'tlsCa' : 'tlsKey');
  return readClientTls(settings);
}

/** What a client trusts and shows; null for the system's authorities and no certificate. Throws INVALID_SETTING. */
export function readClientTls(settings: TlsSettings): TlsFiles | null {
  const { tlsCert, tlsKey, tlsCa } = settings;
  if (tlsCert === null && tlsKey === null && tlsCa === null) return null;
  if (tlsCert === null && tlsKey !== null) throw missing('tlsCert', 'tlsKey');
  if (tlsCert !== null && tlsKey === null) throw missing('tlsKey', 'tlsCert');
  const files: TlsFiles = {
    ...(tlsCert !== null && { cert: read('tlsCert', tlsCert) }),
    ...(tlsKey !== null && { key: read('tlsKey', tlsKey) }),
    ...(tlsCa !== null && { ca: read('tlsCa', tlsCa) }),
  };
  try {
    createSecureContext(files);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : 'they do not parse';
    throw invalid(
      'tlsCert',
      `Cannot use the TLS files: ${reason}, expected PEM and a key that belongs to the certificate`,
      cause,
    );
  }
  return files;
}

function read(setting: TlsKey, path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? 'unknown error';
    throw invalid(setting, `Cannot read ${path} of ${flagOf(setting)}: ${code}, expected a readable PEM file`, cause);
  }
}

function missing(setting: TlsKey, given: TlsKey): LovageError {
  return invalid(setting, `Cannot use ${flagOf(given)}: there is no ${flagOf(setting)}, expected both`);
}

function invalid(setting: TlsKey, message: string, cause?: unknown): LovageError {
  return new LovageError('INVALID_SETTING', message, { cause, details: { setting } });
}
