/** What HTTP says of a real broker process. */
import { connect } from '@lovage/client';
import { beforeAll, describe, expect, test } from 'vitest';
import { command } from '../cli/command.js';
import { Running } from '../cli/running.js';
import { BrokerProcess } from '../support/broker-process.js';
import { atEnd } from '../support/cleanup.js';

const TOKEN = 'sesame';

let broker: BrokerProcess;
let address: string;
beforeAll(async () => {
  broker = await BrokerProcess.start({ variables: { LOVAGE_TOKEN: TOKEN } });
  address = broker.url.replace('ws:', 'http:');
  const client = await connect(broker.url, { token: TOKEN });
  await client.queues.declare('seen');
  await client.queues.declare('a/b');
  await client.publishMany('seen', [{ body: 'a' }, { body: 'b', delayMs: 3_600_000 }]);
  const done = new Promise<void>((resolve) => {
    void client.consume('seen', () => resolve());
  });
  await done;
  await client.close();
  atEnd(() => client.terminate());
});

function get(path: string, headers: Record<string, string> = { authorization: `Bearer ${TOKEN}` }): Promise<Response> {
  return fetch(`${address}${path}`, { headers });
}

async function json(path: string): Promise<Record<string, unknown>> {
  const answer = await get(path);
  expect(answer.status).toBe(200);
  return (await answer.json()) as Record<string, unknown>;
}

describe('a broker process', () => {
  test('is healthy and ready, for those without a token as well', async () => {
    expect(await (await get('/healthz', {})).json()).toEqual({ ok: true });
    expect(await (await get('/readyz', {})).json()).toEqual({ ready: true, recovered: 1, stopping: false });
  });

  test.each(['/metrics', '/api/v1/overview', '/api/v1/queues'])(
    'shows %s to nobody without the token',
    async (path) => {
      for (const headers of [{}, { authorization: 'Bearer wrong' }] as Record<string, string>[]) {
        const answer = await get(path, headers);
        expect(answer.status).toBe(401);
        expect(await answer.json()).toMatchObject({ error: { code: 'UNAUTHORIZED' } });
      }
    },
  );

  test('counts in its overview and its metrics what went through it', async () => {
    expect(await json('/api/v1/overview')).toMatchObject({
      isReady: true,
      queues: 2,
      connections: 0,
      messages: { ready: 0, delayed: 1, leased: 0, started: 0 },
      totals: { published: 2, delivered: 1, acked: 1 },
      journal: { isFull: false },
    });
    const page = await (await get('/metrics')).text();
    for (const line of [
      'lovage_ready 1',
      'lovage_queues 2',
      'lovage_messages_published_total 2',
      'lovage_messages_acked_total 1',
      'lovage_messages{state="delayed"} 1',
      'lovage_queue_messages{namespace="default",queue="seen",state="delayed"} 1',
      'lovage_journal_full 0',
    ]) {
      expect(page.split('\n')).toContain(line);
    }
    expect(page).toMatch(/^lovage_journal_sync_seconds_count [1-9]/m);
  });

  test('lists its queues page by page, and shows one', async () => {
    const first = await json('/api/v1/queues?limit=1&namespace=default');
    expect(first).toMatchObject({ queues: [{ name: 'a/b' }], next: 'a/b' });
    expect(await json('/api/v1/queues?namespace=default&after=a%2Fb')).toMatchObject({
      queues: [{ name: 'seen', delayed: 1 }],
      next: null,
    });
    expect(await json('/api/v1/queues/default/a%2Fb')).toMatchObject({ namespace: 'default', name: 'a/b' });
    expect((await get('/api/v1/queues/default/none')).status).toBe(404);
  });

  test('takes requests only under the names of this machine while it listens on loopback', async () => {
    const { port } = new URL(address);
    expect((await fetch(`http://localhost:${port}/healthz`)).status).toBe(200);
    const { code } = await command(['status', '--url', `ws://localhost:${port}`, '--token', TOKEN]);
    expect(code).toBe(0);
  });
});

describe('a broker that reads its journal', () => {
  const MESSAGES = 500;
  /** Every read of the journal takes at least 20 ms, so that there is time to ask while it is read. */
  const SLOW_READS = ['strace', '-D', '-f', '-qq', '-o', '/dev/null', '-e', 'trace=pread64'];
  const DELAY = ['-e', 'inject=pread64:delay_enter=20000'];

  test('answers, says how far it is, and is not ready before the end', async () => {
    // Many small segments: other work gets its turn after each.
    const filled = await BrokerProcess.start({ flags: ['--segment-bytes', '64KiB'] });
    const input = `${'x'.repeat(4_000)}\n`.repeat(MESSAGES);
    await command(['publish', 'many', '--declare', '--lines', '--url', filled.url], { input });
    await filled.stop();

    const words = ['start', '--port', '0', '--json', '--data-dir', filled.dataDir];
    const start = new Running(words, {}, [...SLOW_READS, ...DELAY]);
    await start.until(({ error }) => error.includes('listening at http'), 'the port');
    const at = /listening at (http:\S+?)"/.exec(start.error)?.[1];
    const answers: { readonly status: number; readonly ready: boolean; readonly recovered: number }[] = [];
    do {
      const answer = await fetch(`${at}/readyz`);
      answers.push({ status: answer.status, ...((await answer.json()) as { ready: boolean; recovered: number }) });
    } while (answers.at(-1)?.ready === false);
    const last = answers.pop();
    expect(last).toMatchObject({ status: 200, recovered: 1 });
    expect(answers.length).toBeGreaterThan(0);
    expect(answers.every(({ status }) => status === 503)).toBe(true);
    const shares = answers.map(({ recovered }) => recovered);
    expect(shares[0]).toBeLessThan(1);
    expect(shares).toEqual([...shares].sort((a, b) => a - b));

    await start.until(({ out }) => out.includes('"ready":true'), 'the ready line');
    const { ready } = (await (await fetch(`${at}/api/v1/queues/default/many`)).json()) as { ready: number };
    expect(ready).toBe(MESSAGES);
    start.signal('SIGTERM');
    expect((await start.ended()).code).toBe(0);
  });
});
