/** `lovage tokens` against a real broker. */
import { expect, test } from 'vitest';
import { BrokerProcess } from '../support/broker-process.js';
import { command, type Ended } from './command.js';

test('tokens are made, listed and revoked, and the first one closes a broker that was open', async () => {
  const broker = await BrokerProcess.start();
  const run = (line: string, token: string | null = null): Promise<Ended> =>
    command(line.split(' '), {
      variables: { LOVAGE_URL: broker.url, ...(token !== null && { LOVAGE_TOKEN: token }) },
    });
  expect((await run('tokens list')).out).toBe('No tokens\n');
  expect((await run('tokens create --role viewer')).error).toMatch(/^INVALID_ARGUMENT: .*expected role admin/);
  const made = await run('tokens create --role admin');
  expect(made.out).toMatch(/^Token [0-9a-f]{16} \(admin, admin\) is made\..*\nlvg_[\w-]{43}\n$/);
  const root = made.out.split('\n')[1]!;
  expect((await run('tokens list')).error).toMatch(/^UNAUTHORIZED: .*\n.*LOVAGE_TOKEN/);
  const line =
    'tokens create --role producer --name shop --only shop --write orders.*,mail --expires-in-ms 60000 --json';
  const { token, secret } = JSON.parse((await run(line, root)).out) as { token: { id: string }; secret: string };
  expect(token).toMatchObject({ name: 'shop', namespace: 'shop', write: ['orders.*', 'mail'], read: [] });
  const listed = (await run('tokens list', root)).out;
  expect(listed).toMatch(/ shop +producer +shop +- +orders\.\*,mail +- +20/);
  expect(listed).not.toContain(secret);
  expect((await run('queues list --namespace shop', secret)).out).toBe('No queues\n');
  expect((await run('queues declare a --namespace shop', secret)).error).toMatch(/^FORBIDDEN: .*configure/);
  expect((await run(`tokens revoke ${token.id}`, root)).out).toBe(`Token ${token.id} is revoked\n`);
  expect((await run(`tokens revoke ${token.id}`, root)).error).toMatch(/^TOKEN_NOT_FOUND: /);
  expect((await run('tokens create --role king', root)).code).toBe(2);
  expect((await run('tokens create --role viewer --write a?b', root)).code).toBe(2);
});
