/** `lovage messages` against a real broker. */
import { beforeAll, expect, test } from 'vitest';
import { BrokerProcess } from '../support/broker-process.js';
import { command, type Ended } from './command.js';

let broker: BrokerProcess;
beforeAll(async () => {
  broker = await BrokerProcess.start();
});

function run(line: string): Promise<Ended> {
  return command(line.split(' '), { variables: { LOVAGE_URL: broker.url } });
}

/** What the command printed, which must have ended well. */
async function printed(line: string): Promise<string> {
  const { code, out, error } = await run(line);
  expect([code, error]).toEqual([0, '']);
  return out;
}

test('messages are listed, peeked at, reordered, retried, moved and dropped', async () => {
  await printed('queues declare q');
  await printed('queues declare r');
  expect(await printed('messages list q')).toBe('No messages\n');
  await printed('publish q one two three --priority 2');
  await printed('publish q late --delay-ms 3600000');
  const lines = (await printed('messages list q --json')).trim().split('\n');
  const ids = lines.map((line) => (JSON.parse(line) as { id: number }).id);
  expect(ids).toHaveLength(4);
  expect(await printed('messages list q --state ready --limit 2')).toMatch(
    new RegExp(`^id +state .*came from *\\n *${ids[0]} +ready .*\\n *${ids[1]} +ready .*\\n$`),
  );
  const peeked = JSON.parse(await printed(`messages peek q ${ids[1]} --json`)) as unknown;
  expect(peeked).toMatchObject({ id: ids[1], state: 'ready', priority: 2, body: 'two', bodyBytes: 3 });
  expect(await printed(`messages priority q ${ids[2]} --to 9`)).toBe('Changed the priority of 1 of 1 messages\n');
  expect(await printed('messages retry q --dry-run')).toBe(
    'Without --dry-run: Made ready 1 of 4 messages (3 NOT_DELAYED)\n',
  );
  expect(await printed('messages retry q --state delayed')).toBe('Made ready 1 of 1 messages\n');
  expect(await printed('messages move q --priority-max 0 --to r')).toBe('Moved 1 of 1 messages\n');
  expect(await printed('consume q --count 3 --json')).toMatch(/"three".*\n.*"one".*\n.*"two"/);
  expect(JSON.parse(await printed('messages drop r --all --json'))).toEqual({ matched: 1, changed: 1, skipped: {} });
  const { code, error } = await run('messages drop r 77');
  expect([code, error]).toEqual([1, expect.stringMatching(/^MESSAGE_NOT_FOUND: .*77/)]);
});

test('dead letters are shown with where they came from, and sent back', async () => {
  await printed('queues declare full --messages-max 1 --overflow dead-letter-head --dead-letter-queue gone');
  await printed('publish full a b');
  expect(await printed('messages list gone --reason limit')).toMatch(/ full \(limit\)\n$/);
  await printed('queues declare full --messages-max 5 --merge');
  expect(await printed('messages redrive gone --from full')).toBe('Sent back 1 of 1 messages\n');
  expect(await printed('messages redrive full')).toBe('Sent back 0 of 2 messages (2 NOT_A_DEAD_LETTER)\n');
});

test.each([
  ['everything without --all', 'messages drop q', /expected ids, a filter, or --all/],
  ['ids and a filter', 'messages drop q 1 --state ready', /ids or a filter/],
  ['an id that is none', 'messages peek q zero', /whole number from 1/],
  ['no target', 'messages move q --all', /--to/],
  ['a priority out of range', 'messages priority q --all --to 256', /0 to 255/],
  ['an unknown state', 'messages list q --state gone', /ready, delayed, leased, started/],
])('(%s) is wrong usage', async (_what, line, message) => {
  const { code, out, error } = await run(line);
  expect([code, out]).toEqual([2, '']);
  expect(error).toMatch(message);
});
