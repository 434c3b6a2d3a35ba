/** `lovage start` as a process: what it says, whom it refuses, how it ends. */
import { writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { connect } from '@lovage/client';
import { describe, expect, test } from 'vitest';
import { BrokerProcess, runCommand, startExpectingFailure } from '../support/broker-process.js';
import { atEnd } from '../support/cleanup.js';
import { eventually } from '../support/deadline.js';
import { tempDirectory } from '../support/temp-directory.js';
import { command } from './command.js';
import { Running } from './running.js';

interface Overview {
  readonly syncClass: string;
  readonly connections: number;
  readonly journal: { readonly segments: number };
}

/** A port that stays taken until the end of the file. */
async function takenPort(): Promise<number> {
  const server: Server = createServer().listen(0, '127.0.0.1');
  atEnd(() => void server.close());
  await new Promise((resolve) => server.once('listening', resolve));
  return (server.address() as { port: number }).port;
}

describe('the ready line', () => {
  test('says where the broker listens, where its data is and when it syncs, and warns that everybody may do anything', async () => {
    const dataDir = tempDirectory();
    const start = new Running(['start', '--port', '0', '--data-dir', dataDir]);
    await start.until(({ out }) => out.includes('Warning'), 'the ready line');
    expect(start.out).toMatch(
      /^Lovage is ready at ws:\/\/127\.0\.0\.1:\d+ \(data in .*, sync always\)\nWarning: there is no token, /,
    );
    expect(start.out).toContain(dataDir);
    start.signal('SIGINT');
    expect(await start.ended()).toMatchObject({ code: 0, signal: null });
  });

  test('is one line of JSON with --json, and warns of nothing when there is a token', async () => {
    const start = new Running(['start', '--port', '0', '--memory', '--json'], { LOVAGE_TOKEN: 'sesame' });
    await start.until(({ out }) => out.endsWith('\n'), 'the ready line');
    expect(start.lines).toEqual([
      {
        ready: true,
        url: expect.stringMatching(/^ws:\/\/127\.0\.0\.1:\d+$/),
        dataDir: null,
        sync: 'memory',
        pid: start.child.pid,
        warnings: [],
      },
    ]);
    expect(start.out + start.error).not.toContain('sesame');
  });

  test('may go unread', async () => {
    const dataDir = tempDirectory();
    const start = new Running(['start', '--port', '0', '--data-dir', dataDir]);
    start.child.stdout.destroy();
    await start.until(({ error }) => error.includes('the ready line could not be printed'), 'the log of that');
    start.signal('SIGTERM');
    expect(await start.ended()).toMatchObject({ code: 0, signal: null });
  });
});

describe('settings of a process', () => {
  /** Sync class that the broker in fact has, told by `words` and `variables`. */
  async function syncOf(flags: readonly string[], variables: Record<string, string>): Promise<string> {
    const broker = await BrokerProcess.start({ flags, variables });
    const { syncClass } = await broker.get<Overview>('/api/v1/overview');
    await broker.kill();
    return syncClass;
  }

  test('come from the flag, else the variable, else the config file, else the default', async () => {
    const config = join(tempDirectory(), 'lovage.json');
    writeFileSync(config, JSON.stringify({ sync: 50 }));
    const LOVAGE_CONFIG = config;
    const LOVAGE_SYNC = 'never';
    expect(await syncOf(['--sync', 'always'], { LOVAGE_SYNC, LOVAGE_CONFIG })).toBe('always');
    expect(await syncOf([], { LOVAGE_SYNC, LOVAGE_CONFIG })).toBe('never');
    expect(await syncOf([], { LOVAGE_CONFIG })).toBe('interval');
    expect(await syncOf([], {})).toBe('always');
  });

  test('bind the limits that clients are told', async () => {
    const broker = await BrokerProcess.start({ variables: { LOVAGE_BODY_BYTES_MAX: '4KiB' } });
    const { code, error } = await command(['publish', 'q', 'x'.repeat(5_000), '--declare', '--url', broker.url]);
    expect(code).toBe(1);
    expect(error).toMatch(/^BODY_TOO_LARGE: Cannot publish: the body has 5000 bytes, expected at most 4096\n$/);
  });
});

describe('start refuses', () => {
  test('a port that is taken', async () => {
    const port = await takenPort();
    const { exit, stdout, stderr } = await startExpectingFailure({
      flags: ['--port', String(port), '--log-level=fatal'],
    });
    expect([exit.code, stdout]).toEqual([1, '']);
    const { error } = JSON.parse(stderr);
    expect(error).toMatchObject({ code: 'ADDRESS_IN_USE', message: expect.stringContaining(`127.0.0.1:${port}`) });
    expect(error.hint).toContain('--port');
  });

  test('a data directory that another broker uses', async () => {
    const { dataDir } = await BrokerProcess.start();
    const { exit, stdout, stderr } = await runCommand(['start', '--port', '0', '--data-dir', dataDir]);
    expect([exit.code, stdout]).toEqual([1, '']);
    expect(stderr).toMatch(/^DATA_DIR_LOCKED: .*\n.*--data-dir/);
    expect(stderr).toContain(dataDir);
    expect(stderr).not.toMatch(/\n +at /);
  });

  test('a data directory that cannot be made', async () => {
    const file = join(tempDirectory(), 'file');
    writeFileSync(file, '');
    const { exit, stdout, stderr } = await runCommand(['start', '--port', '0', '--data-dir', join(file, 'data')]);
    expect([exit.code, stdout]).toEqual([1, '']);
    expect(stderr).toMatch(/^ENOTDIR: /);
    expect(stderr).not.toMatch(/\n +at /);
  });

  test('an address beyond loopback without a token, but not with one or with --insecure', async () => {
    const refused = await runCommand(['start', '--port', '0', '--memory', '--host', '0.0.0.0']);
    expect(refused.exit.code).toBe(2);
    expect(refused.stderr).toMatch(/^INVALID_SETTING: Cannot listen on 0\.0\.0\.0 without a token.*--insecure/);
    const host = ['--memory', '--host', '0.0.0.0'];
    const guarded = await BrokerProcess.start({ flags: host, variables: { LOVAGE_TOKEN: 'sesame' } });
    const open = await BrokerProcess.start({ flags: [...host, '--insecure'] });
    const url = (broker: BrokerProcess) => broker.url.replace('0.0.0.0', '127.0.0.1');
    expect((await command(['status', '--url', url(guarded)])).error).toMatch(/^UNAUTHORIZED: /);
    expect((await command(['status', '--url', url(open)])).code).toBe(0);
  });
});

describe('stop', () => {
  test.each(['SIGTERM', 'SIGINT'] as const)(
    'by %s keeps what was confirmed and gives back what was under way',
    async (signal) => {
      const broker = await BrokerProcess.start();
      const client = await connect(broker.url, { reconnect: false });
      atEnd(() => client.terminate());
      await client.queues.declare('work');
      const started = new Promise<void>((resolve) => {
        // Never done: the stop must not wait for it.
        const handle = async (): Promise<void> => {
          resolve();
          await new Promise(() => undefined);
        };
        void client.consume('work', handle, { prefetch: 1 });
      });
      const confirmed = new Set<number>();
      const publishing = (async () => {
        for (;;) confirmed.add((await client.publish('work', 'x')).id);
      })();
      publishing.catch(() => undefined);
      await started;
      await eventually(
        () => confirmed.size,
        (size) => size > 20,
        'publishes under way',
      );
      broker.signal(signal);
      await expect(publishing).rejects.toMatchObject({
        code: expect.stringMatching(/^(SHUTTING_DOWN|CONNECTION_LOST)$/),
      });
      expect(await broker.exit).toEqual({ code: 0, signal: null });

      const again = await BrokerProcess.start({ dataDir: broker.dataDir, flags: ['--grace-ms', '0'] });
      const { lines } = await consumed(again.url, 'work');
      const ids = new Set(lines.map(({ id }) => id));
      expect([...confirmed].filter((id) => !ids.has(id))).toEqual([]);
      // The last publish may have been taken without its confirm being seen.
      expect(ids.size).toBeLessThanOrEqual(confirmed.size + 1);
      // Only what had started counts as an attempt.
      expect(lines.map(({ attempt }) => attempt)).toEqual(lines.map((_, i) => (i === 0 ? 2 : 1)));
    },
  );

  test('of a broker in memory forgets everything', async () => {
    const broker = await BrokerProcess.start({ flags: ['--memory'] });
    const { out } = await command(['publish', 'q', 'x', '--declare', '--json', '--url', broker.url]);
    expect(JSON.parse(out)).toEqual({ id: 1, duplicate: false, durability: 'memory' });
    expect(await broker.stop()).toEqual({ code: 0, signal: null });
    const again = await BrokerProcess.start({ dataDir: broker.dataDir, flags: ['--memory'] });
    expect((await command(['queues', 'list', '--url', again.url])).out).toBe('No queues\n');
  });

  /** Everything that is in a queue. */
  async function consumed(url: string, queue: string): Promise<{ readonly lines: Record<string, unknown>[] }> {
    const { code, out } = await command(['consume', queue, '--idle-ms', '300', '--url', url]);
    expect(code).toBe(0);
    return {
      lines: out
        .split('\n')
        .slice(0, -1)
        .map((line) => JSON.parse(line)),
    };
  }
});
