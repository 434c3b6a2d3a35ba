/** Publishing while the broker is short of memory or disk: FLOW. */
import type { Receipt } from '@lovage/client';
import { describe, expect, test } from 'vitest';
import { connected, type FakeSocket, outcomeOf, useVirtualTime } from './fake-broker.js';

useVirtualTime();

/** First number and bodies of each PUBLISH. */
function published(socket: FakeSocket): [number, string[]][] {
  return socket
    .all('PUBLISH')
    .map(({ fields }) => [
      fields[0] as number,
      (fields[3] as unknown[][]).map((message) => Buffer.from(message[7] as Uint8Array).toString()),
    ]);
}

describe('a client that is told FLOW', () => {
  test('sends nothing more until it is over, and shows why in its status', async () => {
    const { client, broker } = await connected();
    const states: unknown[] = [];
    void (async () => {
      for await (const { state, blocked } of client.status) states.push([state, blocked]);
    })();
    broker.socket.tell('FLOW', true, 'memory', 1_000);
    const outcome = outcomeOf(client.publish('q', 'a'));
    await broker.turn();
    expect(published(broker.socket)).toEqual([]);
    expect(client.status.current.blocked).toEqual({ reason: 'memory', retryAfterMs: 1_000 });
    broker.socket.tell('FLOW', false, null, 0);
    await broker.turn();
    expect(published(broker.socket)).toEqual([[1, ['a']]]);
    broker.socket.tell('CONFIRM', 1, 1, 7, 0);
    await broker.turn();
    expect(outcome.value?.id).toBe(7);
    expect(states).toEqual([
      ['connected', null],
      ['connected', { reason: 'memory', retryAfterMs: 1_000 }],
      ['connected', null],
    ]);
  });

  test('sends what was refused meanwhile again, the same bytes in the same order, before what is new', async () => {
    const { client, broker } = await connected();
    const outcomes = [];
    for (const body of ['a', 'b', 'c']) {
      outcomes.push(outcomeOf(client.publish('q', body)));
      await broker.turn();
    }
    broker.socket.tell('CONFIRM', 1, 1, 10, 0);
    broker.socket.tell('FLOW', true, 'disk', 1_000);
    broker.socket.tell('REJECT', 2, 1, 'DISK_FULL', '');
    broker.socket.tell('REJECT', 3, 1, 'FLOW_BLOCKED', '');
    outcomes.push(outcomeOf(client.publish('q', 'd')));
    await broker.turn();
    expect(outcomes.map(({ state }) => state)).toEqual(['resolved', 'pending', 'pending', 'pending']);
    const first = broker.socket.all('PUBLISH').map(({ bytes }) => Buffer.from(bytes).toString('hex'));
    broker.socket.tell('FLOW', false, null, 0);
    await broker.turn();
    expect(published(broker.socket).slice(3)).toEqual([
      [2, ['b']],
      [3, ['c']],
      [4, ['d']],
    ]);
    const again = broker.socket.all('PUBLISH').map(({ bytes }) => Buffer.from(bytes).toString('hex'));
    expect(again.slice(3, 5)).toEqual(first.slice(1));
    broker.socket.tell('CONFIRM', 2, 3, 11, 0);
    await broker.turn();
    expect(outcomes.map(({ value }) => value?.id)).toEqual([10, 11, 12, 13]);
  });

  /** Three publishes of a frame each, the second of which was refused. */
  async function refusedOnce(publishTimeoutMs = 30_000) {
    const { client, broker } = await connected({ publishTimeoutMs });
    const outcomes: ReturnType<typeof outcomeOf<Receipt>>[] = [];
    const publish = async (body: string) => {
      outcomes.push(outcomeOf(client.publish('q', body)));
      await broker.turn();
    };
    for (const body of ['a', 'b', 'c']) await publish(body);
    broker.socket.tell('CONFIRM', 1, 1, 10, 0);
    broker.socket.tell('FLOW', true, 'memory', 1_000);
    broker.socket.tell('REJECT', 2, 1, 'FLOW_BLOCKED', '');
    await broker.turn();
    return { broker, publish, states: () => outcomes.map(({ state }) => state), outcomes };
  }

  test('sends what is behind a refused one again as well; when its first copy is refused later, the second one counts', async () => {
    const { broker, publish, states, outcomes } = await refusedOnce();
    broker.socket.tell('FLOW', false, null, 0);
    await broker.turn();
    expect(published(broker.socket).slice(3)).toEqual([
      [2, ['b']],
      [3, ['c']],
    ]);
    broker.socket.tell('REJECT', 3, 1, 'FLOW_BLOCKED', '');
    await publish('d');
    expect(states()).toEqual(['resolved', 'pending', 'pending', 'pending']);
    expect(published(broker.socket).slice(5)).toEqual([[4, ['d']]]);
    broker.socket.tell('CONFIRM', 2, 3, 11, 0);
    await broker.turn();
    expect(outcomes.map(({ value }) => value?.id)).toEqual([10, 11, 12, 13]);
  });

  test('held back again, sends again only what was refused every time that it was sent', async () => {
    const { broker, outcomes } = await refusedOnce();
    broker.socket.tell('FLOW', false, null, 0);
    await broker.turn();
    // Both copies of "c" are on their way. The first is refused behind the second FLOW, the second is taken.
    broker.socket.tell('FLOW', true, 'memory', 1_000);
    broker.socket.tell('REJECT', 3, 1, 'FLOW_BLOCKED', '');
    broker.socket.tell('REJECT', 2, 1, 'QUEUE_FULL', '');
    broker.socket.tell('FLOW', false, null, 0);
    await broker.turn();
    expect(published(broker.socket)).toHaveLength(5);
    broker.socket.tell('CONFIRM', 3, 1, 12, 0);
    await broker.turn();
    expect(outcomes[1]!.error).toMatchObject({ code: 'QUEUE_FULL' });
    expect(outcomes[2]!.value?.id).toBe(12);
  });

  test('sends nothing again that nobody waits for any more, neither what was refused nor what is behind it', async () => {
    const { broker, publish, outcomes } = await refusedOnce(1_000);
    await broker.pass(600);
    await publish('d');
    await broker.pass(600);
    expect(outcomes.map(({ error }) => error?.code ?? null)).toEqual([
      null,
      'PUBLISH_TIMEOUT',
      'PUBLISH_TIMEOUT',
      null,
    ]);
    broker.socket.tell('FLOW', false, null, 0);
    broker.socket.tell('REJECT', 3, 1, 'FLOW_BLOCKED', '');
    await broker.turn();
    expect(broker.socket.all('PUBLISH').at(-1)!.fields.slice(0, 2)).toEqual([4, 3]);
    expect(published(broker.socket).slice(3)).toEqual([[4, ['d']]]);
    broker.socket.tell('CONFIRM', 4, 1, 12, 0);
    await broker.turn();
    expect(outcomes[3]!.value?.id).toBe(12);
  });

  test('waits until the deadline, and then sends nothing of it any more', async () => {
    const { client, broker } = await connected({ publishTimeoutMs: 1_000 });
    const refused = outcomeOf(client.publish('q', 'a'));
    await broker.turn();
    broker.socket.tell('FLOW', true, 'memory', 1_000);
    broker.socket.tell('REJECT', 1, 1, 'FLOW_BLOCKED', '');
    const unsent = outcomeOf(client.publish('q', 'b'));
    await broker.turn();
    await broker.pass(1_100);
    for (const { error } of [refused, unsent])
      expect(error).toMatchObject({ code: 'PUBLISH_TIMEOUT', details: { wasSent: false, blocked: 'memory' } });
    broker.socket.tell('FLOW', false, null, 0);
    const next = outcomeOf(client.publish('q', 'c'));
    await broker.turn();
    expect(published(broker.socket).slice(1)).toEqual([[2, ['c']]]);
    broker.socket.tell('CONFIRM', 2, 1, 9, 0);
    await broker.turn();
    expect(next.value?.id).toBe(9);
  });

  test('with whenBlocked "fail" rejects at once what is not sent, and what is refused', async () => {
    const { client, broker } = await connected({ whenBlocked: 'fail' });
    const sent = outcomeOf(client.publish('q', 'a'));
    await broker.turn();
    const gathered = outcomeOf(client.publish('q', 'b'));
    broker.socket.tell('FLOW', true, 'memory', 1_000);
    broker.socket.tell('REJECT', 1, 1, 'FLOW_BLOCKED', '');
    const late = outcomeOf(client.publish('q', 'c'));
    await broker.turn();
    for (const { error } of [sent, gathered, late]) expect(error).toMatchObject({ code: 'FLOW_BLOCKED' });
    expect(late.error).toMatchObject({ details: { reason: 'memory', retryAfterMs: 1_000 } });
    expect(published(broker.socket)).toEqual([[1, ['a']]]);
  });

  test('forgets it with the connection: the next one is told again', async () => {
    const { client, broker } = await connected();
    const outcome = outcomeOf(client.publish('q', 'a'));
    await broker.turn();
    broker.socket.tell('FLOW', true, 'memory', 1_000);
    broker.socket.tell('REJECT', 1, 1, 'FLOW_BLOCKED', '');
    await broker.turn();
    broker.socket.close();
    await broker.reconnect();
    expect(client.status.current.blocked).toBeNull();
    expect(published(broker.socket)).toEqual([[1, ['a']]]);
    broker.socket.tell('CONFIRM', 1, 1, 5, 0);
    await broker.turn();
    expect(outcome.value?.id).toBe(5);
  });

  test('rejects what is refused with DISK_FULL when no FLOW has come', async () => {
    const { client, broker } = await connected();
    const outcome = outcomeOf(client.publish('q', 'a'));
    await broker.turn();
    broker.socket.tell('REJECT', 1, 1, 'DISK_FULL', '');
    await broker.turn();
    expect(outcome.error).toMatchObject({ code: 'DISK_FULL' });
  });
});
