/** TLS over the real wire: certificates from files, of both sides, renewed while connections stand. */
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { get } from 'node:https';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { expect, test } from 'vitest';
import { connect, type LovageError, type TlsOptions } from '../../client-sdk/index.js';
import { BrokerProcess, runCommand, startExpectingFailure } from '../support/broker-process.js';
import { atEnd } from '../support/cleanup.js';
import { DEADLINE_MS } from '../support/deadline.js';
import { tempDirectory } from '../support/temp-directory.js';
import { certPath, keyPath } from '../support/tls-files.js';

const CA = readFileSync(certPath('ca'));
const SERVER_FLAGS = ['--tls-cert', certPath('server'), '--tls-key', keyPath('server')];

async function open(broker: BrokerProcess, tls?: TlsOptions) {
  const client = await connect(broker.url, { tls, reconnect: false });
  atEnd(() => client.terminate());
  return client;
}

function codeOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'done',
    (error: LovageError) => error.code,
  );
}

/** Common name in the certificate that the broker shows. */
function shownBy(broker: BrokerProcess): Promise<string> {
  const { port } = new URL(broker.url.replace('wss:', 'https:'));
  return new Promise((resolve, reject) => {
    const socket = connectTls({ host: '127.0.0.1', port: Number(port), ca: CA }, () => {
      resolve(String(socket.getPeerCertificate().subject.CN));
      socket.destroy();
    });
    socket.on('error', reject);
  });
}

async function untilLogged(broker: BrokerProcess, text: string, times = 1): Promise<void> {
  const endMs = performance.now() + DEADLINE_MS;
  while (broker.log.split(text).length <= times) {
    if (performance.now() > endMs) throw new Error(`"${text}" was not logged:\n${broker.log}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

test('a broker with a certificate speaks wss and https, to those who trust it, and nothing else', async () => {
  const broker = await BrokerProcess.start({ flags: SERVER_FLAGS });
  expect(broker.url).toMatch(/^wss:/);
  const client = await open(broker, { ca: CA.toString() });
  await client.queues.declare('q');
  const body = 'x'.repeat(300_000);
  await client.publish('q', body);
  for await (const delivery of client.deliveries('q')) {
    expect(Buffer.from(delivery.body).toString()).toBe(body);
    await delivery.ack();
    break;
  }
  const status = await new Promise((resolve, reject) => {
    get(`${broker.url.replace('wss:', 'https:')}/healthz`, { ca: CA }, ({ statusCode }) => resolve(statusCode)).on(
      'error',
      reject,
    );
  });
  expect(status).toBe(200);
  expect(await codeOf(open(broker))).toBe('CONNECT_FAILED');
  expect(await codeOf(open(broker, { ca: readFileSync(certPath('stranger')) }))).toBe('CONNECT_FAILED');
  expect(await codeOf(connect(broker.url.replace('wss:', 'ws:'), { reconnect: false }))).toBe('CONNECT_FAILED');
  for (const words of [['queues', 'list'], ['status']]) {
    const ended = await runCommand([...words, '--url', broker.url, '--tls-ca', certPath('ca')]);
    expect([ended.exit.code, ended.stderr]).toEqual([0, '']);
  }
});

test('a broker with an authority lets in only clients whose certificate it has signed', async () => {
  const broker = await BrokerProcess.start({ flags: [...SERVER_FLAGS, '--tls-ca', certPath('ca')] });
  const shown = (name: 'client' | 'intruder'): TlsOptions => {
    return { ca: CA, cert: readFileSync(certPath(name)), key: readFileSync(keyPath(name)) };
  };
  expect(await codeOf(open(broker, { ca: CA }))).toBe('CONNECT_FAILED');
  expect(await codeOf(open(broker, shown('intruder')))).toBe('CONNECT_FAILED');
  expect(await (await open(broker, shown('client'))).queues.list()).toEqual([]);
  const words = ['queues', 'list', '--url', broker.url, '--tls-ca', certPath('ca')];
  const own = ['--tls-cert', certPath('client'), '--tls-key', keyPath('client')];
  expect((await runCommand(words)).stderr).toMatch(/^CONNECT_FAILED/);
  expect((await runCommand([...words, ...own])).exit.code).toBe(0);
});

test('SIGHUP renews the certificate for new connections, and those that stand go on', async () => {
  const directory = tempDirectory();
  const [cert, key] = [join(directory, 'cert.pem'), join(directory, 'key.pem')];
  const show = (name: 'server' | 'server-renewed'): void => {
    copyFileSync(certPath(name), cert);
    copyFileSync(keyPath(name), key);
  };
  show('server');
  const broker = await BrokerProcess.start({ flags: ['--tls-cert', cert, '--tls-key', key] });
  const client = await open(broker, { ca: CA });
  await client.queues.declare('q');
  expect(await shownBy(broker)).toBe('broker one');
  show('server-renewed');
  broker.signal('SIGHUP');
  await untilLogged(broker, 'read again');
  expect(await shownBy(broker)).toBe('broker two');
  await client.publish('q', 'over the old connection');
  writeFileSync(key, 'no key');
  broker.signal('SIGHUP');
  await untilLogged(broker, 'cannot be used');
  expect(await shownBy(broker)).toBe('broker two');
  expect((await (await open(broker, { ca: CA })).queues.inspect('q')).ready).toBe(1);
  expect(client.status.current.state).toBe('connected');
});

test.each([
  ['a certificate without its key', ['--tls-cert', certPath('server')]],
  ['a key without its certificate', ['--tls-key', keyPath('server')]],
  ['an authority alone', ['--tls-ca', certPath('ca')]],
  ['the key of another certificate', ['--tls-cert', certPath('server'), '--tls-key', keyPath('client')]],
  ['a file that is not there', ['--tls-cert', '/nowhere.pem', '--tls-key', keyPath('server')]],
])('%s is refused at the start', async (_, flags) => {
  const { exit, stderr } = await startExpectingFailure({ flags });
  expect([exit.code, JSON.parse(stderr.trim().split('\n').at(-1)!).error.code]).toEqual([2, 'INVALID_SETTING']);
});
