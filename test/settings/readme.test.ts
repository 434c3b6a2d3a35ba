import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { flagOf, keysOf, SETTINGS_MARKERS, settingsMarkdown, variableOf } from '../../server/settings/index.js';

const README = new URL('../../README.md', import.meta.url);

describe('settings in the README', () => {
  test('equal the table of settings', () => {
    const text = readFileSync(README, 'utf8').replaceAll('\r\n', '\n');
    const begin = text.indexOf(SETTINGS_MARKERS.begin);
    const end = text.indexOf(SETTINGS_MARKERS.end);
    expect(begin, `README.md has the line ${SETTINGS_MARKERS.begin}`).toBeGreaterThanOrEqual(0);
    expect(end, `README.md has the line ${SETTINGS_MARKERS.end}`).toBeGreaterThan(begin);
    expect(text.slice(begin + SETTINGS_MARKERS.begin.length, end).trim()).toBe(settingsMarkdown());
  });

  test('name every setting with its flag and its variable', () => {
    const markdown = settingsMarkdown();
    for (const key of [...keysOf('broker'), ...keysOf('client')]) {
      expect(markdown).toContain(`| \`${flagOf(key)}\` | \`${variableOf(key)}\` | \`${key}\` |`);
    }
  });

  test('show no value of a secret', () => expect(settingsMarkdown()).toContain('| `none` | For a broker: a token of'));
});
