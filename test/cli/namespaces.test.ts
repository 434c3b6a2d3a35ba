/** `lovage namespaces` against a real broker. */
import { expect, test } from 'vitest';
import { BrokerProcess } from '../support/broker-process.js';
import { command, type Ended } from './command.js';

test('namespaces are set, listed and deleted', async () => {
  const broker = await BrokerProcess.start();
  const run = (...words: string[]): Promise<Ended> => command(words, { variables: { LOVAGE_URL: broker.url } });
  expect((await run('namespaces', 'list')).out).toBe('No namespaces\n');
  const set = ['namespaces', 'set', 'team', '--limit-queues', '1', '--queue-defaults', '{"attemptsMax": 5}'];
  expect((await run(...set)).out).toBe('Namespace team is set\n');
  expect((await run('queues', 'declare', 'a', '--namespace', 'team', '--json')).out).toContain('"attemptsMax":5');
  expect((await run('queues', 'declare', 'b', '--namespace', 'team')).error).toMatch(/^QUOTA_EXCEEDED: .*queuesMax/);
  expect((await run('namespaces', 'list')).out).toMatch(
    /^team +1 +0 +0\S* +queuesMax 1, queue defaults: attemptsMax$/m,
  );
  expect((await run('namespaces', 'delete', 'team')).out).toBe('Deleted namespace team with 1 queues and 0 messages\n');
  expect((await run('namespaces', 'delete', 'team')).error).toMatch(/^NAMESPACE_NOT_FOUND: /);
  for (const bad of ['{', '{"attemptsMax": "x"}'])
    expect((await run('namespaces', 'set', 'team', '--queue-defaults', bad)).code).toBe(2);
});
