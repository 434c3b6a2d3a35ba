/** Certificates for tests, see tls/README.md. */
import { fileURLToPath } from 'node:url';

export type TlsName = 'ca' | 'stranger' | 'server' | 'server-renewed' | 'client' | 'intruder';

export function certPath(name: TlsName): string {
  return fileURLToPath(new URL(`tls/${name}.pem`, import.meta.url));
}

export function keyPath(name: Exclude<TlsName, 'ca' | 'stranger'>): string {
  return fileURLToPath(new URL(`tls/${name}-key.pem`, import.meta.url));
}
