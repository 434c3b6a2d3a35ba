/** `lovage rate-limits` against a real broker. */
import { expect, test } from 'vitest';
import { BrokerProcess } from '../support/broker-process.js';
import { command, type Ended } from './command.js';

test('rate limits are declared, overridden, seen at work and deleted', async () => {
  const broker = await BrokerProcess.start();
  const run = (...words: string[]): Promise<Ended> => command(words, { variables: { LOVAGE_URL: broker.url } });
  expect((await run('rate-limits', 'list')).out).toBe('No rate limits\n');
  expect((await run('rate-limits', 'declare', 'sms', '1/d')).out).toBe('Rate limit sms: 1/d\n');
  const published = ['publish', 'q', 'a', 'b', 'c', '--declare', '--rate-limit', 'sms', '--rate-key', '+43'];
  expect((await run(...published)).out).toMatch(/^Published 3 /);
  expect((await run('consume', 'q', '--count', '1', '--json')).out).toContain('"body":"a"');
  expect((await run('rate-limits', 'list')).out).toMatch(/^sms +1\/d +- +2$/m);
  const overridden = await run('rate-limits', 'override', 'sms', '5/m', '--burst', '3');
  expect(overridden.out).toBe('Rate limit sms: 5/m burst 3 in place of 1/d\n');
  expect((await run('consume', 'q', '--count', '2', '--json')).code).toBe(0);
  expect((await run('rate-limits', 'override', 'sms')).out).toBe('Rate limit sms: 1/d\n');
  expect(JSON.parse((await run('rate-limits', 'list', '--json')).out)).toMatchObject({ name: 'sms', waiting: 0 });
  expect((await run('rate-limits', 'delete', 'sms')).out).toBe('Deleted rate limit sms, which held 0 messages back\n');
  expect((await run('rate-limits', 'delete', 'sms')).error).toMatch(/^RATE_LIMIT_NOT_FOUND: /);
  for (const bad of [
    ['rate-limits', 'declare', 'sms', '1/w'],
    ['rate-limits', 'declare', 'a b', '1/s'],
    ['rate-limits', 'override', 'sms', '--burst', '3'],
    ['publish', 'q', 'a', '--rate-key', 'k'],
    ['publish', 'q', 'a', '--rate-limit', 'a b'],
  ])
    expect((await run(...bad)).code).toBe(2);
});
