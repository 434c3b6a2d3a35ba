import { describe, expect, test } from 'vitest';
import type { MessageAct } from '../../server/engine/command.js';
import { EngineDriver, idsOf, of } from './driver.js';
import type { Effect } from './recorder.js';

interface Options {
  readonly dryRun?: boolean;
  readonly queue?: string;
  readonly after?: number;
}

/** Acts on these ids, or with null on everything in the queue. */
function act(
  driver: EngineDriver,
  session: number,
  given: MessageAct,
  ids: number[] | null,
  { dryRun = false, queue = 'q', after = 0 }: Options = {},
): Effect[] {
  return driver.apply({ type: 'message-act', session, request: 7, queue, ids, filter: {}, after, dryRun, ...given });
}

function resultOf(effects: readonly Effect[]): unknown {
  return of(effects, 'reply')[0]?.result;
}

/** A queue with these messages, ids 1, 2, ... */
function filled(...messages: { priority?: number; delayMs?: number }[]): { driver: EngineDriver; session: number } {
  const driver = new EngineDriver();
  const session = driver.open();
  driver.declare(session, 'q');
  for (const message of messages) driver.publish(session, { queue: 'q', ...message });
  return { driver, session };
}

const DROP = { act: 'drop', force: false } as const;

describe('drop', () => {
  test('takes ready and delayed messages, also after a restart', () => {
    const { driver, session } = filled({}, { delayMs: 50 }, {});
    expect(resultOf(act(driver, session, DROP, [1, 2]))).toEqual({ matched: 2, changed: 2, skipped: {}, next: null });
    driver.restart();
    expect(idsOf(driver.consume(driver.open(), ['q'], { prefetch: 0 }))).toEqual([3]);
  });

  test('recalls a leased message, gives its credit back, and a late answer is SUPERSEDED', () => {
    const { driver, session } = filled({}, {});
    driver.consume(session, ['q'], { prefetch: 1 });
    const effects = act(driver, session, DROP, [1]);
    expect(of(effects, 'recall').map(({ tag }) => tag)).toEqual([1]);
    expect(idsOf(effects)).toEqual([2]);
    expect(of(driver.answer('ack', session, [1, 1]), 'refused').map(({ code }) => code)).toEqual(['SUPERSEDED']);
  });

  test('leaves a started message unless it is forced', () => {
    const { driver, session } = filled({});
    driver.consume(session, ['q']);
    driver.answer('start', session, [1, 1]);
    expect(resultOf(act(driver, session, DROP, [1]))).toMatchObject({ changed: 0, skipped: { STARTED: 1 } });
    expect(resultOf(act(driver, session, { act: 'drop', force: true }, [1]))).toMatchObject({ changed: 1 });
    expect(of(driver.answer('ack', session, [1, 1]), 'refused').map(({ code }) => code)).toEqual(['SUPERSEDED']);
  });

  test('counts and changes nothing with dryRun', () => {
    const { driver, session } = filled({}, {});
    const before = driver.log.records.length;
    expect(resultOf(act(driver, session, DROP, null, { dryRun: true }))).toMatchObject({ matched: 2, changed: 2 });
    expect(driver.log.records).toHaveLength(before);
    expect(driver.engine.queueInfo('default', 'q')).toMatchObject({ ready: 2 });
  });

  test('of one id that is not in the queue is MESSAGE_NOT_FOUND; among several it is counted', () => {
    const { driver, session } = filled({});
    driver.declare(session, 'other');
    const refused = act(driver, session, DROP, [1], { queue: 'other' });
    expect(of(refused, 'fail').map(({ code }) => code)).toEqual(['MESSAGE_NOT_FOUND']);
    expect(resultOf(act(driver, session, DROP, [1, 9, 1]))).toMatchObject({
      matched: 1,
      skipped: { MESSAGE_NOT_FOUND: 1 },
    });
  });
});

describe('retry and priority', () => {
  test('make ready now, and give a new place, also after a restart', () => {
    const { driver, session } = filled({ delayMs: 5_000 }, {}, {});
    expect(resultOf(act(driver, session, { act: 'retry' }, null))).toMatchObject({
      changed: 1,
      skipped: { NOT_DELAYED: 2 },
    });
    expect(resultOf(act(driver, session, { act: 'priority', priority: 7 }, [3]))).toMatchObject({ changed: 1 });
    driver.restart();
    expect(idsOf(driver.consume(driver.open(), ['q'], { prefetch: 0 }))).toEqual([3, 1, 2]);
  });

  test('of a message that is with a consumer holds when it comes back', () => {
    const { driver, session } = filled({}, {});
    driver.consume(session, ['q'], { prefetch: 1 });
    act(driver, session, { act: 'priority', priority: 3 }, [2]);
    act(driver, session, { act: 'priority', priority: 9 }, [1]);
    expect(idsOf(driver.answer('release', session, [1, 1]))).toEqual([1]);
  });
});

describe('move and redrive', () => {
  test('begin anew in the other queue, also after a restart', () => {
    const { driver, session } = filled({ priority: 4 }, {});
    driver.declare(session, 'r');
    expect(resultOf(act(driver, session, { act: 'move', to: 'r', force: false }, [1]))).toMatchObject({ changed: 1 });
    driver.restart();
    const [delivery] = of(driver.consume(driver.open(), ['r']), 'deliver');
    expect(delivery).toMatchObject({ id: 1, priority: 4, attempt: 1 });
  });

  test('send a dead letter back to a queue that is made again', () => {
    const driver = new EngineDriver();
    const session = driver.open();
    driver.declare(session, 'q', { deadLetterQueue: 'dead' });
    driver.publish(session, { queue: 'q' });
    driver.consume(session, ['q']);
    driver.nack(session, [1, 1], false);
    driver.apply({ type: 'delete', session, request: 1, name: 'q', ifEmpty: false, ifUnused: false });
    driver.tick();
    expect(resultOf(act(driver, session, { act: 'redrive' }, null, { queue: 'dead' }))).toMatchObject({ changed: 1 });
    driver.restart();
    expect(driver.engine.queueInfo('default', 'q')).toMatchObject({ ready: 1 });
    const again = driver.open();
    expect(resultOf(act(driver, again, { act: 'redrive' }, [1]))).toMatchObject({ skipped: { NOT_A_DEAD_LETTER: 1 } });
  });
});

describe('steps', () => {
  test('go through a queue by rising id, each message once, however many others there are', () => {
    const driver = new EngineDriver({ messagesMax: 65_536 });
    const session = driver.open();
    for (const name of ['q', 'r']) driver.declare(session, name);
    // Every third is in the other queue.
    const messages = Array.from({ length: 30_000 }, (_, i) => ({ queue: i % 3 === 2 ? 'r' : 'q' }));
    driver.publish(session, ...messages);
    let after: number | null = 0;
    let matched = 0;
    let steps = 0;
    while (after !== null) {
      const result = resultOf(act(driver, session, { act: 'priority', priority: 5 }, null, { after })) as {
        matched: number;
        changed: number;
        next: number | null;
      };
      expect(result.changed).toBe(result.matched);
      expect(result.matched).toBeLessThanOrEqual(1_000);
      matched += result.matched;
      after = result.next;
      steps++;
    }
    expect(matched).toBe(20_000);
    expect(steps).toBeLessThan(50);
  });

  test('go over gaps in the ids in few steps, and end at the last one', () => {
    const driver = new EngineDriver({ messagesMax: 50_000 });
    const session = driver.open();
    driver.declare(session, 'q');
    const many = (count: number): void => {
      driver.publish(session, ...Array.from({ length: count }, () => ({ queue: 'q' })));
    };
    many(20_000);
    const { state } = driver.engine;
    const jumps = [64, 64 * 30_000, 10 ** 12, 1];
    const expected = Array.from({ length: 20_000 }, (_, i) => i + 1);
    for (const jump of jumps) {
      state.nextId += jump;
      expected.push(state.nextId, state.nextId + 1);
      many(2);
    }
    state.nextId += 10 ** 12;
    const seen: number[] = [];
    let steps = 0;
    for (let after: number | null = 0; after !== null; steps++) {
      const effects = driver.apply({
        ...{ type: 'message-list', session, request: 1, queue: 'q', filter: {}, ids: null },
        ...{ after, limit: 1_000, withBodies: false },
      });
      const page = resultOf(effects) as { messages: { id: number }[]; next: number | null };
      seen.push(...page.messages.map(({ id }) => id));
      after = page.next;
    }
    expect(seen).toEqual(expected);
    expect(steps).toBeLessThan(30);
  });
});
