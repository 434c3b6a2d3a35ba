/** Messages that are completed: their results are kept, told to whoever watches, and are there after a restart. */
import { RESULT_STATUS, RESULTS_QUEUE } from '@lovage/protocol';
import { describe, expect, test } from 'vitest';
import { bodyOf } from './complete-batch.js';
import { EngineDriver, of } from './driver.js';
import type { Effect } from './recorder.js';

const { DONE, NOT_THERE, DEAD } = RESULT_STATUS;
const MEMORY = 1;

/** A queue with so many messages, all of them with a consumer; ids and tags 1, 2, ... */
function held(count: number, settings = {}, flags = 0): { driver: EngineDriver; session: number } {
  const driver = new EngineDriver();
  const session = driver.open();
  driver.declare(session, 'q', settings);
  driver.consume(session, ['q'], { prefetch: 0 });
  driver.frame(session, { firstSeq: 1, flags, messages: Array.from({ length: count }, () => ({ queue: 'q' })) });
  return { driver, session };
}

function watch(driver: EngineDriver, session: number, ...ids: number[]): Effect[] {
  return driver.apply({ type: 'result-watch', session, request: 9, ids });
}

function told(effects: readonly Effect[]): unknown[] {
  return of(effects, 'result').map(({ id, status, payload, reason }) => [id, status, bodyOf(payload) ?? reason]);
}

describe('a message that is completed', () => {
  test('is gone from its queue and has its result, in one record, also after a restart', () => {
    const { driver, session } = held(3);
    driver.answer('start', session, [1, 2]);
    const before = driver.log.records.length;
    driver.complete(session, [
      [1, 'one'],
      [2, 'two'],
    ]);
    // The first result of a namespace makes the queue.
    expect(driver.log.records.slice(before).map(({ type }) => type)).toEqual([7, 24]);
    for (let run = 0; run < 2; run++) {
      expect(driver.engine.queueInfo('default', RESULTS_QUEUE)).toMatchObject({ ready: 2, consumers: 0 });
      expect(told(watch(driver, driver.open(), 1, 2))).toEqual([
        [1, DONE, 'one'],
        [2, DONE, 'two'],
      ]);
      driver.restart();
    }
    expect(driver.engine.queueInfo('default', 'q')).toMatchObject({ ready: 1 });
  });

  test('tells whoever watches, once, and nobody who has stopped or gone', () => {
    const { driver, session } = held(2);
    const [watcher, quitter, lost] = [driver.open(), driver.open(), driver.open()];
    for (const who of [watcher, quitter, lost]) expect(told(watch(driver, who, 1, 2))).toEqual([]);
    driver.apply({ type: 'result-unwatch', session: quitter, request: 1, ids: [1, 2] });
    driver.apply({ type: 'detach', session: lost });
    const effects = driver.complete(session, [[2, 'two']]);
    expect(of(effects, 'result').map(({ session: to, id }) => [to, id])).toEqual([[watcher, 2]]);
    expect(told(driver.complete(session, [[1, 'one']]))).toEqual([[1, DONE, 'one']]);
    expect(driver.engine.state.watches.isIdle).toBe(true);
  });

  test('tells its result only behind the record that says so', () => {
    const { driver, session } = held(1);
    watch(driver, session, 1);
    const order: string[] = [];
    const { sink } = driver;
    const complete = sink.complete.bind(sink);
    const result = sink.result.bind(sink);
    sink.complete = (record) => {
      order.push('record');
      return complete(record);
    };
    sink.result = (...fields) => {
      order.push('result');
      result(...fields);
    };
    driver.complete(session, [[1, 'x']]);
    expect(order).toEqual(['record', 'result']);
  });

  test('keeps its result for as long as it or the queue of results says', () => {
    const { driver, session } = held(3);
    driver.declare(session, RESULTS_QUEUE, { messageTtlMs: 500 });
    driver.complete(session, [
      [1, 'short', 100],
      [2, 'usual'],
    ]);
    driver.tick(99);
    expect(told(watch(driver, session, 1))).toEqual([[1, DONE, 'short']]);
    driver.tick(1);
    expect(told(watch(driver, session, 1))).toEqual([[1, NOT_THERE, null]]);
    driver.restart();
    driver.tick(399);
    const again = driver.open();
    expect(told(watch(driver, again, 1, 2))).toEqual([
      [1, NOT_THERE, null],
      [2, DONE, 'usual'],
    ]);
    driver.tick(1);
    expect(told(watch(driver, again, 2))).toEqual([[2, NOT_THERE, null]]);
  });

  test('pushes the oldest result out when there are too many', () => {
    const { driver, session } = held(3);
    driver.declare(session, RESULTS_QUEUE, { messagesMax: 2, overflow: 'drop-head' });
    for (const tag of [3, 1, 2]) driver.complete(session, [[tag, `${tag}`]]);
    expect(told(watch(driver, session, 1, 2, 3))).toEqual([
      [1, NOT_THERE, null],
      [2, DONE, '2'],
      [3, DONE, '3'],
    ]);
  });

  test('in memory has its result in memory', () => {
    const { driver, session } = held(1, {}, MEMORY);
    driver.complete(session, [[1, 'soon gone']]);
    expect(told(watch(driver, session, 1))).toEqual([[1, DONE, 'soon gone']]);
    driver.restart();
    expect(told(watch(driver, driver.open(), 1))).toEqual([[1, NOT_THERE, null]]);
  });

  test('without room on the disk is done all the same, and its result is told and not kept', () => {
    const { driver, session } = held(1);
    watch(driver, session, 1);
    driver.engine.refuseResults(true);
    expect(told(driver.complete(session, [[1, 'x']]))).toEqual([[1, DONE, 'x']]);
    expect(told(watch(driver, session, 1))).toEqual([[1, NOT_THERE, null]]);
    expect(driver.engine.queueInfo('default', 'q')).toMatchObject({ leased: 0, started: 0, totals: { acked: 1 } });
  });

  test('survives the end of the segments that it was published in, and is copied forward itself', () => {
    const { driver, session } = held(2);
    driver.roll();
    driver.complete(session, [[1, 'kept']]);
    driver.answer('ack', session, [2, 1]);
    driver.reclaim(2);
    driver.restart();
    const again = driver.open();
    expect(told(watch(driver, again, 1))).toEqual([[1, DONE, 'kept']]);
    const { table } = driver.engine.state;
    const slot = table.find(1);
    const [segment, offset, length] = [table.segment[slot]!, table.offset[slot]!, table.length[slot]!];
    const payload = driver.log.read(segment, offset, length).slice();
    driver.roll();
    const copy = driver.engine.movable(1, segment, offset)!;
    driver.engine.move([{ ...copy, offset: 0 }], payload, driver.sink);
    driver.reclaim(3);
    driver.restart();
    expect(told(watch(driver, driver.open(), 1))).toEqual([[1, DONE, 'kept']]);
  });
});

describe('a watch', () => {
  test('for a message that ends without a result says so: acked, purged, expired', () => {
    const { driver, session } = held(1);
    driver.declare(session, 'r');
    driver.publish(session, { queue: 'r' }, { queue: 'r', expiresInMs: 50 });
    watch(driver, session, 1, 2, 3);
    expect(told(driver.answer('ack', session, [1, 1]))).toEqual([[1, NOT_THERE, null]]);
    expect(told(driver.tick(50))).toEqual([[3, NOT_THERE, null]]);
    const purge = { type: 'purge', session, request: 1, name: 'r' } as const;
    expect(told([...driver.apply(purge), ...driver.tick()])).toEqual([[2, NOT_THERE, null]]);
  });

  test('for one that is or becomes a dead letter says why', () => {
    const { driver, session } = held(1, { deadLetterQueue: 'dead' });
    watch(driver, session, 1);
    expect(told(driver.nack(session, [1, 1], false))).toEqual([[1, DEAD, 'rejected']]);
    expect(told(watch(driver, session, 1))).toEqual([[1, DEAD, 'rejected']]);
  });

  test('sees nothing of another namespace', () => {
    const { driver, session } = held(1);
    driver.complete(session, [[1, 'secret']]);
    const open = {
      type: 'open',
      key: 'other',
      namespace: 'other',
      producer: null,
      resumeKey: null,
      lastTag: 0,
    } as const;
    const other = of(driver.apply(open), 'opened')[0]!.session;
    expect(told(watch(driver, other, 1))).toEqual([[1, NOT_THERE, null]]);
    const states = driver.apply({ type: 'message-state', session: other, request: 1, ids: [1], withNotes: true });
    expect(of(states, 'reply')[0]!.result).toEqual({ messages: [null] });
  });
});

test('a result of a tag that is none is refused, and one that was settled before keeps nothing', () => {
  const { driver, session } = held(1);
  expect(of(driver.complete(session, [[7, 'x']]), 'refused').map(({ code }) => code)).toEqual(['UNKNOWN_TAG']);
  driver.answer('ack', session, [1, 1]);
  expect(of(driver.complete(session, [[1, 'x']]), 'refused').map(({ code }) => code)).toEqual(['ALREADY_SETTLED']);
  expect(told(watch(driver, session, 1))).toEqual([[1, NOT_THERE, null]]);
});

test('many ids that a client has watched for are forgotten in slices, and nobody is told of them who has gone', () => {
  const count = 30_000;
  const { driver, session } = held(1);
  const { watches } = driver.engine.state;
  const [quitter, lost] = [driver.open(), driver.open()];
  const sessions = [quitter, lost].map((number) => driver.engine.state.session(number));
  for (const watcher of sessions) for (let id = 1; id <= count; id++) watches.add(watcher, id);
  const ids = Array.from({ length: count }, (_, i) => i + 1);
  watches.remove(sessions[0]!, ids);
  watches.forget(sessions[1]!);
  expect(watches.size).toBe(count);
  // Whoever comes back is told all the same.
  watches.add(sessions[1]!, 1);
  expect(told(driver.complete(session, [[1, 'one']]))).toEqual([[1, DONE, 'one']]);
  let slices = 0;
  for (; watches.isSweeping; slices++) watches.sweep();
  expect(slices).toBeGreaterThan(5);
  expect(watches.isIdle).toBe(true);
});

describe('a handler that tells of its delivery', () => {
  const note = (text: string | null, ...log: string[]) => ({
    progress: text === null ? null : (['text/plain', Buffer.from(text)] as const),
    log,
  });
  const notedIn = (effects: readonly Effect[]): unknown[] =>
    of(effects, 'noted').map(({ session, id, note: { progress, log } }) => [
      session,
      id,
      progress === null ? null : Buffer.from(progress[1]).toString(),
      log,
    ]);

  test('is heard by who watches, and who begins to is told what there is; it ends with the delivery', () => {
    const { driver, session } = held(2);
    const watcher = driver.open();
    watch(driver, watcher, 1);
    const tell = (tag: number, ...fields: Parameters<typeof note>): Effect[] =>
      driver.apply({ type: 'note', session, tag, note: note(...fields) });
    expect(notedIn(tell(1, 'half', 'a'))).toEqual([[watcher, 1, 'half', ['a']]]);
    expect(notedIn(tell(1, null, 'b'))).toEqual([[watcher, 1, null, ['b']]]);
    expect(notedIn(tell(2, 'of nobody'))).toEqual([]);
    expect(notedIn(tell(3, 'not there'))).toEqual([]);
    const late = driver.open();
    expect(notedIn(watch(driver, late, 1))).toEqual([[late, 1, 'half', ['a', 'b']]]);
    driver.nack(session, [1, 1], true);
    expect(notedIn(watch(driver, driver.open(), 1))).toEqual([]);
    expect(driver.engine.state.notes.of(2)).not.toBe(null);
    driver.complete(session, [[2, 'two']]);
    expect(driver.engine.state.notes).toMatchObject({ isEmpty: true, bytes: 0 });
  });

  test('more than is kept has its last hundred lines kept, and no more than 64 MiB of all messages', () => {
    const { driver, session } = held(2_000);
    const { notes } = driver.engine.state;
    const lines = Array.from({ length: 60 }, (_, i) => `${i}`);
    for (let i = 0; i < 3; i++)
      driver.engine.apply({ type: 'note', session, tag: 1, note: note(null, ...lines) }, driver.nowMs, driver.sink);
    expect(notes.of(1)!.log).toEqual([...lines.slice(20), ...lines]);
    const large = note('x'.repeat(65_536));
    for (let tag = 1; tag <= 2_000; tag++)
      driver.engine.apply({ type: 'note', session, tag, note: large }, driver.nowMs, driver.sink);
    expect(notes.bytes).toBeGreaterThan(63 * 1024 * 1024);
    expect(notes.bytes).toBeLessThanOrEqual(64 * 1024 * 1024);
    driver.apply({ type: 'close', session });
    expect(notes).toMatchObject({ isEmpty: true, bytes: 0 });
  });

  test('is not shown to those who may not read results', () => {
    const { driver, session } = held(1);
    driver.apply({ type: 'note', session, tag: 1, note: note('half') });
    const ask = (withNotes: boolean, ...ids: number[]): unknown =>
      of(driver.apply({ type: 'message-state', session, request: 1, ids, withNotes }), 'reply')[0]!.result;
    expect(ask(true, 1)).toMatchObject({ messages: [{ id: 1, note: note('half') }] });
    for (const shown of [ask(false, 1), ask(true, 1, 1)]) expect(JSON.stringify(shown)).not.toContain('note');
  });
});
