/** `@lovage/client` in a browser. */
import { browserPlatform } from './browser-platform.js';
import { Client } from './client.js';
import type { ConnectOptions } from './options.js';

export * from './exports.js';

/** As `connect` in Node. The page's origin must be one that the broker lets in. */
export function connect(url: string, options: ConnectOptions = {}): Promise<Client> {
  return Client.connect(browserPlatform, url, options);
}
