import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createHttp, type Http } from '../../server/http/index.js';
import { doorOf } from './door-of.js';
import { FakeView, queueInfo } from './fake-view.js';

let view: FakeView;
let http: Http;
beforeEach(() => {
  view = new FakeView();
  http = createHttp({ view, ...doorOf(), allowedHosts: null, tls: null });
});
afterEach(() => http.close());

const get = (url: string) => http.fastify.inject({ method: 'GET', url });

describe('probes', () => {
  test('healthz answers 200 even while the broker recovers', async () => {
    view.isReady = false;
    const answer = await get('/healthz');
    expect([answer.statusCode, answer.json()]).toEqual([200, { ok: true }]);
  });

  test('readyz answers 503 with the share recovered, then 200, then 503 while stopping', async () => {
    Object.assign(view, { isReady: false, recoveredShare: 0.25 });
    const recovering = await get('/readyz');
    expect([recovering.statusCode, recovering.json()]).toEqual([
      503,
      { ready: false, recovered: 0.25, stopping: false },
    ]);
    Object.assign(view, { isReady: true, recoveredShare: 1 });
    const ready = await get('/readyz');
    expect([ready.statusCode, ready.json()]).toEqual([200, { ready: true, recovered: 1, stopping: false }]);
    view.isStopping = true;
    const stopping = await get('/readyz');
    expect([stopping.statusCode, stopping.json()]).toEqual([503, { ready: false, recovered: 1, stopping: true }]);
  });
});

describe('overview', () => {
  test('is what the broker says', async () => {
    const answer = await get('/api/v1/overview');
    expect(answer.statusCode).toBe(200);
    expect(answer.json()).toEqual(view.overview());
  });

  test('that fails answers 500 and tells nothing of the failure', async () => {
    view.failure = new Error('secret inside');
    const answer = await get('/api/v1/overview');
    expect(answer.statusCode).toBe(500);
    expect(answer.json()).toEqual({ error: { code: 'INTERNAL_ERROR', message: 'the broker failed on this request' } });
  });
});

describe('exchanges and bindings', () => {
  const exchange = (name: string, namespace = 'default') =>
    ({ name, namespace, type: 'topic', alternate: null, bindings: 0, totals: { published: 0, unrouted: 0 } }) as const;
  const binding = (id: number, from: string, namespace = 'default') =>
    ({ id, namespace, exchange: from, queue: 'q', toExchange: null, key: '#', headers: null, match: null }) as const;

  beforeEach(() => {
    view.exchangeList = [exchange('x'), exchange('y'), exchange('z', 'other')];
    view.bindingList = [binding(1, 'x'), binding(4, 'y'), binding(5, 'x'), binding(6, 'z', 'other')];
  });

  test('are listed page by page', async () => {
    const first = (await get('/api/v1/exchanges?limit=2')).json();
    // The last name waits for the next page, which other namespaces may share it on.
    expect(first).toEqual({ exchanges: [exchange('x')], next: 'x' });
    expect((await get('/api/v1/exchanges?namespace=default&after=x')).json()).toEqual({
      exchanges: [exchange('y')],
      next: null,
    });
    const bindings = (await get('/api/v1/bindings?limit=3')).json();
    expect(bindings).toEqual({ bindings: view.bindingList.slice(0, 3), next: 5 });
    expect((await get('/api/v1/bindings?after=5&limit=3')).json()).toEqual({
      bindings: view.bindingList.slice(3),
      next: null,
    });
  });

  test('are found by namespace and exchange', async () => {
    const found = (await get('/api/v1/bindings?namespace=default&exchange=x')).json();
    expect(found).toEqual({ bindings: [binding(1, 'x'), binding(5, 'x')], next: null });
  });

  test('are not told for fields that are wrong, nor before they are known', async () => {
    for (const url of ['/api/v1/bindings?after=-1', '/api/v1/exchanges?exchange=x', '/api/v1/bindings?limit=0'])
      expect((await get(url)).json().error.code, url).toBe('INVALID_ARGUMENT');
    view.isReady = false;
    for (const url of ['/api/v1/bindings', '/api/v1/exchanges']) expect((await get(url)).statusCode).toBe(503);
  });
});

describe('queues', () => {
  beforeEach(() => {
    view.list = ['a', 'b', 'c', 'images/resize'].map((name, i) => queueInfo(name, i));
    view.list.push(queueInfo('z', 9, 'team/one'));
  });

  test('are listed page by page', async () => {
    const first = (await get('/api/v1/queues?namespace=default&limit=3')).json();
    expect(first.queues.map((queue: { name: string }) => queue.name)).toEqual(['a', 'b', 'c']);
    expect(first.next).toBe('c');
    const second = (await get('/api/v1/queues?namespace=default&limit=3&after=c')).json();
    expect(second.queues.map((queue: { name: string }) => queue.name)).toEqual(['images/resize']);
    expect(second.next).toBeNull();
  });

  test('of all namespaces are listed without a namespace', async () => {
    expect((await get('/api/v1/queues')).json().queues).toHaveLength(5);
  });

  test('of all namespaces lose none of a name that several share at the edge of a page', async () => {
    view.list = ['a', 'b', 'b', 'c'].map((name, i) => queueInfo(name, i, `team-${i}`));
    const seen: string[] = [];
    for (let after: string | null = ''; after !== null; ) {
      const page: { queues: { namespace: string; name: string }[]; next: string | null } = (
        await get(`/api/v1/queues?limit=2${after === '' ? '' : `&after=${after}`}`)
      ).json();
      for (const queue of page.queues) seen.push(`${queue.namespace} ${queue.name}`);
      after = page.next;
    }
    expect(seen).toEqual(['team-0 a', 'team-1 b', 'team-2 b', 'team-3 c']);
  });

  test.each(['/api/v1/queues/default/images%2Fresize', '/api/v1/queues/team%2Fone/z'])(
    '%s is one queue',
    async (url) => {
      const answer = await get(url);
      expect(answer.statusCode).toBe(200);
      expect(view.list).toContainEqual(answer.json());
    },
  );

  test('may have names of 200 characters, all of them encoded', async () => {
    const name = '/'.repeat(200);
    view.list.push(queueInfo(name));
    expect((await get(`/api/v1/queues/default/${encodeURIComponent(name)}`)).statusCode).toBe(200);
  });

  test('that do not exist are QUEUE_NOT_FOUND', async () => {
    const answer = await get('/api/v1/queues/default/none');
    expect(answer.statusCode).toBe(404);
    expect(answer.json().error).toMatchObject({
      code: 'QUEUE_NOT_FOUND',
      details: { namespace: 'default', name: 'none' },
    });
  });

  test('are not answered for while the journal is read', async () => {
    Object.assign(view, { isReady: false, recoveredShare: 0.5 });
    for (const url of ['/api/v1/queues', '/api/v1/queues/default/none']) {
      const answer = await get(url);
      expect(answer.statusCode).toBe(503);
      expect(answer.json().error).toMatchObject({ code: 'NOT_READY', details: { recovered: 0.5 } });
    }
  });

  test.each([
    ['limit=0', 'INVALID_ARGUMENT', 'limit'],
    ['limit=1001', 'INVALID_ARGUMENT', 'limit'],
    ['limit=ten', 'INVALID_ARGUMENT', 'limit'],
    ['limit=-1', 'INVALID_ARGUMENT', 'limit'],
    ['limit=', 'INVALID_ARGUMENT', 'limit'],
    ['limit=1&limit=2', 'INVALID_ARGUMENT', 'limit'],
    ['namespace=a%20b', 'INVALID_NAME', 'namespace'],
    ['namespace=', 'INVALID_NAME', 'namespace'],
    ['after=%00', 'INVALID_NAME', 'after'],
    ['sort=name', 'INVALID_ARGUMENT', 'sort'],
    ['__proto__=1', 'INVALID_ARGUMENT', '__proto__'],
  ])('with ?%s are refused as %s naming %s', async (query, code, field) => {
    const answer = await get(`/api/v1/queues?${query}`);
    expect(answer.statusCode).toBe(400);
    expect(answer.json().error).toMatchObject({ code, details: { field } });
    expect(answer.json().error.message).toContain(field);
  });

  test.each(['/api/v1/queues/default/a%20b', '/api/v1/queues/a%00/b'])('%s is an INVALID_NAME', async (url) => {
    const answer = await get(url);
    expect([answer.statusCode, answer.json().error.code]).toEqual([400, 'INVALID_NAME']);
  });

  test.each([1, 1_000])('take a limit of %i', async (limit) => {
    expect((await get(`/api/v1/queues?limit=${limit}`)).statusCode).toBe(200);
  });
});

describe('an address', () => {
  test.each(['/', '/api', '/api/v2/overview', '/api/v1/queues/only-one', '/metrics/', '/../etc/passwd'])(
    'that does not exist (%s) is a JSON 404',
    async (url) => {
      const answer = await get(url);
      expect([answer.statusCode, answer.json().error.code]).toEqual([404, 'NOT_FOUND']);
    },
  );

  test('with a method it does not take is a 404', async () => {
    const answer = await http.fastify.inject({ method: 'POST', url: '/api/v1/overview', payload: {} });
    expect([answer.statusCode, answer.json().error.code]).toEqual([404, 'NOT_FOUND']);
  });

  test('that is badly encoded is a 400', async () => {
    const answer = await get('/api/v1/queues/%zz/a');
    expect([answer.statusCode, answer.json().error.code]).toEqual([400, 'BAD_REQUEST']);
  });

  test('with a parameter beyond any name is refused', async () => {
    expect((await get(`/api/v1/queues/default/${'a'.repeat(601)}`)).json().error.code).toBe('REQUEST_TOO_LARGE');
  });
});
