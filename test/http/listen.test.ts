import { once } from 'node:events';
import { connect } from 'node:net';
import { LovageError } from '@lovage/protocol';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createHttp, type Http } from '../../server/http/index.js';
import { doorOf } from './door-of.js';
import { FakeView } from './fake-view.js';

let http: Http;
beforeEach(() => {
  http = createHttp({ view: new FakeView(), ...doorOf(), allowedHosts: null, tls: null });
});
afterEach(() => http.close());

/** Everything that the server answers to these bytes before it hangs up. */
async function talk(port: number, bytes: string): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  const chunks: Buffer[] = [];
  socket.on('data', (chunk) => chunks.push(chunk));
  socket.on('error', () => undefined);
  socket.write(bytes);
  await once(socket, 'close');
  return Buffer.concat(chunks).toString();
}

describe('http', () => {
  test('listens on a free port for port 0', async () => {
    const { port } = await http.listen({ host: '127.0.0.1', port: 0 });
    const answer = await fetch(`http://127.0.0.1:${port}/healthz`);
    expect(answer.status).toBe(200);
  });

  test('says ADDRESS_IN_USE for a port that is taken', async () => {
    const { port } = await http.listen({ host: '127.0.0.1', port: 0 });
    const other = createHttp({ view: new FakeView(), ...doorOf(), allowedHosts: null, tls: null });
    const failure = await other.listen({ host: '127.0.0.1', port }).catch((error: unknown) => error);
    await other.close();
    expect(failure).toBeInstanceOf(LovageError);
    expect(failure).toMatchObject({ code: 'ADDRESS_IN_USE', message: expect.stringContaining(`127.0.0.1:${port}`) });
  });

  test('says INVALID_SETTING for an address that this machine does not have', async () => {
    const failure = await http.listen({ host: '192.0.2.1', port: 0 }).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'INVALID_SETTING' });
  });

  test('answers what is not HTTP with a coded error and hangs up', async () => {
    const { port } = await http.listen({ host: '127.0.0.1', port: 0 });
    const answer = await talk(port, 'hello broker\r\n\r\n');
    expect(answer).toMatch(/^HTTP\/1\.1 400 /);
    expect(answer).toContain('"code":"BAD_REQUEST"');
  });

  test('answers headers beyond the limit with a coded error and hangs up', async () => {
    const { port } = await http.listen({ host: '127.0.0.1', port: 0 });
    const answer = await talk(port, `GET /healthz HTTP/1.1\r\nHost: a\r\nX-Long: ${'x'.repeat(20_000)}\r\n\r\n`);
    expect(answer).toMatch(/^HTTP\/1\.1 431 /);
    expect(answer).toContain('"code":"HEADERS_TOO_LARGE"');
  });

  test('refuses a body beyond the limit', async () => {
    const { port } = await http.listen({ host: '127.0.0.1', port: 0 });
    const answer = await fetch(`http://127.0.0.1:${port}/none`, { method: 'POST', body: 'x'.repeat(100_000) });
    expect(answer.status).toBe(413);
  });

  test('goes on for others while one sends rubbish', async () => {
    const { port } = await http.listen({ host: '127.0.0.1', port: 0 });
    await Promise.all(Array.from({ length: 20 }, () => talk(port, '\0\x01\x02\r\n\r\n')));
    expect((await fetch(`http://127.0.0.1:${port}/healthz`)).status).toBe(200);
  });

  test('closes twice without harm', async () => {
    await http.listen({ host: '127.0.0.1', port: 0 });
    await http.close();
    await http.close();
  });
});
