/** What an address means for safety: who can reach it, and which names requests to it may be addressed to. */
import { LovageError } from '@lovage/protocol';
import type { Settings } from './table.js';

const LOOPBACK = /^(localhost|127(\.[0-9]{1,3}){3}|::1|::ffff:127(\.[0-9]{1,3}){3})$/;
const LOOPBACK_HOSTS: readonly string[] = ['localhost', '127.0.0.1', '[::1]'];

/** True for an address that only programs on the same machine can reach. */
export function isLoopback(host: string): boolean {
  return LOOPBACK.test(host.toLowerCase());
}

/** True for an address on loopback, with the token of `--token`, or by `insecure`. */
export function isSafeBinding({ host, token, insecure }: Pick<Settings, 'host' | 'token' | 'insecure'>): boolean {
  return token !== null || insecure || isLoopback(host);
}

/**
 * Throws INVALID_SETTING for an address beyond loopback without a token, unless `insecure` allows it. `hasStored`: the journal has tokens that hold.
 */
export function assertSafeBinding(
  { host, token, insecure }: Pick<Settings, 'host' | 'token' | 'insecure'>,
  hasStored: boolean,
): void {
  if (hasStored || isSafeBinding({ host, token, insecure })) return;
  throw new LovageError(
    'INVALID_SETTING',
    `Cannot listen on ${host} without a token: everybody who reaches the port could read and change every queue, ` +
      'expected --token (better: LOVAGE_TOKEN), tokens made by "lovage tokens create" while it listens on loopback, or --insecure to allow it',
    { details: { setting: 'host', from: 'host' } },
  );
}

/** Names that the Host header may bear, in lower case and without port; null when any may. */
export function allowedHosts({ host, allowHosts }: Pick<Settings, 'host' | 'allowHosts'>): readonly string[] | null {
  if (allowHosts.includes('*')) return null;
  if (allowHosts.length > 0) return allowHosts.map(bracketed);
  return isLoopback(host) ? [...LOOPBACK_HOSTS, bracketed(host.toLowerCase())] : null;
}

/**
 * True if a request with this Host header may be answered. The list keeps a web page whose own name was made to point at this machine (DNS
 * rebinding) from talking to the broker through a visitor's browser.
 */
export function isHostAllowed(header: string | undefined, allowed: readonly string[] | null): boolean {
  if (allowed === null) return true;
  if (header === undefined) return false;
  const name = header.toLowerCase().replace(/:[0-9]{1,5}$/, '');
  return allowed.includes(name.endsWith('.') ? name.slice(0, -1) : name);
}

function bracketed(host: string): string {
  return host.includes(':') && !host.startsWith('[') ? `[${host}]` : host;
}
