import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createHttp, type Http } from '../../server/http/index.js';
import { doorOf } from './door-of.js';
import { FakeView } from './fake-view.js';

const TOKEN = 'correct-horse-battery-staple';
let http: Http;
let nowMs: number;

function open(options: { token?: string | null; allowedHosts?: readonly string[] | null } = {}) {
  const { token = TOKEN, allowedHosts = null } = options;
  http = createHttp({ view: new FakeView(), ...doorOf(token, () => nowMs), allowedHosts, tls: null });
}

beforeEach(() => {
  nowMs = 1_000_000;
});
afterEach(() => http.close());

async function get(url: string, headers: Record<string, string> = {}, remoteAddress = '10.0.0.1') {
  return http.fastify.inject({ method: 'GET', url, headers, remoteAddress });
}
const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

describe('token', () => {
  beforeEach(() => open());

  test.each(['/api/v1/overview', '/api/v1/queues', '/metrics', '/no-such-page'])('is needed for %s', async (url) => {
    const answer = await get(url);
    expect([answer.statusCode, answer.json().error.code]).toEqual([401, 'UNAUTHORIZED']);
    expect(answer.headers['www-authenticate']).toBe('Bearer');
  });

  test.each(['/healthz', '/readyz'])('is not needed for %s', async (url) =>
    expect((await get(url)).statusCode).toBe(200),
  );

  test('lets in', async () => expect((await get('/api/v1/overview', bearer(TOKEN))).statusCode).toBe(200));

  test.each([
    bearer('wrong'),
    bearer(`${TOKEN}x`),
    bearer(TOKEN.slice(1)),
    { authorization: TOKEN },
    { authorization: `Basic ${Buffer.from(`a:${TOKEN}`).toString('base64')}` },
    { authorization: 'Bearer ' },
    { authorization: `Bearer ${'x'.repeat(600)}` },
    { cookie: `token=${TOKEN}` },
    { 'x-token': TOKEN },
  ])('is not %j', async (headers) => expect((await get('/api/v1/overview', headers)).statusCode).toBe(401));

  test.each([`?token=${TOKEN}`, `?access_token=${TOKEN}`])('is not taken from the URL (%s)', async (query) => {
    expect((await get(`/api/v1/overview${query}`)).statusCode).toBe(401);
  });

  test.each(['/%68ealthz', '/healthz/', '/healthz/../api/v1/overview', '//api/v1/overview', '/API/v1/overview'])(
    'cannot be talked around with %s',
    async (url) => {
      const answer = await get(url);
      if (answer.statusCode === 200) expect(answer.json()).toEqual({ ok: true });
      else expect(answer.statusCode).toBe(401);
    },
  );
});

describe('wrong tokens', () => {
  beforeEach(() => open());

  async function failTimes(times: number, address?: string) {
    for (let i = 0; i < times; i++) {
      expect((await get('/metrics', bearer(`guess-${i}`), address)).statusCode).toBe(401);
    }
  }

  test('beyond ten a minute shut an address out until the minute is over', async () => {
    await failTimes(10);
    const refused = await get('/metrics', bearer(TOKEN));
    expect([refused.statusCode, refused.json().error.code]).toEqual([429, 'TOO_MANY_ATTEMPTS']);
    expect(refused.headers['retry-after']).toBe('60');
    expect((await get('/healthz')).statusCode).toBe(200);
    nowMs += 59_999;
    expect((await get('/metrics', bearer(TOKEN))).statusCode).toBe(429);
    nowMs += 1;
    expect((await get('/metrics', bearer(TOKEN))).statusCode).toBe(200);
  });

  test('of one address are not held against another', async () => {
    await failTimes(10);
    expect((await get('/metrics', bearer(TOKEN), '10.0.0.2')).statusCode).toBe(200);
  });

  test('count for the whole of an IPv6 network of 64 bits', async () => {
    await failTimes(5, '2001:db8:1:2:3:4:5:6');
    await failTimes(5, '2001:db8:1:2::7');
    expect((await get('/metrics', bearer(TOKEN), '2001:db8:1:2:ffff::')).statusCode).toBe(429);
    expect((await get('/metrics', bearer(TOKEN), '2001:db8:1:3::7')).statusCode).toBe(200);
    expect((await get('/metrics', bearer(TOKEN), '2001:db8::2')).statusCode).toBe(200);
  });

  test('are not counted when there was no token at all', async () => {
    for (let i = 0; i < 20; i++) expect((await get('/metrics')).statusCode).toBe(401);
    expect((await get('/metrics', bearer(TOKEN))).statusCode).toBe(200);
  });
});

describe('Host header', () => {
  beforeEach(() => open({ token: null, allowedHosts: ['localhost', '127.0.0.1'] }));

  test('of an allowed name lets in, with any port', async () => {
    for (const host of ['localhost', 'localhost:7420', '127.0.0.1:1']) {
      expect((await get('/api/v1/overview', { host })).statusCode).toBe(200);
    }
  });

  test('of another name is refused', async () => {
    const answer = await get('/api/v1/overview', { host: 'rebound.example:7420' });
    expect([answer.statusCode, answer.json().error.code]).toEqual([403, 'HOST_NOT_ALLOWED']);
  });

  test('does not matter to probes', async () => {
    expect((await get('/readyz', { host: '10.1.2.3:7420' })).statusCode).toBe(200);
  });
});

describe('every answer', () => {
  test.each(['/healthz', '/api/v1/overview', '/metrics', '/none', '/api/v1/queues?limit=x', '/api/v1/queues/%zz/x'])(
    'has the headers that keep browsers careful (%s)',
    async (url) => {
      open({ token: null });
      expect((await get(url)).headers).toMatchObject({
        'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
        'x-content-type-options': 'nosniff',
        'x-frame-options': 'DENY',
        'cache-control': 'no-store',
      });
    },
  );
});
