/** `@lovage/client` in Node. */
import { Client } from './client.js';
import { nodePlatform } from './node-platform.js';
import type { ConnectOptions } from './options.js';

export * from './exports.js';

/**
 * Connects to a broker, `ws://127.0.0.1:7420` by default of `lovage start`. Resolves when the broker has welcomed the client. Rejects CONNECT_FAILED (nobody
 * there, or no answer within `connectTimeoutMs`), UNAUTHORIZED, TOKEN_EXPIRED, FORBIDDEN (another namespace), QUOTA_EXCEEDED, TOO_MANY_ATTEMPTS, VERSION_UNSUPPORTED, TOO_MANY_CONNECTIONS, TOO_MANY_PRODUCERS, SHUTTING_DOWN,
 * INVALID_ARGUMENT, INVALID_NAME. Only a connection that once stood is made again by itself.
 */
export function connect(url: string, options: ConnectOptions = {}): Promise<Client> {
  return Client.connect(nodePlatform, url, options);
}
