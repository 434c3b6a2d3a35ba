import { describe, expect, test } from 'vitest';
import type { MessagesCommand } from '../../server/engine/command.js';
import { EngineDriver, idsOf, of } from './driver.js';
import type { Effect } from './recorder.js';

type Act =
  | { type: 'message-drop'; force?: boolean }
  | { type: 'message-retry' }
  | { type: 'message-priority'; priority: number };

function act(driver: EngineDriver, session: number, given: Act, ids: number[], dryRun = false): Effect[] {
  return driver.apply({ force: false, ...given, session, request: 7, ids, dryRun } as MessagesCommand);
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

describe('drop', () => {
  test('takes waiting and delayed messages, also after a restart', () => {
    const { driver, session } = filled({}, { delayMs: 50 }, {});
    expect(resultOf(act(driver, session, { type: 'message-drop' }, [1, 2]))).toEqual({
      matched: 2,
      changed: 2,
      skipped: {},
    });
    driver.restart();
    expect(idsOf(driver.consume(driver.open(), ['q'], { prefetch: 0 }))).toEqual([3]);
  });

  test('recalls a leased message, gives its credit back, and a late answer is SUPERSEDED', () => {
    const { driver, session } = filled({}, {});
    driver.consume(session, ['q'], { prefetch: 1 });
    const effects = act(driver, session, { type: 'message-drop' }, [1]);
    expect(of(effects, 'recall').map(({ tag }) => tag)).toEqual([1]);
    expect(idsOf(effects)).toEqual([2]);
    expect(of(driver.answer('ack', session, [1, 1]), 'refused').map(({ code }) => code)).toEqual(['SUPERSEDED']);
  });

  test('leaves a started message unless it is forced', () => {
    const { driver, session } = filled({});
    driver.consume(session, ['q']);
    driver.answer('start', session, [1, 1]);
    expect(resultOf(act(driver, session, { type: 'message-drop' }, [1]))).toEqual({
      matched: 1,
      changed: 0,
      skipped: { STARTED: 1 },
    });
    expect(resultOf(act(driver, session, { type: 'message-drop', force: true }, [1]))).toMatchObject({ changed: 1 });
    expect(of(driver.answer('ack', session, [1, 1]), 'refused').map(({ code }) => code)).toEqual(['SUPERSEDED']);
  });

  test('only counts in a dry run, refuses one unknown id, and counts it among others', () => {
    const { driver, session } = filled({});
    expect(resultOf(act(driver, session, { type: 'message-drop' }, [1, 9], true))).toEqual({
      matched: 1,
      changed: 1,
      skipped: { MESSAGE_NOT_FOUND: 1 },
    });
    expect(of(act(driver, session, { type: 'message-drop' }, [9]), 'fail').map(({ code }) => code)).toEqual([
      'MESSAGE_NOT_FOUND',
    ]);
    expect(driver.engine.queueInfo('default', 'q')).toMatchObject({ ready: 1 });
  });
});

describe('retry', () => {
  test('makes a delayed message ready in its old place and skips the others, also after a restart', () => {
    const { driver, session } = filled({ delayMs: 500 }, {});
    expect(resultOf(act(driver, session, { type: 'message-retry' }, [1, 2]))).toEqual({
      matched: 2,
      changed: 1,
      skipped: { NOT_DELAYED: 1 },
    });
    driver.restart();
    expect(idsOf(driver.consume(driver.open(), ['q'], { prefetch: 0 }))).toEqual([1, 2]);
  });
});

describe('priority', () => {
  test('gives a waiting message its new place, also after a restart', () => {
    const { driver, session } = filled({}, {}, { priority: 5 });
    act(driver, session, { type: 'message-priority', priority: 5 }, [2, 3]);
    driver.restart();
    expect(idsOf(driver.consume(driver.open(), ['q'], { prefetch: 0 }))).toEqual([2, 3, 1]);
  });

  test('of a leased message counts when it comes back', () => {
    const { driver, session } = filled({ priority: 1 }, {});
    driver.consume(session, ['q'], { prefetch: 1 });
    act(driver, session, { type: 'message-priority', priority: 0 }, [1]);
    driver.apply({ type: 'cancel', session, request: 1, consumerId: 1 });
    driver.answer('release', session, [1, 1]);
    expect(driver.engine.queueInfo('default', 'q')).toMatchObject({ ready: 2, leased: 0 });
    expect(idsOf(driver.consume(driver.open(), ['q'], { prefetch: 0 }))).toEqual([1, 2]);
  });
});
