import {
  decodeFrame,
  encodeValue,
  FrameReader,
  FrameWriter,
  LIMITS,
  type MessageFields,
  PUBLISH_FLAGS,
  PublishBatch,
  PublishFrameWriter,
} from '@lovage/protocol';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { concat, expectCode, failure, hex, unhex, utf8 } from './bytes.js';
import { LIMITS_OF_TESTS } from './golden.js';

const PLAIN: MessageFields = {
  target: 'sms',
  priority: -1,
  delayMs: 0,
  expiresInMs: 0,
  dedupKey: null,
  contentType: null,
  headers: null,
  body: new Uint8Array(0),
};

function scan(frame: Uint8Array, batch = new PublishBatch()): PublishBatch {
  return batch.scan(new FrameReader().open(frame), LIMITS_OF_TESTS);
}

/** A frame of one message (its fields as hex), and the frame's own fields where a test changes them. */
function frameOf(
  message: string,
  own: { seq?: string; confirmed?: string; flags?: string; targets?: string } = {},
): Uint8Array {
  const { seq = '01', confirmed = '00', flags = '00', targets = '91a3736d73' } = own;
  return unhex(`96 03 ${seq} ${confirmed} ${flags} 91 ${message} ${targets}`);
}

/** The hex of one message, fields changed by name. */
function messageOf(
  changes: Partial<
    Record<'target' | 'priority' | 'delayMs' | 'expiresInMs' | 'dedupKey' | 'contentType' | 'headers' | 'body', string>
  >,
): string {
  const fields = {
    target: '00',
    priority: 'c0',
    delayMs: '00',
    expiresInMs: '00',
    dedupKey: 'c0',
    contentType: 'c0',
    headers: 'c0',
    body: 'c400',
    ...changes,
  };
  return `98 ${Object.values(fields).join(' ')}`;
}

/** A message with a ninth field. */
function ratedOf(rate: string): string {
  return `99 ${messageOf({}).slice(3)} ${rate}`;
}

function str(text: string): string {
  return hex(encodeValue(text));
}

/** One value of each MessagePack type. */
const TYPES = {
  nil: 'c0',
  bool: 'c3',
  uint: '05',
  negative: 'ff',
  unsafe: 'cf0020000000000000',
  nan: 'cb7ff8000000000000',
  float: 'cb3ff8000000000000',
  wholeFloat: 'cb4014000000000000',
  text: 'a161',
  bytes: 'c40161',
  array: '90',
  map: '80',
  extension: 'd40100',
  timestamp: 'd6ff00000000',
} as const;
type TypeName = keyof typeof TYPES;

describe('PublishBatch.scan', () => {
  test('reads every field', () => {
    const message = messageOf({
      priority: 'ccff',
      delayMs: 'cd1388',
      expiresInMs: 'cdea60',
      dedupKey: 'a26b31',
      contentType: 'a3612f62',
      headers: '81a16101',
      body: 'c4026869',
    });
    const batch = scan(frameOf(message, { seq: '07', confirmed: '06', flags: '03' }));
    expect(batch).toMatchObject({
      firstSeq: 7,
      confirmedSeq: 6,
      flags: PUBLISH_FLAGS.MEMORY | PUBLISH_FLAGS.AUTO_DECLARE,
      count: 1,
      targets: ['sms'],
      problem: null,
    });
    expect([batch.target[0], batch.priority[0], batch.delayMs[0], batch.expiresInMs[0]]).toEqual([
      0, 255, 5_000, 60_000,
    ]);
    expect(batch.dedupKeys).toEqual(new Map([[0, 'k1']]));
    const payload = batch.bytes.subarray(batch.payloadOffset[0], batch.payloadOffset[0]! + batch.payloadLength[0]!);
    expect(hex(payload)).toBe('a3612f6281a16101c4026869');
  });

  test('marks a message without a priority with -1', () => {
    expect(scan(frameOf(messageOf({}))).priority[0]).toBe(-1);
  });

  test('takes an empty frame', () => {
    expect(scan(unhex('96 03 01 00 00 90 90'))).toMatchObject({ count: 0, targets: [], problem: null });
  });

  test('passes over unknown fields at the end of the frame and of a message', () => {
    const batch = scan(
      unhex('98 03 01 00 00 91 9b 00 c0 00 00 c0 c0 c0 c4026869 c0 81a161c0 93010203 91a3736d73 c0 a3616263'),
    );
    expect(batch).toMatchObject({ count: 1, problem: null });
    expect(batch.payloadLength[0]).toBe(6);
    expect(batch.rates.size).toBe(0);
  });

  test('reads the rate limit that a message is under', () => {
    const batch = scan(frameOf(ratedOf(`93 ${str('sms')} ${str('+43')} 07`)));
    expect(batch).toMatchObject({ count: 1, problem: null });
    expect(batch.rates).toEqual(new Map([[0, { limit: 'sms', key: '+43' }]]));
    expect(batch.payloadLength[0]).toBe(4);
    expect(scan(frameOf(ratedOf(`92 ${str('sms')} c0`)), batch).rates.get(0)).toEqual({ limit: 'sms', key: null });
    expect(scan(frameOf(messageOf({})), batch).rates.size).toBe(0);
  });

  test.each([
    ['INVALID_NAME', 'rateLimit', `92 ${str('a b')} c0`],
    ['INVALID_NAME', 'rateLimit', `92 ${str('')} c0`],
    ['INVALID_ARGUMENT', 'rateKey', `92 ${str('sms')} ${str('k'.repeat(201))}`],
    ['INVALID_ARGUMENT', 'rateKey', `92 ${str('sms')} ${str('é'.repeat(101))}`],
  ])('refuses the frame with %s for a bad %s', (code, field, rate) => {
    expect(scan(frameOf(ratedOf(rate))).problem).toEqual({ code, field, index: 0 });
  });

  test.each(['05', '90', `91 ${str('sms')}`, '92 05 c0', `92 ${str('sms')} 05`, '80'])(
    'is BAD_FRAME for a rate of %s',
    (rate) => {
      expectCode('BAD_FRAME', () => scan(frameOf(ratedOf(rate))));
    },
  );

  test('forgets the frame before', () => {
    const batch = scan(frameOf(messageOf({ priority: 'cd0100', dedupKey: 'a26b31' })));
    expect(batch.problem).not.toBe(null);
    scan(frameOf(messageOf({})), batch);
    expect(batch.problem).toBe(null);
    expect(batch.dedupKeys.size).toBe(0);
    expect(batch.targets).toEqual(['sms']);
  });

  const ACCEPTS: Record<string, readonly TypeName[]> = {
    target: [],
    priority: ['nil', 'uint'],
    delayMs: ['uint'],
    expiresInMs: ['uint'],
    dedupKey: ['nil', 'text'],
    contentType: ['nil', 'text'],
    headers: ['nil', 'map'],
    body: ['bytes'],
  };
  for (const [field, accepted] of Object.entries(ACCEPTS)) {
    for (const [type, bytes] of Object.entries(TYPES)) {
      const isAccepted = accepted.includes(type as TypeName);
      test(`${isAccepted ? 'takes' : 'refuses'} ${type} as ${field}`, () => {
        const frame = frameOf(messageOf({ [field]: bytes }));
        if (isAccepted) expect(scan(frame).problem).toBe(null);
        else expectCode('BAD_FRAME', () => scan(frame));
      });
    }
  }

  for (const own of ['seq', 'confirmed', 'flags', 'targets'] as const) {
    for (const [type, bytes] of Object.entries(TYPES)) {
      if (type === 'uint' && own !== 'targets') continue;
      test(`refuses ${type} as the frame's ${own}`, () => {
        expectCode('BAD_FRAME', () => scan(frameOf(messageOf({}), { [own]: bytes })));
      });
    }
  }

  test('refuses a message or a list of messages that is no array, and one that is too short', () => {
    for (const bytes of Object.values(TYPES)) {
      expectCode('BAD_FRAME', () => scan(frameOf(bytes)));
      expectCode('BAD_FRAME', () => scan(unhex(`96 03 01 00 00 ${bytes === '90' ? '91' : bytes} 91a3736d73`)));
    }
    expectCode('BAD_FRAME', () => scan(frameOf('97 00 c0 00 00 c0 c0 c400')));
    expectCode('BAD_FRAME', () => scan(unhex('95 03 01 00 00 90')));
  });

  const RANGES: [string, string, string, string, string][] = [
    ['priority', 'ccff', 'cd0100', 'INVALID_ARGUMENT', 'priority'],
    ['priority', '00', 'cf001fffffffffffff', 'INVALID_ARGUMENT', 'priority'],
    ['delayMs', 'cf000000496cebb800', 'cf000000496cebb801', 'INVALID_ARGUMENT', 'delayMs'],
    ['expiresInMs', 'cf000000496cebb800', 'cf000000496cebb801', 'INVALID_ARGUMENT', 'expiresInMs'],
    ['dedupKey', str('k'.repeat(200)), str('k'.repeat(201)), 'INVALID_ARGUMENT', 'dedupKey'],
    ['dedupKey', str('é'.repeat(100)), str('é'.repeat(101)), 'INVALID_ARGUMENT', 'dedupKey'],
    ['contentType', str('a'.repeat(200)), str('a'.repeat(201)), 'INVALID_ARGUMENT', 'contentType'],
    ['contentType', str('text/plain; charset="~"'), str('text/é'), 'INVALID_ARGUMENT', 'contentType'],
    ['contentType', str(' '), str('\n'), 'INVALID_ARGUMENT', 'contentType'],
    ['contentType', 'a0', 'a1ff', 'INVALID_ARGUMENT', 'contentType'],
  ];
  test.each(RANGES)(
    'takes %s up to its bound (%s) and leaves a problem beyond (%s)',
    (field, good, bad, code, name) => {
      expect(scan(frameOf(messageOf({ [field]: good }))).problem).toBe(null);
      expect(scan(frameOf(messageOf({ [field]: bad }))).problem).toEqual({ code, field: name, index: 0 });
    },
  );

  test('measures bodies and headers by the limits in force', () => {
    const frame = frameOf(messageOf({ headers: '81a161a162', body: 'c403616263' }));
    const withLimits = (bodyBytesMax: number, headerBytesMax: number) =>
      new PublishBatch().scan(new FrameReader().open(frame), { bodyBytesMax, headerBytesMax }).problem;
    expect(withLimits(3, 5)).toBe(null);
    expect(withLimits(2, 5)).toEqual({ code: 'BODY_TOO_LARGE', field: 'body', index: 0 });
    expect(withLimits(3, 4)).toEqual({ code: 'HEADERS_TOO_LARGE', field: 'headers', index: 0 });
  });

  test('reports the first problem and the message it is in', () => {
    const good = messageOf({});
    const bad = messageOf({ priority: 'cd0100' });
    const worse = messageOf({ delayMs: 'cf001fffffffffffff' });
    const frame = unhex(`96 03 01 00 00 94 ${good} ${bad} ${worse} ${good} 91a3736d73`);
    expect(scan(frame).problem).toEqual({ code: 'INVALID_ARGUMENT', field: 'priority', index: 1 });
  });

  test('refuses the name of a queue that is none, and points at its first message', () => {
    const frame = (name: string) =>
      unhex(
        `96 03 01 00 00 93 ${messageOf({})} ${messageOf({ target: '01' })} ${messageOf({ target: '01' })} 92 a3736d73 ${str(name)}`,
      );
    expect(scan(frame('mail/eu.1:x_Y-9')).problem).toBe(null);
    for (const name of ['', 'a b', 'ü', '*', 'x'.repeat(201), 'x\n']) {
      expect(scan(frame(name)).problem).toEqual({ code: 'INVALID_NAME', field: 'target', index: 1 });
    }
  });

  test('refuses a target that the list does not have', () => {
    expectCode('BAD_FRAME', () => scan(frameOf(messageOf({ target: '01' }))));
    expectCode('BAD_FRAME', () => scan(frameOf(messageOf({}), { targets: '90' })));
    expectCode('BAD_FRAME', () => scan(frameOf(messageOf({ target: 'cd1001' }))));
  });

  test('bounds sequence numbers so that every message of the frame has a safe one', () => {
    const last = Number.MAX_SAFE_INTEGER - LIMITS.publishMessagesMax;
    expect(scan(frameOf(messageOf({}), { seq: hex(encodeValue(last)) })).firstSeq).toBe(last);
    expectCode('BAD_FRAME', () => scan(frameOf(messageOf({}), { seq: hex(encodeValue(last + 1)) })));
    expectCode('BAD_FRAME', () => scan(frameOf(messageOf({}), { flags: 'cd0100' })));
  });

  test('takes 65,536 messages and not one more', () => {
    const message = unhex(messageOf({}));
    const frame = (count: number) =>
      concat(
        '96 03 01 00 00',
        new Uint8Array([0xdd, count >>> 24, count >>> 16, count >>> 8, count]),
        new Uint8Array(Buffer.alloc(message.length * count, message)),
        '91a3736d73',
      );
    expect(scan(frame(65_536))).toMatchObject({ count: 65_536, problem: null });
    expectCode('BAD_FRAME', () => scan(frame(65_537)));
  });

  test('takes headers in every message of a large batch', () => {
    const writer = new PublishFrameWriter(new FrameWriter());
    const headers = encodeValue(Object.fromEntries(Array.from({ length: 16 }, (_, i) => [`k${i}`, i])));
    writer.begin(1, 0);
    for (let i = 0; i < 20_000; i++) writer.add({ ...PLAIN, headers });
    expect(scan(writer.finish(0))).toMatchObject({ count: 20_000, problem: null });
  });

  test('refuses headers that are nested too deep, too many or named __proto__', () => {
    const nested = (levels: number) => messageOf({ headers: `81a161${'91'.repeat(levels - 1)}01` });
    expect(scan(frameOf(nested(LIMITS.depthMax))).problem).toBe(null);
    expectCode('BAD_FRAME', () => scan(frameOf(nested(LIMITS.depthMax + 1))));
    expectCode('BAD_FRAME', () => scan(frameOf(messageOf({ headers: `81a9${hex(utf8('__proto__'))}01` }))));
    const bomb = concat('81a161', new Uint8Array([0xdd, 0x00, 0x0f, 0x42, 0x40]), new Uint8Array(1_000_000).fill(0x80));
    expectCode('BAD_FRAME', () => scan(frameOf(messageOf({ headers: hex(bomb) }))));
  });
});

describe('PublishFrameWriter', () => {
  function frameWith(message: Partial<MessageFields>): Uint8Array {
    const writer = new PublishFrameWriter(new FrameWriter(8));
    writer.begin(1, 0);
    writer.add({ ...PLAIN, ...message });
    return writer.finish(0);
  }

  const BAD: [string, Partial<MessageFields>, string][] = [
    ['priority', { priority: 256 }, 'INVALID_ARGUMENT'],
    ['priority', { priority: -2 }, 'INVALID_ARGUMENT'],
    ['priority', { priority: 1.5 }, 'INVALID_ARGUMENT'],
    ['priority', { priority: Number.NaN }, 'INVALID_ARGUMENT'],
    ['delayMs', { delayMs: -1 }, 'INVALID_ARGUMENT'],
    ['delayMs', { delayMs: 0.5 }, 'INVALID_ARGUMENT'],
    ['delayMs', { delayMs: Number.POSITIVE_INFINITY }, 'INVALID_ARGUMENT'],
    ['delayMs', { delayMs: LIMITS.delayMsMax + 1 }, 'INVALID_ARGUMENT'],
    ['expiresInMs', { expiresInMs: Number.NaN }, 'INVALID_ARGUMENT'],
    ['expiresInMs', { expiresInMs: LIMITS.delayMsMax + 1 }, 'INVALID_ARGUMENT'],
    ['dedupKey', { dedupKey: 'k'.repeat(201) }, 'INVALID_ARGUMENT'],
    ['dedupKey', { dedupKey: 'é'.repeat(101) }, 'INVALID_ARGUMENT'],
    ['contentType', { contentType: 'text/é' }, 'INVALID_ARGUMENT'],
    ['contentType', { contentType: 'a'.repeat(201) }, 'INVALID_ARGUMENT'],
    ['headers', { headers: encodeValue({ at: new Date(0) }) }, 'INVALID_ARGUMENT'],
    ['headers', { headers: encodeValue([1]) }, 'INVALID_ARGUMENT'],
    ['headers', { headers: unhex('') }, 'INVALID_ARGUMENT'],
    ['headers', { headers: unhex('8080') }, 'INVALID_ARGUMENT'],
    ['headers', { headers: unhex(`81a9${hex(utf8('__proto__'))}01`) }, 'INVALID_ARGUMENT'],
    ['queue', { target: 'a b' }, 'INVALID_NAME'],
    ['rateLimit', { rate: { limit: 'a b', key: null } }, 'INVALID_NAME'],
    ['rateKey', { rate: { limit: 'a', key: 'é'.repeat(101) } }, 'INVALID_ARGUMENT'],
  ];
  test.each(BAD)('refuses a bad %s before it is sent (%o)', (field, message, code) => {
    const error = failure(() => frameWith(message));
    expect(error.code).toBe(code);
    expect(error.details).toEqual({ field });
  });

  test('a message that is refused leaves the frame as it was', () => {
    const writer = new PublishFrameWriter(new FrameWriter(8));
    writer.begin(5, 0);
    writer.add({ ...PLAIN, body: 'one' });
    const { bytes } = writer;
    expectCode('INVALID_NAME', () => writer.add({ ...PLAIN, target: '?' }));
    expectCode('INVALID_ARGUMENT', () => writer.add({ ...PLAIN, priority: 999 }));
    expect([writer.count, writer.bytes]).toEqual([1, bytes]);
    writer.add({ ...PLAIN, target: 'mail', body: 'two' });
    expect(scan(writer.finish(0))).toMatchObject({ firstSeq: 5, count: 2, targets: ['sms', 'mail'], problem: null });
  });

  test('a frame is full at 65,536 messages or 4,096 targets', () => {
    const writer = new PublishFrameWriter(new FrameWriter());
    writer.begin(1, 0);
    for (let i = 0; i < LIMITS.publishTargetsMax; i++) {
      expect(writer.isFull).toBe(false);
      writer.add({ ...PLAIN, target: `q${i}` });
    }
    expect(writer.isFull).toBe(true);
    expectCode('FRAME_TOO_LARGE', () => writer.add(PLAIN));
    expect(scan(writer.finish(0))).toMatchObject({ count: 4_096, problem: null });
    writer.begin(1, 0);
    for (let i = 0; i < LIMITS.publishMessagesMax; i++) writer.add(PLAIN);
    expect(writer.isFull).toBe(true);
    expectCode('FRAME_TOO_LARGE', () => writer.add(PLAIN));
  });

  test('a frame stays as it is when the writer is begun again', () => {
    const writer = new PublishFrameWriter(new FrameWriter(8));
    writer.begin(1, 0);
    writer.add({ ...PLAIN, body: 'one' });
    const frame = writer.finish(0);
    const before = hex(frame);
    writer.begin(2, 0);
    writer.add({ ...PLAIN, target: 'other', body: 'two' });
    writer.finish(1);
    expect(hex(frame)).toBe(before);
    expect((decodeFrame(frame)[5] as string[])[0]).toBe('sms');
  });
});

describe('round trips', () => {
  const name = fc.stringMatching(/^[A-Za-z0-9_.:/-]{1,40}$/);
  const delay = fc.oneof(fc.constant(0), fc.integer({ min: 0, max: LIMITS.delayMsMax }));
  const message = fc.record<MessageFields>({
    target: fc.oneof(fc.constantFrom('sms', 'mail'), name),
    priority: fc.integer({ min: -1, max: 255 }),
    delayMs: delay,
    expiresInMs: delay,
    dedupKey: fc.option(fc.string({ unit: 'binary', maxLength: 50 })),
    contentType: fc.option(
      fc.oneof(fc.constantFrom('text/plain', 'application/msgpack'), fc.stringMatching(/^[ -~]{0,60}$/)),
    ),
    headers: fc.option(
      fc
        .dictionary(
          fc.string({ maxLength: 40 }).filter((key) => key !== '__proto__'),
          fc.oneof(fc.string(), fc.maxSafeInteger(), fc.boolean()),
          { maxKeys: 20 },
        )
        .map(encodeValue),
    ),
    body: fc.oneof(fc.uint8Array({ maxLength: 300 }), fc.string({ unit: 'binary', maxLength: 300 })),
    rate: fc.option(fc.record({ limit: name, key: fc.option(fc.string({ unit: 'binary', maxLength: 50 })) })),
  });

  test('what is published is scanned', () => {
    fc.assert(
      fc.property(
        fc.array(message, { maxLength: 40 }),
        fc.nat(2 ** 40),
        fc.nat(2 ** 40),
        fc.nat(3),
        (messages, firstSeq, confirmedSeq, flags) => {
          const writer = new PublishFrameWriter(new FrameWriter(1));
          writer.begin(firstSeq, flags);
          for (const one of messages) writer.add(one);
          const frame = writer.finish(confirmedSeq);
          const batch = scan(frame);
          expect(batch).toMatchObject({ firstSeq, confirmedSeq, flags, count: messages.length, problem: null });
          for (const [i, one] of messages.entries()) {
            expect(batch.targets[batch.target[i]!]).toBe(one.target);
            expect([batch.priority[i], batch.delayMs[i], batch.expiresInMs[i]]).toEqual([
              one.priority,
              one.delayMs,
              one.expiresInMs,
            ]);
            expect(batch.dedupKeys.get(i) ?? null).toBe(one.dedupKey);
            expect(batch.rates.get(i) ?? null).toEqual(one.rate);
          }
          expect((decodeFrame(frame)[4] as unknown[]).length).toBe(messages.length);
        },
      ),
    );
  });
});

describe('PUBLISH to exchanges', () => {
  const write = (...messages: Partial<MessageFields>[]): Uint8Array => {
    const writer = new PublishFrameWriter(new FrameWriter(16));
    writer.begin(1, PUBLISH_FLAGS.MANDATORY);
    for (const message of messages) writer.add({ ...PLAIN, ...message });
    return writer.finish(0);
  };

  test('names exchange and routing key, each pair once', () => {
    const batch = scan(
      write({ target: ['x', 'a.b'] }, { target: 'sms' }, { target: ['x', 'a.b'] }, { target: ['', 'a b'] }),
    );
    expect(batch.targets).toEqual(['a.b', 'sms', 'a b']);
    expect(batch.exchanges).toEqual(['x', null, '']);
    expect([...batch.target.slice(0, 4)]).toEqual([0, 1, 0, 2]);
    expect(batch.flags).toBe(4);
  });

  test('has no exchanges when all targets are queues, also after a frame that had', () => {
    const batch = scan(write({ target: ['x', ''] }));
    scan(write({ target: 'sms' }), batch);
    expect([batch.targets, batch.exchanges]).toEqual([['sms'], []]);
  });

  test('decodes the headers of one message', () => {
    const headers = encodeValue({ kind: 'a', level: 3 });
    const batch = scan(
      write({ target: ['x', ''], headers, contentType: 'text/plain' }, { headers }, { contentType: 'a' }, {}),
    );
    expect([0, 1, 2, 3].map((i) => batch.headersOf(i))).toEqual([
      { kind: 'a', level: 3 },
      { kind: 'a', level: 3 },
      null,
      null,
    ]);
  });

  test('with a name or key that cannot be is refused by the writer, and by the reader for the message', () => {
    expectCode('INVALID_NAME', () => write({ target: ['a b', ''] }));
    expectCode('INVALID_ARGUMENT', () => write({ target: ['x', 'k'.repeat(256)] }));
    expectCode('INVALID_ARGUMENT', () => write({ target: ['x', '\u20ac'.repeat(86)] }));
    const targets = (hexOfTargets: string): PublishBatch['problem'] =>
      scan(frameOf(messageOf({}), { targets: hexOfTargets })).problem;
    expect(targets('91 92 a3612062 a0')).toEqual({ code: 'INVALID_NAME', field: 'exchange', index: 0 });
    expect(targets(`91 92 a178 da0100 ${'6b'.repeat(256)}`)).toEqual({
      code: 'INVALID_ARGUMENT',
      field: 'key',
      index: 0,
    });
    expect(targets('91 92 a178 a16b')).toBeNull();
    // Fields that a later version may add.
    expect(targets('91 94 a178 a16b c0 9101')).toBeNull();
    for (const wrong of ['91 91 a178', '91 90', '91 92 c0 a0', '91 92 a178 01', '91 92 a178'])
      expectCode('BAD_FRAME', () => scan(frameOf(messageOf({}), { targets: wrong })));
  });
});
