/** Exchanges by name and by example; the reference model tries them at random. */
import { PUBLISH_FLAGS } from '@lovage/protocol';
import { describe, expect, test } from 'vitest';
import { EngineDriver, idsOf, of } from './driver.js';
import { durableRouting } from './durable-state.js';
import type { TestMessage } from './publish-batch.js';
import type { Effect } from './recorder.js';

const { MEMORY, AUTO_DECLARE, MANDATORY } = PUBLISH_FLAGS;
const QUEUES = ['a', 'b', 'c'] as const;

function start(options: ConstructorParameters<typeof EngineDriver>[0] = {}): { driver: EngineDriver; session: number } {
  const driver = new EngineDriver(options);
  const session = driver.open({ producer: 'p' });
  for (const queue of QUEUES) driver.declare(session, queue);
  return { driver, session };
}

function to(exchange: string, key: string, fields: Partial<TestMessage> = {}): TestMessage {
  return { exchange, queue: key, ...fields };
}

/** Messages of each queue, as `ready` or `delayed`. */
function sizes(driver: EngineDriver): number[] {
  return QUEUES.map((queue) => driver.engine.state.queue('default', queue)!.size);
}

function confirmed(effects: readonly Effect[]): (readonly [seq: number, id: number])[] {
  return of(effects, 'confirm').map(({ seq, id }) => [seq, id] as const);
}

describe('an exchange', () => {
  test('of type direct leads by the whole key', () => {
    const { driver, session } = start();
    driver.exchange(session, 'x', 'direct');
    driver.bind(session, 'x', 'a', { key: 'one' });
    driver.bind(session, 'x', 'b', { key: 'one' });
    driver.bind(session, 'x', 'c', { key: 'two' });
    driver.publish(session, to('x', 'one'), to('x', 'two'), to('x', 'one.two'));
    expect(sizes(driver)).toEqual([1, 1, 1]);
  });

  test('of type fanout leads everywhere', () => {
    const { driver, session } = start();
    driver.exchange(session, 'x', 'fanout');
    for (const queue of QUEUES) driver.bind(session, 'x', queue);
    driver.publish(session, to('x', 'any'), to('x', ''));
    expect(sizes(driver)).toEqual([2, 2, 2]);
  });

  test('of type topic leads by patterns, a queue once however many fit', () => {
    const { driver, session } = start();
    driver.exchange(session, 'x', 'topic');
    driver.bind(session, 'x', 'a', { key: 'order.*.eu' });
    driver.bind(session, 'x', 'a', { key: 'order.#' });
    driver.bind(session, 'x', 'b', { key: '#.eu' });
    expect(confirmed(driver.publish(session, to('x', 'order.paid.eu'), to('x', 'order.paid'), to('x', 'eu')))).toEqual([
      [1, 1],
      [2, 3],
      [3, 4],
    ]);
    expect(sizes(driver)).toEqual([2, 2, 0]);
  });

  test('of type headers leads by what each message has, of its kind and value', () => {
    const { driver, session } = start();
    driver.exchange(session, 'x', 'headers');
    driver.bind(session, 'x', 'a', { headers: { kind: 'audit', level: 3 }, match: 'all' });
    driver.bind(session, 'x', 'b', { headers: { kind: 'audit', level: 3 }, match: 'any' });
    driver.bind(session, 'x', 'c', { headers: {}, match: 'all' });
    driver.publish(
      session,
      to('x', '', { headers: { kind: 'audit', level: 3, more: [1] } }),
      to('x', '', { headers: { kind: 'audit', level: '3' } }),
      to('x', '', { headers: { level: 3 } }),
      to('x', ''),
    );
    expect(sizes(driver)).toEqual([1, 3, 4]);
  });

  test('that is the default one leads to the queue of the key, and makes none', () => {
    const { driver, session } = start();
    const effects = driver.frame(session, { firstSeq: 1, flags: AUTO_DECLARE, messages: [to('', 'a'), to('', 'new')] });
    expect(confirmed(effects)).toEqual([
      [1, 1],
      [2, 0],
    ]);
    expect(driver.engine.state.queue('default', 'new')).toBeNull();
  });

  test('leads on through others, and what nothing matched to its alternate', () => {
    const { driver, session } = start();
    driver.exchange(session, 'rest', 'fanout');
    driver.exchange(session, 'x', 'direct', 'rest');
    driver.exchange(session, 'y', 'fanout');
    driver.bind(session, 'x', 'y', { to: 'exchange', key: 'k' });
    driver.bind(session, 'y', 'a');
    driver.bind(session, 'y', 'b');
    driver.bind(session, 'x', 'b', { key: 'k' });
    driver.bind(session, 'rest', 'c');
    driver.publish(session, to('x', 'k'), to('x', 'other'));
    expect(sizes(driver)).toEqual([1, 1, 1]);
  });

  test('does not lead to a queue that was deleted and made again', () => {
    const { driver, session } = start();
    driver.exchange(session, 'x', 'fanout');
    driver.bind(session, 'x', 'a');
    driver.apply({ type: 'delete', session, request: 1, name: 'a', ifEmpty: false, ifUnused: false });
    driver.tick();
    driver.declare(session, 'a');
    expect(confirmed(driver.publish(session, to('x', '')))).toEqual([[1, 0]]);
    driver.restart();
    expect(driver.engine.state.bindings.size).toBe(0);
  });
});

describe('a message that reaches no queue', () => {
  test('is confirmed with id 0 and counted, or refused when it is mandatory', () => {
    const { driver, session } = start();
    driver.exchange(session, 'x', 'direct');
    expect(confirmed(driver.publish(session, to('x', 'k'), { queue: 'a' }, to('x', 'k'), to('x', 'l')))).toEqual([
      [1, 0],
      [2, 1],
      [3, 0],
      [4, 0],
    ]);
    const effects = driver.frame(session, { firstSeq: 5, flags: MANDATORY, messages: [to('x', 'k'), { queue: 'a' }] });
    expect(of(effects, 'reject')).toMatchObject([{ seq: 5, code: 'UNROUTABLE' }]);
    expect(confirmed(effects)).toEqual([[6, 2]]);
    expect(driver.engine.exchangeInfos(null, null, 1)[0]!.totals).toEqual({ published: 4, unrouted: 4 });
  });

  test('of an exchange or queue that does not exist is refused alone', () => {
    const { driver, session } = start();
    const effects = driver.publish(session, to('nowhere', 'k'), { queue: 'nowhere' }, { queue: 'a' });
    expect(of(effects, 'reject')).toMatchObject([
      { seq: 1, code: 'EXCHANGE_NOT_FOUND' },
      { seq: 2, code: 'QUEUE_NOT_FOUND' },
    ]);
    expect(confirmed(effects)).toEqual([[3, 1]]);
  });
});

describe('a message that reaches several queues', () => {
  function fanout(options: ConstructorParameters<typeof EngineDriver>[0] = {}): ReturnType<typeof start> {
    const started = start(options);
    started.driver.exchange(started.session, 'x', 'fanout');
    for (const queue of QUEUES) started.driver.bind(started.session, 'x', queue);
    return started;
  }

  test('has a copy in each with an id and a fate of its own, and its bytes once', () => {
    const { driver, session } = fanout();
    const before = driver.log.records.length;
    const effects = driver.publish(session, to('x', '', { body: 'first' }), { queue: 'a' }, to('x', ''));
    expect(confirmed(effects)).toEqual([
      [1, 1],
      [2, 4],
      [3, 5],
    ]);
    expect(driver.log.records.length).toBe(before + 1);
    const { table } = driver.engine.state;
    const places = [1, 2, 3].map((id) => [table.segment[table.find(id)], table.offset[table.find(id)]]);
    expect(new Set(places.map(String)).size).toBe(1);
    const worker = driver.open();
    expect(idsOf(driver.consume(worker, ['a'], { prefetch: 10 }))).toEqual([1, 4, 5]);
    expect(idsOf(driver.consume(worker, ['b'], {}, 2))).toEqual([2]);
    driver.answer('ack', worker, [1, 1, 4, 1]);
    expect(sizes(driver)).toEqual([2, 1, 2]);
    driver.restart();
    expect(sizes(driver)).toEqual([2, 1, 2]);
  });

  test('is confirmed again with the id of its first copy when it is sent again, also after a restart', () => {
    const { driver, session } = fanout();
    const frame = { firstSeq: 1, messages: [to('x', ''), { queue: 'a' }, { queue: 'b' }, to('x', '')] };
    const first = confirmed(driver.frame(session, frame));
    expect(first).toEqual([
      [1, 1],
      [2, 4],
      [3, 5],
      [4, 6],
    ]);
    expect(confirmed(driver.frame(session, frame))).toEqual(first);
    driver.restart();
    expect(confirmed(driver.frame(driver.open({ producer: 'p' }), frame))).toEqual(first);
    expect(sizes(driver)).toEqual([3, 3, 2]);
  });

  test('goes by its key in each queue for itself', () => {
    const { driver, session } = fanout();
    driver.publish(session, { queue: 'b', dedupKey: 'k' });
    expect(confirmed(driver.publish(session, to('x', '', { dedupKey: 'k' })))).toEqual([[2, 2]]);
    expect(sizes(driver)).toEqual([1, 1, 1]);
    const again = driver.publish(session, to('x', '', { dedupKey: 'k' }), { queue: 'c' });
    expect(of(again, 'duplicate')).toMatchObject([{ seq: 3, id: 2 }]);
    expect(confirmed(again)).toEqual([[4, 4]]);
    driver.restart();
    const after = driver.frame(driver.open(), { firstSeq: 1, messages: [to('x', '', { dedupKey: 'k' })] });
    expect(of(after, 'duplicate')).toHaveLength(1);
  });

  test('counts as many messages as it has copies, and nothing is changed when they are too many', () => {
    const { driver, session } = fanout({ messagesMax: 5 });
    const messages = [to('x', ''), { queue: 'new' }, to('x', '')];
    const refused = driver.frame(session, { firstSeq: 1, flags: AUTO_DECLARE, messages });
    expect(of(refused, 'reject').map(({ code }) => code)).toEqual(Array(3).fill('TOO_MANY_MESSAGES'));
    expect(driver.engine.state.queue('default', 'new')).toBeNull();
    expect(of(driver.publish(session, to('x', ''), { queue: 'a' }, { queue: 'b' }), 'confirm')).toHaveLength(3);
  });

  test('is in memory once when it is kept there only', () => {
    const { driver, session } = fanout();
    driver.frame(session, { firstSeq: 1, flags: MEMORY, messages: [to('x', '', { body: 'y'.repeat(100) })] });
    const { table } = driver.engine.state;
    expect(table.memoryFrames.bytes).toBeLessThan(300);
    const worker = driver.open();
    driver.consume(worker, [...QUEUES], { prefetch: 3 });
    driver.answer('ack', worker, [1, 2]);
    expect(table.memoryFrames.bytes).toBeGreaterThan(100);
    driver.answer('ack', worker, [3, 1]);
    expect(table.memoryFrames.bytes).toBe(0);
  });
});

describe('bindings', () => {
  function code(effects: readonly Effect[]): unknown {
    return of(effects, 'fail')[0]?.code ?? of(effects, 'reply')[0]?.result;
  }

  test('that close a circle are refused, through alternates as well, and leave nothing', () => {
    const { driver, session } = start();
    driver.exchange(session, 'x', 'fanout');
    driver.exchange(session, 'y', 'fanout', 'x');
    driver.exchange(session, 'z', 'fanout');
    driver.bind(session, 'z', 'y', { to: 'exchange' });
    const before = durableRouting(driver.engine.state);
    expect(code(driver.bind(session, 'x', 'z', { to: 'exchange' }))).toBe('BINDING_CYCLE');
    expect(code(driver.bind(session, 'x', 'x', { to: 'exchange' }))).toBe('BINDING_CYCLE');
    expect(code(driver.exchange(session, 'w', 'fanout', 'w'))).toBe('BINDING_CYCLE');
    expect(durableRouting(driver.engine.state)).toEqual(before);
  });

  test('do not close a circle over an alternate that is deleted and comes again', () => {
    const { driver, session } = start();
    driver.exchange(session, 'x', 'fanout');
    driver.exchange(session, 'y', 'fanout', 'x');
    driver.apply({ type: 'exchange-delete', session, request: 1, name: 'x', ifUnused: false });
    expect(code(driver.exchange(session, 'x', 'fanout', 'y'))).toBe('BINDING_CYCLE');
    driver.exchange(session, 'x', 'fanout');
    expect(code(driver.bind(session, 'x', 'y', { to: 'exchange' }))).toBe('BINDING_CYCLE');
  });

  test('may form a lattice as deep and wide as they like', () => {
    const { driver, session } = start();
    const names = Array.from({ length: 40 }, (_, i) => `x${i}`);
    for (const name of names) driver.exchange(session, name, 'fanout');
    // Two ways from each to the next: 2^20 ways in all.
    for (let i = 0; i + 3 < names.length; i += 2)
      for (const from of [i, i + 1])
        for (const next of [i + 2, i + 3]) driver.bind(session, names[from]!, names[next]!, { to: 'exchange' });
    driver.bind(session, 'x38', 'a');
    driver.bind(session, 'x39', 'a');
    expect(confirmed(driver.publish(session, to('x0', 'k')))).toEqual([[1, 1]]);
    expect(code(driver.bind(session, 'x39', 'x0', { to: 'exchange' }))).toBe('BINDING_CYCLE');
  });

  test('say only what their exchange goes by', () => {
    const { driver, session } = start();
    for (const kind of ['direct', 'fanout', 'topic', 'headers'] as const) driver.exchange(session, kind, kind);
    for (const key of ['a.b*', '##', 'a..b', '.', 'a.*b', 'a.'])
      expect(code(driver.bind(session, 'topic', 'a', { key })), key).toBe('INVALID_ARGUMENT');
    for (const key of ['', '#', '*', 'a', '*.#.*'])
      expect(code(driver.bind(session, 'topic', 'a', { key })), key).toEqual({ created: true });
    expect(code(driver.bind(session, 'fanout', 'a', { key: 'k' }))).toBe('INVALID_ARGUMENT');
    expect(code(driver.bind(session, 'headers', 'a', {}))).toBe('INVALID_ARGUMENT');
    expect(code(driver.bind(session, 'headers', 'a', { key: 'k', headers: {}, match: 'all' }))).toBe(
      'INVALID_ARGUMENT',
    );
    expect(code(driver.bind(session, 'direct', 'a', { headers: {}, match: 'all' }))).toBe('INVALID_ARGUMENT');
    expect(code(driver.bind(session, 'direct', 'a', { match: 'any' }))).toBe('INVALID_ARGUMENT');
  });

  test('are there again after a restart, and after the segments that made them are gone', () => {
    const { driver, session } = start();
    driver.exchange(session, 'x', 'headers', null);
    driver.exchange(session, 'y', 'topic', 'x');
    driver.bind(session, 'x', 'a', { headers: { n: 1.5, b: true, t: 'x' }, match: 'any' });
    driver.bind(session, 'y', 'b', { key: '#' });
    driver.bind(session, 'y', 'x', { to: 'exchange', key: 'a.*' });
    const before = durableRouting(driver.engine.state);
    driver.restart();
    expect(durableRouting(driver.engine.state)).toEqual(before);
    driver.roll();
    driver.reclaim(2);
    driver.restart();
    expect(durableRouting(driver.engine.state)).toEqual(before);
  });
});
