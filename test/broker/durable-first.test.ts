/** Nothing shows before the record that it rests on is on disk (promise P1), effect by effect. */
import { CLIENT_OPS, PUBLISH_FLAGS } from '@lovage/protocol';
import { describe, expect, test } from 'vitest';
import { type HandClient, HandHarness } from './hand-harness.js';

interface Kind {
  readonly effect: string;
  /** Op that must not be seen before the disk has it. */
  readonly op: string;
  /** While the disk is at hand. */
  readonly before?: (client: HandClient, harness: HandHarness) => void;
  /** While it is held. */
  readonly act: (client: HandClient, harness: HandHarness) => void;
}

const message = { queue: 'q', body: 'x' };

const KINDS: readonly Kind[] = [
  { effect: 'a confirm', op: 'CONFIRM', act: (client) => client.publish([message]) },
  {
    effect: 'the delivery of a new message',
    op: 'DELIVER',
    before: (client) => client.consume(['q']),
    act: (client) => client.publish([message]),
  },
  {
    effect: 'the duplicate of a message that is not on disk',
    op: 'DUPLICATE',
    act: (client) =>
      client.publish([
        { ...message, dedupKey: 'k' },
        { ...message, dedupKey: 'k' },
      ]),
  },
  {
    effect: 'a delivery that is settled by being sent',
    op: 'DELIVER',
    before: (client) => client.publish([message]),
    act: (client) => client.consume(['q'], { ack: 'none' }),
  },
  {
    effect: 'SETTLED for an ACK',
    op: 'SETTLED',
    before: (client) => {
      client.consume(['q']);
      client.publish([message]);
    },
    act: (client) => client.settle(CLIENT_OPS.ACK, [1, 1]),
  },
  {
    effect: 'SETTLED for a START',
    op: 'SETTLED',
    before: (client) => {
      client.consume(['q']);
      client.publish([message]);
    },
    act: (client) => client.settle(CLIENT_OPS.START, [1, 1]),
  },
  {
    effect: 'SETTLED for a NACK',
    op: 'SETTLED',
    before: (client) => {
      client.consume(['q']);
      client.publish([message]);
    },
    act: (client) => client.settle(CLIENT_OPS.NACK, [1, 1]),
  },
  {
    effect: 'the redelivery of a message that a NACK gave back',
    op: 'DELIVER',
    before: (client) => {
      client.consume(['q']);
      client.publish([message]);
    },
    act: (client) => client.settle(CLIENT_OPS.NACK, [1, 1]),
  },
  {
    effect: 'the redelivery of what was started in a session that has ended',
    op: 'DELIVER',
    before: (client) => {
      client.consume(['q'], { prefetch: 1 });
      client.publish([message]);
      client.settle(CLIENT_OPS.START, [1, 1]);
    },
    act: (client, { sessions }) => {
      client.ask(CLIENT_OPS.PREFETCH, 1, 2);
      sessions.broker.submit({ type: 'close', session: client.session.number });
    },
  },
  {
    effect: 'the refusal of a tag that its own frame has settled',
    op: 'REFUSED',
    before: (client) => {
      client.consume(['q']);
      client.publish([message]);
    },
    act: (client) => client.settle(CLIENT_OPS.ACK, [1, 1, 1, 1]),
  },
  { effect: 'the reply to a new queue', op: 'REPLY', act: (client) => client.declare('new') },
  {
    effect: 'the reply to a queue that is paused',
    op: 'REPLY',
    act: (client) => client.ask(CLIENT_OPS.QUEUE_PAUSE, 'q'),
  },
  {
    effect: 'the reply to a queue that is deleted',
    op: 'REPLY',
    act: (client) => client.ask(CLIENT_OPS.QUEUE_DELETE, 'q', {}),
  },
  {
    effect: 'the end of the consumer of a queue that is deleted',
    op: 'CONSUMER_CANCELLED',
    before: (client) => client.consume(['q']),
    act: (client) => client.ask(CLIENT_OPS.QUEUE_DELETE, 'q', {}),
  },
  {
    effect: 'the loss of one of the queues of a consumer',
    op: 'CONSUMER_QUEUE_GONE',
    before: (client) => {
      client.declare('other');
      client.consume(['q', 'other']);
    },
    act: (client) => client.ask(CLIENT_OPS.QUEUE_DELETE, 'q', {}),
  },
  {
    effect: 'the reply to a purge',
    op: 'REPLY',
    before: (client) => client.publish([message, message]),
    act: (client) => client.ask(CLIENT_OPS.QUEUE_PURGE, 'q'),
  },
  {
    effect: 'a count that has a new message in it',
    op: 'REPLY',
    act: (client) => {
      client.publish([message]);
      client.ask(CLIENT_OPS.QUEUE_INSPECT, 'q');
    },
  },
  {
    effect: 'an error that tells of a queue that is new',
    op: 'ERROR',
    act: (client) => {
      client.declare('new');
      client.ask(CLIENT_OPS.QUEUE_DECLARE, 'new', { defaultPriority: 9 });
    },
  },
  {
    effect: 'a rejection behind a publish that declares a queue',
    op: 'REJECT',
    act: (client) => {
      client.publish([{ queue: 'new', body: 'x' }], PUBLISH_FLAGS.AUTO_DECLARE);
      client.publish([{ queue: 'missing', body: 'x' }]);
    },
  },
];

describe('waits for the disk:', () => {
  for (const { effect, op, before, act } of KINDS) {
    test(effect, async () => {
      const harness = await HandHarness.start();
      const client = await harness.connect();
      client.declare('q');
      before?.(client, harness);
      await harness.turns();
      // The one who sees the redelivery of what another lost.
      const other = await harness.connect();
      if (effect.includes('has ended')) other.consume(['q']);
      await harness.turns();
      client.heard();
      other.heard();
      harness.journal.isHeld = true;
      act(client, harness);
      await harness.turns();
      expect([...client.heard(), ...other.heard()]).not.toContain(op);
      expect(harness.journal.isCommitting).toBe(true);
      await harness.release();
      expect([...client.heard(), ...other.heard()]).toContain(op);
    });
  }
});

describe('while one batch is on its way', () => {
  test('an answer that has no record waits for what it tells of', async () => {
    const harness = await HandHarness.start();
    const client = await harness.connect();
    client.declare('q');
    await harness.turns();
    client.heard();
    harness.journal.isHeld = true;
    client.publish([message]);
    await harness.turns();
    client.ask(CLIENT_OPS.QUEUE_INSPECT, 'q');
    await harness.turns();
    expect(client.heard()).toEqual([]);
    await harness.release();
    expect(client.heard().sort()).toEqual(['CONFIRM', 'REPLY']);
  });

  test('a session that goes on is welcomed when what it still holds is on disk', async () => {
    const harness = await HandHarness.start();
    const client = await harness.connect();
    client.declare('q');
    client.consume(['q']);
    client.publish([message]);
    await harness.turns();
    harness.journal.isHeld = true;
    client.settle(CLIENT_OPS.START, [1, 1]);
    await harness.turns();
    const { key } = harness.sessions.broker.engine.state.session(client.session.number);
    const { session, wire } = harness.sessions.connect();
    harness.sessions.send(session, [CLIENT_OPS.HELLO, { version: 1, resume: { session: key, lastTag: 1 } }]);
    await harness.turns();
    expect(wire.frames).toEqual([]);
    await harness.letGo();
    expect(wire.frames).toHaveLength(1);
  });

  test('what is on disk already goes out all the same, before the batch and beside it', async () => {
    const harness = await HandHarness.start();
    const client = await harness.connect();
    client.declare('q');
    client.consume(['q'], { prefetch: 1 });
    client.publish([message, message]);
    await harness.turns();
    expect(client.heard()).toContain('DELIVER');
    harness.journal.isHeld = true;
    client.settle(CLIENT_OPS.ACK, [1, 1]);
    await harness.turns();
    // The next message is on disk; that the one before is settled is not.
    expect(client.heard()).toEqual(['DELIVER']);
    await harness.release();
    expect(client.heard()).toEqual(['SETTLED']);
  });
});
