import { decodeValue } from '@lovage/protocol';
import { describe, expect, test, vi } from 'vitest';
import type { Client } from '../../client-sdk/client.js';
import type { PublishOptions, Receipt } from '../../client-sdk/message.js';
import { connected, type FakeSocket, outcomeOf, useVirtualTime } from './fake-broker.js';

useVirtualTime();

/** Bodies as text, in order, of one PUBLISH frame's messages. */
function texts(fields: readonly unknown[]): string[] {
  return (fields[3] as unknown[][]).map((message) => Buffer.from(message[7] as Uint8Array).toString());
}

function seqs(socket: FakeSocket): number[] {
  return socket.all('PUBLISH').map(({ fields }) => fields[0] as number);
}

function hex(socket: FakeSocket): string[] {
  return socket.all('PUBLISH').map(({ bytes }) => Buffer.from(bytes).toString('hex'));
}

function publishAll(client: Client, bodies: readonly unknown[]): ReturnType<typeof outcomeOf<Receipt>>[] {
  return bodies.map((body) => outcomeOf(client.publish('sms', body)));
}

describe('publish', () => {
  test('sends what one turn brings in one frame and resolves with receipts', async () => {
    const { client, broker } = await connected();
    const outcomes = [
      ...publishAll(client, ['a', 'b']),
      outcomeOf(
        client.publish('mail', 'c', { priority: 9, delayMs: 5, expiresInMs: 60, dedupKey: 'k', headers: { n: 1 } }),
      ),
    ];
    expect(broker.socket.frames.slice(1)).toEqual([]);
    await broker.turn();
    expect(broker.socket.all('PUBLISH')).toHaveLength(1);
    expect(broker.socket.news()).toEqual(
      [
        [
          'PUBLISH',
          1,
          0,
          0,
          [
            [0, null, 0, 0, null, 'text/plain', null, Buffer.from('a')],
            [0, null, 0, 0, null, 'text/plain', null, Buffer.from('b')],
            [1, 9, 5, 60, 'k', 'text/plain', { n: 1 }, Buffer.from('c')],
          ].map((message) => message.map((field) => (Buffer.isBuffer(field) ? new Uint8Array(field) : field))),
          ['sms', 'mail'],
        ],
      ].map((frame) => frame),
    );
    broker.socket.tell('CONFIRM', 1, 2, 40, 0);
    broker.socket.tell('DUPLICATE', 3, 7, 1);
    await broker.turn();
    expect(outcomes.map(({ value }) => value)).toEqual([
      { id: 40, duplicate: false, durability: 'disk' },
      { id: 41, duplicate: false, durability: 'disk' },
      { id: 7, duplicate: true, durability: 'interval' },
    ]);
  });

  test('encodes bytes as they are, a string as UTF-8 and anything else as MessagePack', async () => {
    const { client, broker } = await connected();
    publishAll(client, [Uint8Array.of(1, 2), 'é', { a: [1, null] }, 7, null, undefined, Buffer.from('x')]);
    await broker.turn();
    const messages = broker.socket.all('PUBLISH')[0]!.fields[3] as unknown[][];
    const seen = messages.map((message) => [message[5], Buffer.from(message[7] as Uint8Array).toString('hex')]);
    expect(seen.slice(0, 2)).toEqual([
      [null, '0102'],
      ['text/plain', 'c3a9'],
    ]);
    expect(messages.slice(2, 6).map((message) => decodeValue(message[7] as Uint8Array))).toEqual([
      { a: [1, null] },
      7,
      null,
      null,
    ]);
    expect(seen.slice(2, 6).map(([type]) => type)).toEqual(Array(4).fill('application/msgpack'));
    expect(seen[6]).toEqual([null, '78']);
  });

  test('takes the bytes at once: changing them later changes nothing', async () => {
    const { client, broker } = await connected();
    const body = Uint8Array.of(1, 2, 3);
    outcomeOf(client.publish('sms', body));
    body.fill(9);
    await broker.turn();
    expect((broker.socket.all('PUBLISH')[0]!.fields[3] as unknown[][])[0]![7]).toEqual(Uint8Array.of(1, 2, 3));
  });

  test('keeps messages of other durability apart, in order', async () => {
    const { client, broker } = await connected({ autoDeclare: true });
    for (const [i, durability] of (['disk', 'memory', 'memory', undefined] as const).entries())
      outcomeOf(client.publish('sms', `${i}`, { durability }));
    await broker.turn();
    const frames = broker.socket.all('PUBLISH').map(({ fields }) => [fields[0], fields[2], texts(fields)]);
    expect(frames).toEqual([
      [1, 2, ['0']],
      [2, 3, ['1', '2']],
      [4, 2, ['3']],
    ]);
  });

  test('sends a frame at once when it has 64 KiB, and the rest at the end of the turn', async () => {
    const { client, broker } = await connected();
    const body = new Uint8Array(25_000);
    publishAll(client, [body, body]);
    expect(broker.socket.all('PUBLISH')).toHaveLength(0);
    publishAll(client, [body]);
    expect(broker.socket.all('PUBLISH')).toHaveLength(1);
    publishAll(client, [body]);
    expect(broker.socket.all('PUBLISH')).toHaveLength(1);
    await broker.turn();
    expect(seqs(broker.socket)).toEqual([1, 4]);
  });

  test('never makes a frame larger than the broker takes, however many and long its targets', async () => {
    const { client, broker } = await connected({ publishBufferBytes: 1_000_000_000 });
    const name = (i: number): string => `${i}`.padStart(200, 'q');
    for (let i = 0; i < 4_095; i++) outcomeOf(client.publish(name(i), 'x'.repeat(36)));
    outcomeOf(client.publish(name(5_000), new Uint8Array(16 * 1024 * 1024), { headers: { h: 'x'.repeat(65_000) } }));
    await broker.turn();
    const { frameBytesMax } = broker.welcomeFields().limits;
    for (const { bytes } of broker.socket.all('PUBLISH')) expect(bytes.length).toBeLessThanOrEqual(frameBytesMax);
  });

  test('is confirmed in any order and in any pieces, each message once', async () => {
    const { client, broker } = await connected();
    const outcomes = publishAll(client, ['a', 'b', 'c']);
    await broker.turn();
    outcomes.push(...publishAll(client, ['d', 'e']));
    await broker.turn();
    expect(seqs(broker.socket)).toEqual([1, 4]);
    broker.socket.tell('CONFIRM', 3, 2, 30, 0);
    broker.socket.tell('CONFIRM', 3, 1, 99, 0);
    broker.socket.tell('REJECT', 5, 1, 'DISK_FULL', '');
    broker.socket.tell('CONFIRM', 1, 1, 10, 3);
    await broker.turn();
    expect(outcomes.map(({ state, value }) => [state, value?.id])).toEqual([
      ['resolved', 10],
      ['pending', undefined],
      ['resolved', 30],
      ['resolved', 31],
      ['rejected', undefined],
    ]);
    expect(outcomes[0]!.value!.durability).toBe('memory');
    expect(outcomes[4]!.error).toMatchObject({ code: 'DISK_FULL' });
    broker.socket.tell('CONFIRM', 1, 1_000, 20, 0);
    await broker.turn();
    expect(outcomes[1]!.value!.id).toBe(21);
  });

  test('rejects with the code and words of a REJECT', async () => {
    const { client, broker } = await connected();
    const outcomes = publishAll(client, ['a', 'b']);
    await broker.turn();
    broker.socket.tell('REJECT', 1, 2, 'QUEUE_NOT_FOUND', 'Cannot publish: queue "sms" does not exist');
    await broker.turn();
    for (const { error } of outcomes) {
      expect(error).toMatchObject({ code: 'QUEUE_NOT_FOUND', message: 'Cannot publish: queue "sms" does not exist' });
    }
  });

  test('waits in the client while the socket has 4 MiB unsent', async () => {
    const { client, broker } = await connected();
    broker.socket.isStalled = true;
    const body = new Uint8Array(1024 * 1024);
    publishAll(client, Array(7).fill(body));
    await broker.turn();
    expect(broker.socket.all('PUBLISH').length).toBe(4);
    broker.socket.drain();
    await broker.turn();
    expect(seqs(broker.socket)).toEqual([1, 2, 3, 4, 5, 6, 7]);
  });

  const OUT_OF_RANGE: readonly (readonly [string, unknown])[] = [
    ['priority', -1],
    ['priority', 256],
    ['priority', 1.5],
    ['priority', Number.NaN],
    ['delayMs', -1],
    ['delayMs', 315_360_000_001],
    ['delayMs', 0.5],
    ['expiresInMs', 0],
    ['expiresInMs', 315_360_000_001],
    ['dedupKey', 'x'.repeat(201)],
    ['dedupKey', 7],
    ['contentType', 'x'.repeat(201)],
    ['contentType', 'text/plain\n'],
    ['contentType', 7],
    ['headers', []],
    ['headers', 'x'],
    ['durability', 'paper'],
  ];
  test.each(OUT_OF_RANGE)('refuses %s %j and sends nothing of it', async (field, value) => {
    const { client, broker } = await connected();
    const good = outcomeOf(client.publish('sms', 'good'));
    await expect(client.publish('sms', 'bad', { [field]: value } as PublishOptions)).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      details: { field },
    });
    await broker.turn();
    expect(broker.socket.all('PUBLISH').map(({ fields }) => texts(fields))).toEqual([['good']]);
    broker.socket.tell('CONFIRM', 1, 1, 1, 0);
    await broker.turn();
    expect(good.state).toBe('resolved');
  });

  test('refuses options that are no object, a body that MessagePack has not, and what is too large', async () => {
    const { client } = await connected();
    const refused = (promise: Promise<unknown>, code: string, details: object = {}): Promise<void> =>
      expect(promise).rejects.toMatchObject({ code, ...details });
    await refused(client.publish('sms', 'x', null as unknown as PublishOptions), 'INVALID_ARGUMENT');
    await refused(
      client.publish('sms', () => undefined),
      'INVALID_ARGUMENT',
    );
    await refused(client.publish('sms', 'x', { headers: { when: new Date() } }), 'INVALID_ARGUMENT');
    await refused(client.publish('two words', 'x'), 'INVALID_NAME', { details: { field: 'queue' } });
    await refused(client.publish('sms', new Uint8Array(16 * 1024 * 1024 + 1)), 'BODY_TOO_LARGE', {
      details: { bytes: 16_777_217, bytesMax: 16_777_216 },
    });
    await refused(client.publish('sms', 'é'.repeat(8 * 1024 * 1024 + 1)), 'BODY_TOO_LARGE');
    await refused(client.publish('sms', '', { headers: { a: 'x'.repeat(65_536) } }), 'HEADERS_TOO_LARGE');
  });

  test('goes by the limits that WELCOME tells', async () => {
    const { client } = await connected({}, (broker) => {
      broker.welcome = { limits: { bodyBytesMax: 10, headerBytesMax: 10, frameBytesMax: 1_048_586 } };
    });
    await expect(client.publish('sms', '0123456789a')).rejects.toMatchObject({ code: 'BODY_TOO_LARGE' });
    expect(outcomeOf(client.publish('sms', 'ééééé')).state).toBe('pending');
    await expect(client.publish('sms', '', { headers: { a: '0123456789' } })).rejects.toMatchObject({
      code: 'HEADERS_TOO_LARGE',
    });
  });
});

describe('publishMany', () => {
  test('resolves with receipts in order; nothing for nothing', async () => {
    const { client, broker } = await connected({}, (prepared) => {
      prepared.confirms = true;
    });
    const many = outcomeOf(client.publishMany('sms', [{ body: 'a' }, { body: 'b', priority: 3 }]));
    await broker.turn();
    expect(many.value).toMatchObject([{ id: 1_001 }, { id: 1_002 }]);
    expect(await client.publishMany('sms', [])).toEqual([]);
    expect(broker.socket.all('PUBLISH')).toHaveLength(1);
  });

  test('tells the first failure, which it was and how many there were; the others are taken', async () => {
    const { client, broker } = await connected();
    const many = outcomeOf(
      client.publishMany('sms', [{ body: 'a' }, { body: 'b', priority: 999 }, { body: 'c' }, { body: 'd' }]),
    );
    await broker.turn();
    expect(texts(broker.socket.all('PUBLISH')[0]!.fields)).toEqual(['a', 'c', 'd']);
    broker.socket.tell('CONFIRM', 1, 2, 1, 0);
    broker.socket.tell('REJECT', 3, 1, 'DISK_FULL', 'No room');
    await broker.turn();
    expect(many.error).toMatchObject({ code: 'INVALID_ARGUMENT', details: { field: 'priority', index: 1, failed: 2 } });
    expect(many.error!.message).toContain('message 1 of 4; 2 failed');
  });

  test('refuses what is no array, and entries that are no messages', async () => {
    const { client } = await connected();
    await expect(client.publishMany('sms', 'x' as never)).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      details: { field: 'messages' },
    });
    await expect(client.publishMany('sms', [null] as never)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  });

  test('sends nothing when there is no room for all', async () => {
    const { client, broker } = await connected({ publishBufferMessages: 3 });
    const full = client.publishMany('sms', Array(4).fill({ body: 'x' }));
    await expect(full).rejects.toMatchObject({ code: 'PUBLISH_BUFFER_FULL', details: { messages: 0 } });
    await broker.turn();
    expect(broker.socket.all('PUBLISH')).toHaveLength(0);
  });
});

describe('the buffer of publishes', () => {
  test('is full by count until confirms come', async () => {
    const { client, broker } = await connected({ publishBufferMessages: 3 });
    const outcomes = publishAll(client, ['a', 'b', 'c', 'd']);
    await broker.turn();
    expect(outcomes.map(({ state }) => state)).toEqual(['pending', 'pending', 'pending', 'rejected']);
    expect(outcomes[3]!.error).toMatchObject({ code: 'PUBLISH_BUFFER_FULL', details: { messages: 3 } });
    broker.socket.tell('CONFIRM', 1, 3, 1, 0);
    const again = outcomeOf(client.publish('sms', 'e'));
    await broker.turn();
    expect(again.state).toBe('pending');
    expect(seqs(broker.socket)).toEqual([1, 4]);
  });

  test('is full by bytes, but always takes one message', async () => {
    const { client, broker } = await connected({ publishBufferBytes: 1_024 });
    const large = outcomeOf(client.publish('sms', new Uint8Array(5_000)));
    const more = outcomeOf(client.publish('sms', 'x'));
    await broker.turn();
    expect(large.state).toBe('pending');
    expect(more.error).toMatchObject({ code: 'PUBLISH_BUFFER_FULL' });
    expect(more.error!.details!.bytes).toBeGreaterThan(5_000);
    broker.socket.tell('CONFIRM', 1, 1, 1, 0);
    expect(outcomeOf(client.publish('sms', new Uint8Array(5_000))).state).toBe('pending');
  });

  test('fills up while disconnected and is empty again in the end', async () => {
    const { client, broker } = await connected({ publishBufferMessages: 100 });
    broker.isUp = false;
    broker.socket.close();
    const outcomes = publishAll(
      client,
      Array.from({ length: 101 }, (_, i) => `${i}`),
    );
    await broker.turn();
    expect(outcomes.filter(({ state }) => state === 'rejected')).toHaveLength(1);
    broker.isUp = true;
    broker.confirms = true;
    await broker.pass(10_000);
    expect(outcomes.filter(({ state }) => state === 'resolved')).toHaveLength(100);
    const again = publishAll(
      client,
      Array.from({ length: 100 }, (_, i) => `${i}`),
    );
    await broker.turn();
    expect(again.every(({ state }) => state === 'resolved')).toBe(true);
  });
});

describe('after a lost connection', () => {
  test('unconfirmed frames are sent again once, byte for byte and with the same numbers', async () => {
    const { client, broker } = await connected();
    const outcomes = publishAll(client, ['a', 'b']);
    await broker.turn();
    outcomes.push(...publishAll(client, ['c']));
    await broker.turn();
    broker.socket.tell('CONFIRM', 2, 1, 20, 0);
    const first = hex(broker.socket);
    await broker.reconnect({ resumed: true });
    expect(hex(broker.socket)).toEqual(first);
    broker.socket.tell('CONFIRM', 1, 3, 10, 0);
    await broker.turn();
    expect(outcomes.map(({ value }) => value!.id)).toEqual([10, 20, 12]);
    await broker.reconnect({ resumed: true });
    expect(hex(broker.socket)).toEqual([]);
  });

  test('frames go out once on the new connection, consumers or not, behind the requests', async () => {
    const { client, broker } = await connected();
    void client.consume('sms', () => undefined);
    await broker.turn();
    broker.replies = null;
    const declared = outcomeOf(client.queues.declare('new'));
    publishAll(client, ['a']);
    await broker.turn();
    await broker.reconnect();
    broker.socket.tell('REPLY', 2, { created: true, settings: {} });
    await broker.turn();
    expect(broker.socket.frames.map(({ op }) => op)).toEqual(['HELLO', 'CONSUME', 'QUEUE_DECLARE', 'PUBLISH']);
    expect(declared.state).toBe('resolved');
  });

  test('what was published meanwhile follows what was sent before, in order', async () => {
    const { client, broker } = await connected();
    publishAll(client, ['a']);
    await broker.turn();
    broker.isUp = false;
    broker.socket.close();
    publishAll(client, ['b']);
    await broker.turn();
    publishAll(client, ['c', 'd']);
    await broker.pass(1_000);
    broker.isUp = true;
    await broker.pass(10_000);
    expect(broker.socket.all('PUBLISH').map(({ fields }) => [fields[0], texts(fields)])).toEqual([
      [1, ['a']],
      [2, ['b']],
      [3, ['c', 'd']],
    ]);
  });

  test('confirmedSeq covers no number that may come again', async () => {
    const { client, broker } = await connected();
    const confirmed = (): unknown[] => broker.socket.all('PUBLISH').map(({ fields }) => [fields[0], fields[1]]);
    publishAll(client, ['a', 'b']);
    await broker.turn();
    publishAll(client, ['c']);
    await broker.turn();
    // All of the first frame but one message, and all of the second.
    broker.socket.tell('CONFIRM', 2, 2, 20, 0);
    publishAll(client, ['d']);
    await broker.turn();
    expect(confirmed()).toEqual([
      [1, 0],
      [3, 0],
      [4, 0],
    ]);
    broker.socket.tell('CONFIRM', 1, 1, 10, 0);
    publishAll(client, ['e']);
    await broker.turn();
    expect(confirmed().at(-1)).toEqual([5, 3]);
    broker.socket.tell('CONFIRM', 4, 2, 40, 0);
    publishAll(client, ['f']);
    await broker.turn();
    expect(confirmed().at(-1)).toEqual([6, 5]);
  });

  test('at random, numbers come again only above what was declared confirmed, and always with the same bytes', async () => {
    const { client, broker } = await connected({ publishTimeoutMs: 20_000, publishBufferMessages: 50 });
    let state = 1;
    const chance = (n: number): number => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
      return (state >>> 8) % n;
    };
    const bytesOf = new Map<number, string>();
    const seen = new Set<unknown>();
    let confirmed = 0;
    let highest = 0;
    const look = (): void => {
      for (const socket of broker.sockets)
        for (const frame of socket.all('PUBLISH')) {
          if (seen.has(frame)) continue;
          seen.add(frame);
          const [firstSeq, confirmedSeq, , messages] = frame.fields as [number, number, number, unknown[]];
          const text = Buffer.from(frame.bytes).toString('hex');
          expect(firstSeq).toBeGreaterThan(confirmed);
          expect(bytesOf.get(firstSeq) ?? text).toBe(text);
          if (!bytesOf.has(firstSeq)) expect(firstSeq).toBe(highest + 1);
          bytesOf.set(firstSeq, text);
          highest = Math.max(highest, firstSeq + messages.length - 1);
          confirmed = Math.max(confirmed, confirmedSeq);
        }
    };
    for (let step = 0; step < 2_000; step++) {
      const what = chance(20);
      if (what < 10) publishAll(client, Array(1 + chance(3)).fill('x'));
      else if (what < 16 && highest > 0) broker.socket.tell('CONFIRM', 1 + chance(highest), 1 + chance(4), 1, 0);
      else if (what < 17) broker.socket.close();
      else await broker.pass(chance(3_000));
      await broker.turn();
      look();
    }
    expect(highest).toBeGreaterThan(500);
    expect(broker.sockets.length).toBeGreaterThan(30);
  });
});

describe('PUBLISH_TIMEOUT', () => {
  test('comes while connected and says that the message was sent', async () => {
    const { client, broker } = await connected({ publishTimeoutMs: 1_000 });
    const [early] = publishAll(client, ['early']);
    await broker.pass(500);
    const [late] = publishAll(client, ['late']);
    await broker.pass(502);
    expect(early!.error).toMatchObject({ code: 'PUBLISH_TIMEOUT', details: { wasSent: true } });
    expect(late!.state).toBe('pending');
    // Its confirm comes too late and harms nobody.
    broker.socket.tell('CONFIRM', 1, 2, 10, 0);
    await broker.turn();
    expect(late!.value!.id).toBe(11);
  });

  test('comes while disconnected; what was never sent says so and is not sent later', async () => {
    const { client, broker } = await connected({ publishTimeoutMs: 1_000 });
    const [sent] = publishAll(client, ['sent']);
    await broker.turn();
    broker.isUp = false;
    broker.socket.close();
    const [unsent] = publishAll(client, ['unsent']);
    await broker.pass(600);
    const [kept] = publishAll(client, ['kept']);
    await broker.pass(500);
    expect(sent!.error).toMatchObject({ code: 'PUBLISH_TIMEOUT', details: { wasSent: true } });
    expect(unsent!.error).toMatchObject({ code: 'PUBLISH_TIMEOUT', details: { wasSent: false } });
    expect(kept!.state).toBe('pending');
    broker.isUp = true;
    vi.spyOn(Math, 'random').mockReturnValue(0);
    await broker.pass(499);
    // Nor is the other one, because nobody waits for it: its number is declared as done with.
    expect(broker.socket.all('PUBLISH').map(({ fields }) => [fields[0], fields[1], texts(fields)])).toEqual([
      [2, 1, ['kept']],
    ]);
  });

  test('counts from each publish while disconnected', async () => {
    const { client, broker } = await connected({ publishTimeoutMs: 1_000 });
    broker.isUp = false;
    broker.socket.close();
    const times: number[] = [];
    for (let i = 0; i < 5; i++) {
      const at = performance.now();
      client.publish('sms', 'x').catch(() => times.push(performance.now() - at));
      await broker.pass(300);
    }
    await broker.pass(2_000);
    expect(times).toHaveLength(5);
    for (const ms of times) {
      expect(ms).toBeGreaterThanOrEqual(1_000);
      expect(ms).toBeLessThanOrEqual(1_003);
    }
  });

  test('frees the buffer of what was not sent, and keeps that of what was until it is answered', async () => {
    const { client, broker } = await connected({ publishTimeoutMs: 1_000, publishBufferMessages: 2 });
    const outcomes = publishAll(client, ['a', 'b']);
    await broker.pass(1_100);
    expect(outcomes.map(({ error }) => error?.code)).toEqual(['PUBLISH_TIMEOUT', 'PUBLISH_TIMEOUT']);
    await expect(client.publish('sms', 'c')).rejects.toMatchObject({ code: 'PUBLISH_BUFFER_FULL' });
    broker.isUp = false;
    broker.socket.close();
    const unsent = publishAll(client, ['d', 'e']);
    await broker.pass(1_100);
    expect(unsent.map(({ error }) => error?.code)).toEqual(['PUBLISH_TIMEOUT', 'PUBLISH_TIMEOUT']);
    expect(outcomeOf(client.publish('sms', 'f')).state).toBe('pending');
  });

  test('comes for one that was published in the turn in which another deadline passed', async () => {
    const { client, broker } = await connected({ publishTimeoutMs: 1_000, requestTimeoutMs: 500 });
    broker.replies = null;
    const request = client.queues.inspect('sms').catch(() => {
      // The alarm has just gone off; this frame is not sealed yet.
      late.push(outcomeOf(client.publish('sms', 'x')));
    });
    const late: ReturnType<typeof outcomeOf<Receipt>>[] = [];
    await broker.pass(502);
    await request;
    await broker.pass(1_010);
    expect(late[0]!.error).toMatchObject({ code: 'PUBLISH_TIMEOUT' });
  });
});
