/** What of the peers is on this machine. */
import { execFileSync } from 'node:child_process';
import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import { delimiter, isAbsolute, join } from 'node:path';
import { ROOT } from '../broker/build.js';

/** Debian keeps servers where the PATH of plain users does not lead. */
const MORE_PLACES = ['/usr/sbin', '/usr/local/sbin'] as const;

/** Full path of a program, null if it is not there. */
export function pathOf(program: string): string | null {
  const places = isAbsolute(program) ? [''] : [...(process.env.PATH ?? '').split(delimiter), ...MORE_PLACES];
  return places.map((place) => (place === '' ? program : join(place, program))).find(isExecutable) ?? null;
}

/** Version of a Debian package, without what Debian adds to it. */
export function packageVersion(name: string): string {
  try {
    const words = ['-W', '-f', '$' + '{Version}', name];
    const version = execFileSync('dpkg-query', words, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
    return version.replace(/^[0-9]+:/, '').replace(/-.*$/, '');
  } catch {
    return 'unknown';
  }
}

/** Version of an npm package that a driver here is built on. */
export function libraryVersion(name: string): string {
  const places = ['bench/node_modules', 'node_modules'].map((place) => join(ROOT, place, name, 'package.json'));
  const found = places.find((path) => existsSync(path));
  return found === undefined ? 'unknown' : (JSON.parse(readFileSync(found, 'utf8')) as { version: string }).version;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
