/** Which Lovage is measured: the broker's command and the SDK, both from one checkout. */
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

export interface Build {
  /** Path of the program that `node` runs as `lovage`. */
  readonly command: string;
  /** URL of the SDK's module. */
  readonly sdk: string;
}

/** The checkout that this file was built in: `bench/dist/broker/build.js` in it. */
export const ROOT = dirname(dirname(dirname(dirname(fileURLToPath(import.meta.url)))));

export function buildIn(root: string): Build {
  return {
    command: join(root, 'server/bin/lovage.js'),
    sdk: pathToFileURL(join(root, 'client-sdk/dist/index.js')).href,
  };
}
