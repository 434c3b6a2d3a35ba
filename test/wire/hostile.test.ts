/** What a client does to the broker that does not know the protocol, or knows it too well: it harms itself only (promise P11). */
import {
  CLIENT_OPS,
  type ClientOp,
  ERRORS,
  type ErrorCode,
  encodeFrame,
  LIMITS,
  QUEUE_SETTINGS,
  type QueueInfo,
} from '@lovage/protocol';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { BrokerProcess } from '../support/broker-process.js';
import { Bystanders } from '../support/bystanders.js';
import { Random, seedOf } from '../support/random.js';
import { consumeOptions, type publishFrame, RawClient } from '../support/raw-client.js';

const NAMESPACE = 'hostile';
const BODY_BYTES_MAX = 65_536;
const HEADER_BYTES_MAX = 1_024;
const FRAME_BYTES_MAX = BODY_BYTES_MAX + LIMITS.frameOverheadBytes;

let broker: BrokerProcess;
let bystanders: Bystanders;
/** Holds one delivery that has started, one that has not, and leaves two waiting. */
let owner: RawClient;
let victim: QueueInfo;

beforeAll(async () => {
  const flags = ['--body-bytes-max', `${BODY_BYTES_MAX}`, '--header-bytes-max', `${HEADER_BYTES_MAX}`];
  broker = await BrokerProcess.start({ flags });
  bystanders = await Bystanders.join(broker);
  owner = await RawClient.connect(broker.url, { hello: { namespace: NAMESPACE, heartbeatMs: 600_000 } });
  await owner.declare('victim');
  await owner.publishTexts('victim', ['a', 'b', 'c', 'd']);
  await owner.consume(1, ['victim'], { prefetch: 2 });
  await owner.delivered(2);
  await owner.start([1]);
  victim = await broker.queue('victim', NAMESPACE);
  expect(victim).toMatchObject({ ready: 2, leased: 1, started: 1, consumers: 1 });
});

afterEach(async () => {
  await bystanders.assertUnharmed();
  expect(await broker.queue('victim', NAMESPACE)).toEqual(victim);
  expect(broker.log).not.toContain('a connection failed');
});

afterAll(async () => {
  await bystanders.assertDrained();
  expect(owner.errors).toEqual([]);
});

function connect(): Promise<RawClient> {
  return RawClient.connect(broker.url, { hello: { namespace: NAMESPACE } });
}

function hex(text: string): Uint8Array {
  return Buffer.from(text.replaceAll(' ', ''), 'hex');
}

/** `depth` arrays in each other. */
function nested(depth: number): unknown {
  let value: unknown = 0;
  for (let i = 0; i < depth; i++) value = [value];
  return value;
}

function bytesOfArray(count: number, element: number): Uint8Array {
  const bytes = new Uint8Array(5 + count).fill(element);
  bytes[0] = 0xdd;
  new DataView(bytes.buffer).setUint32(1, count);
  return bytes;
}

describe('a frame that is no frame', () => {
  test.each<[string, Uint8Array]>([
    ['empty', hex('')],
    ['nil', hex('c0')],
    ['a number', hex('01')],
    ['a map', hex('81 01 02')],
    ['an array of nothing', hex('90')],
    ['an op of text', hex('91 a1 78')],
    ['a negative op', hex('91 ff')],
    ['an op of a float', hex('91 cb 3ff0000000000000')],
    ['an op above 16 bits', hex('91 ce 00010000')],
    ['the byte that MessagePack never uses', hex('c1')],
    ['an array longer than the frame', hex('dd ffffffff 01')],
    ['a map longer than the frame', hex('93 0b 01 df ffffffff')],
    ['text longer than the frame', hex('94 0b 01 db ffffffff c0')],
    ['bytes behind the end', Buffer.concat([encodeFrame([CLIENT_OPS.QUEUE_INSPECT, 1, 'victim']), hex('c0')])],
    ['two GOODBYEs in one', Buffer.concat([encodeFrame([18]), encodeFrame([18])])],
    ['two unknown ops in one', Buffer.concat([encodeFrame([99]), encodeFrame([99])])],
    ['an extension', hex('93 10 01 d4 01 00')],
    ['a timestamp', hex('93 10 01 d6 ff 00000000')],
    ['a map with a number for a key', hex('94 0b 01 a1 71 81 01 02')],
    ['the key __proto__', hex('94 0b 01 a1 71 81 a9 5f5f70726f746f5f5f 80')],
    ['text that is no UTF-8', hex('93 10 01 a2 c3 28')],
    ['text that is no UTF-8 in a field that nobody reads', hex('94 11 01 c0 91 81 a1 78 d9 02 61 ff')],
    ['a key that is no UTF-8', hex('94 0b 01 a1 71 81 a1 ff 01')],
    ['a frame of 65 fields', encodeFrame([CLIENT_OPS.QUEUE_INSPECT, 1, 'victim', ...new Array<null>(62).fill(null)])],
  ])('is BAD_FRAME: %s', async (_, bytes) => {
    const client = await connect();
    client.sendBytes(bytes);
    expect(await client.untilClosed()).toBe(4400);
    expect(client.errors.map(({ code }) => code)).toEqual(['BAD_FRAME']);
  });

  test('is UNKNOWN_OP for ops that the broker does not know, and the connection goes on', async () => {
    const client = await connect();
    const ops = [0, Math.max(...Object.values(CLIENT_OPS)) + 1, 63, 64, 75, 255, 65_535];
    for (const op of ops) client.send([op, 1, 'victim']);
    await client.until(() => client.errors.length === ops.length, 'the errors');
    expect(client.errors.map(({ code, details }) => [code, details])).toEqual(ops.map((op) => ['UNKNOWN_OP', { op }]));
    await client.barrier();
  });

  test('is refused when it is too deep or too wide, however it is built', async () => {
    const frames: Uint8Array[] = [
      encodeFrame([CLIENT_OPS.QUEUE_INSPECT, 1, 'victim', nested(16)]),
      encodeFrame([CLIENT_OPS.QUEUE_INSPECT, 1, 'victim', nested(120)]),
      Buffer.concat([hex('93 10 01'), new Uint8Array(500_000).fill(0x91), hex('c0')]),
      Buffer.concat([hex('94 10 01 a1 76'), bytesOfArray(1_000_000, 0x80)]),
      Buffer.concat([hex('94 10 01 a1 76'), bytesOfArray(LIMITS.elementsMax, 0xc0)]),
    ];
    for (const frame of frames) {
      const client = await connect();
      client.sendBytes(frame);
      expect(await client.untilClosed()).toBe(4400);
    }
  });

  test('is carried out up to the bounds of depth and elements', async () => {
    const client = await connect();
    client.send([CLIENT_OPS.QUEUE_INSPECT, 1, 'victim', nested(15)]);
    await client.until(() => client.replies.has(1), 'the reply');
    // frame, op, request and name are elements, too, and so is the array itself.
    const frame = Buffer.concat([hex('94 10 02 a6 76696374696d'), bytesOfArray(LIMITS.elementsMax - 5, 0xc0)]);
    client.sendBytes(frame);
    await client.until(() => client.replies.has(2), 'the reply');
  });

  test('is too large above the limit in force, and taken at it', async () => {
    const client = await connect();
    expect(client.welcome!.limits.frameBytesMax).toBe(FRAME_BYTES_MAX);
    const frame = (padding: number): Uint8Array =>
      encodeFrame([CLIENT_OPS.QUEUE_INSPECT, 1, 'victim', Buffer.alloc(padding)]);
    const overhead = frame(FRAME_BYTES_MAX / 2).length - FRAME_BYTES_MAX / 2;
    client.sendBytes(frame(FRAME_BYTES_MAX - overhead));
    await client.until(() => client.replies.has(1), 'the reply');
    client.sendBytes(frame(FRAME_BYTES_MAX - overhead + 1));
    expect(await client.untilClosed()).toBe(1009);
  });

  test('ends the connection when it breaks the rules of WebSocket', async () => {
    for (const bytes of [
      'ff ff ff ff ff ff ff ff ff ff',
      '82 05 01 02 03 04 05',
      'c2 80 00 00 00 00',
      '83 80 00 00 00 00',
    ]) {
      const client = await connect();
      client.sendPastWebSocket(hex(bytes));
      await client.untilClosed();
    }
  });
});

describe('random bytes', () => {
  test('before and after HELLO end in a coded error', async () => {
    const seed = seedOf('random bytes');
    const random = new Random(seed);
    for (let round = 0; round < 300; round++) {
      const client = await RawClient.connect(broker.url, { hello: round % 2 === 0 ? null : { namespace: NAMESPACE } });
      client.sendBytes(random.bytes(random.whole(0, 200)));
      await client.until(() => client.errors.length > 0 || client.closed !== null, `an answer in round ${round}`);
      assertCoded(client, `seed ${seed}, round ${round}`);
      client.terminate();
    }
  });

  test('in place of some bytes of a good frame do not harm the broker', async () => {
    const seed = seedOf('changed frames');
    const random = new Random(seed);
    for (let round = 0; round < 600; round++) {
      const { op, fields } = random.pick(VALID);
      const frame = Uint8Array.from(encodeFrame([CLIENT_OPS[op], ...fields]));
      for (let changes = random.whole(1, 3); changes > 0; changes--) {
        frame[random.whole(0, frame.length - 1)] = random.pick([
          0,
          0x7f,
          0x80,
          0xc0,
          0xc1,
          0xd9,
          0xdd,
          0xff,
          random.whole(0, 255),
        ]);
      }
      // A namespace of its own: a changed frame may well be a good frame that does something.
      const client = await RawClient.connect(broker.url, { hello: { namespace: 'changed' } });
      client.sendBytes(frame);
      client.send([CLIENT_OPS.QUEUE_LIST, 777, null, 1]);
      await client.until(() => client.replies.has(777) || client.closed !== null, `an answer in round ${round}`);
      assertCoded(client, `seed ${seed}, round ${round}, frame ${Buffer.from(frame).toString('hex')}`);
      client.terminate();
    }
  });
});

/** A frame that is right for each op; the queue does not exist, so that nothing of what is there is touched. */
const VALID: readonly { readonly op: ClientOp; readonly fields: readonly unknown[] }[] = [
  { op: 'HELLO', fields: [{ version: 1 }] },
  { op: 'HEARTBEAT', fields: [[1, 0]] },
  { op: 'PUBLISH', fields: [1, 0, 0, [[0, 1, 0, 0, 'key', 'text/plain', { a: 1 }, Buffer.from('x')]], ['nowhere']] },
  { op: 'CONSUME', fields: [1, 1, consumeOptions(['nowhere'], { weights: [1], exclusive: false, priority: 1 })] },
  { op: 'CANCEL', fields: [2, 1] },
  { op: 'PREFETCH', fields: [3, 1, 10] },
  { op: 'START', fields: [1, [1, 1]] },
  { op: 'ACK', fields: [1, [1, 1]] },
  { op: 'NACK', fields: [1, [1, 1], true, 0, 'why'] },
  { op: 'RELEASE', fields: [1, [1, 1]] },
  { op: 'QUEUE_DECLARE', fields: [4, 'declared', { defaultPriority: 0 }] },
  { op: 'QUEUE_DELETE', fields: [5, 'nowhere', { ifEmpty: true, ifUnused: true }] },
  { op: 'QUEUE_PURGE', fields: [6, 'nowhere'] },
  { op: 'QUEUE_PAUSE', fields: [7, 'nowhere'] },
  { op: 'QUEUE_RESUME', fields: [8, 'nowhere'] },
  { op: 'QUEUE_INSPECT', fields: [9, 'nowhere'] },
  { op: 'QUEUE_LIST', fields: [10, null, 10] },
];

const WRONG_VALUES: readonly unknown[] = [
  undefined,
  null,
  true,
  -1,
  1.5,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  2 ** 53,
  Number.MAX_SAFE_INTEGER,
  '',
  'text',
  'x'.repeat(5_000),
  '__proto__',
  'no good',
  Buffer.from('bytes'),
  [],
  [[]],
  [null],
  [1],
  [1, 2, 3],
  [0, 1],
  [1, 0],
  [-1, 1],
  {},
  { x: 1 },
  new Date(0),
];

/** Every path to a value inside `fields`, `fields` itself excluded. */
function pathsOf(value: unknown, path: readonly (string | number)[] = []): (string | number)[][] {
  const here = path.length > 0 ? [[...path]] : [];
  if (Array.isArray(value)) return [...here, ...value.flatMap((item, i) => pathsOf(item, [...path, i]))];
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return here;
  return [...here, ...Object.entries(value).flatMap(([key, item]) => pathsOf(item, [...path, key]))];
}

/** A copy of `value` with `wrong` at `path`; undefined leaves the rest of an array out, or a key. */
function replaced(value: unknown, [step, ...rest]: readonly (string | number)[], wrong: unknown): unknown {
  if (step === undefined) return wrong;
  if (Array.isArray(value)) {
    if (rest.length === 0 && wrong === undefined) return value.slice(0, step as number);
    return value.map((item, i) => (i === step ? replaced(item, rest, wrong) : item));
  }
  const copy: Record<string, unknown> = { ...(value as Record<string, unknown>) };
  copy[step] = replaced(copy[step], rest, wrong);
  if (rest.length === 0 && wrong === undefined) delete copy[step];
  return copy;
}

function assertCoded(client: RawClient, where: string): void {
  const codes = client.errors.map(({ code }) => code);
  expect(codes, where).not.toContain('INTERNAL_ERROR' satisfies ErrorCode);
  if (client.closed === null) return;
  if (client.closed.code === 1000) return;
  expect(client.closed.reason, where).toBe(codes.at(-1));
  expect(client.closed.code, where).toBe(ERRORS[codes.at(-1)!].close);
}

describe('a wrong value in a field', () => {
  test.each(VALID.map(({ op, fields }) => [op, fields] as const))(
    'of %s is answered and harms nobody',
    async (op, fields) => {
      for (const path of pathsOf(fields)) {
        for (const wrong of WRONG_VALUES) {
          const where = `${op} ${path.join('.')} = ${String(wrong).slice(0, 20)}`;
          const frame = encodeFrame([CLIENT_OPS[op], ...(replaced(fields, path, wrong) as unknown[])]);
          const client = await RawClient.connect(broker.url, { hello: op === 'HELLO' ? null : { namespace: 'wrong' } });
          client.sendBytes(frame);
          if (op === 'HELLO') {
            await client.until(() => client.welcome !== null || client.errors.length > 0, where);
          } else {
            client.send([CLIENT_OPS.QUEUE_LIST, 777, null, 1]);
            await client.until(() => client.replies.has(777) || client.closed !== null, where);
          }
          assertCoded(client, where);
          client.terminate();
        }
      }
    },
  );

  test.each<[string, readonly unknown[]]>([
    ['a request of text', [CLIENT_OPS.QUEUE_INSPECT, 'one', 'victim']],
    ['a request that is missing', [CLIENT_OPS.QUEUE_INSPECT]],
    ['ranges that are no array', [CLIENT_OPS.ACK, 1, 1]],
    ['half a range', [CLIENT_OPS.ACK, 1, [1]]],
    ['a range of none', [CLIENT_OPS.ACK, 1, [1, 0]]],
    ['tag 0', [CLIENT_OPS.ACK, 1, [0, 1]]],
    ['a range beyond 2^53', [CLIENT_OPS.ACK, 1, [Number.MAX_SAFE_INTEGER, 1]]],
    ['a tag that is a float', [CLIENT_OPS.ACK, 1, [1.5, 1]]],
    ['a NACK that is too short', [CLIENT_OPS.NACK, 1, [1, 1]]],
    ['a delay below -1', [CLIENT_OPS.NACK, 1, [1, 1], true, -2, null]],
    ['a reason of 4,001 bytes', [CLIENT_OPS.NACK, 1, [1, 1], true, 0, 'x'.repeat(4_001)]],
    ['a message of 7 fields', [CLIENT_OPS.PUBLISH, 1, 0, 0, [[0, null, 0, 0, null, null, null]], ['victim']]],
    [
      'a target that is not in the frame',
      [CLIENT_OPS.PUBLISH, 1, 0, 0, [[1, null, 0, 0, null, null, null, Buffer.of(1)]], ['victim']],
    ],
    ['a body of text', [CLIENT_OPS.PUBLISH, 1, 0, 0, [[0, null, 0, 0, null, null, null, 'text']], ['victim']]],
    [
      'headers that are no map',
      [CLIENT_OPS.PUBLISH, 1, 0, 0, [[0, null, 0, 0, null, null, [1], Buffer.of(1)]], ['victim']],
    ],
    [
      'headers of 17 levels',
      [CLIENT_OPS.PUBLISH, 1, 0, 0, [[0, null, 0, 0, null, null, { a: nested(16) }, Buffer.of(1)]], ['victim']],
    ],
    [
      'a delay of a float',
      [CLIENT_OPS.PUBLISH, 1, 0, 0, [[0, null, 0.5, 0, null, null, null, Buffer.of(1)]], ['victim']],
    ],
    ['a negative priority', [CLIENT_OPS.PUBLISH, 1, 0, 0, [[0, -1, 0, 0, null, null, null, Buffer.of(1)]], ['victim']]],
    ['a heartbeat of one number', [CLIENT_OPS.HEARTBEAT, [1]]],
    ['a heartbeat of text', [CLIENT_OPS.HEARTBEAT, ['a', 'b']]],
  ])('is BAD_FRAME: %s', async (_, fields) => {
    const client = await connect();
    client.send(fields);
    expect(await client.untilClosed()).toBe(4400);
    expect(client.answers.size).toBe(0);
  });

  const declared = (name: string, value: unknown): unknown[] => [
    CLIENT_OPS.QUEUE_DECLARE,
    1,
    'other',
    { [name]: value },
  ];
  const badSettings = Object.entries(QUEUE_SETTINGS).flatMap(([name, row]): [string, unknown[], string][] => {
    if (row.kind !== 'integer') return [[`${name} of another kind`, declared(name, ['x']), name]];
    return [
      [`${name} below its range`, declared(name, row.min - 1), name],
      [`${name} above its range`, declared(name, row.max + 1), name],
      [`${name} between whole numbers`, declared(name, row.min + 0.5), name],
    ];
  });

  test.each<[string, readonly unknown[], string]>([
    ...badSettings,
    ['a setting that does not exist', [CLIENT_OPS.QUEUE_DECLARE, 1, 'other', { colour: 1 }], 'colour'],
    [
      'a backoff whose end is below its start',
      [CLIENT_OPS.QUEUE_DECLARE, 1, 'other', { backoffMsMin: 5, backoffMsMax: 4 }],
      'backoffMsMax',
    ],
    [
      'a prefetch above the highest',
      [CLIENT_OPS.CONSUME, 1, 1, consumeOptions(['victim'], { prefetch: 65_536 })],
      'prefetch',
    ],
    ['no queue', [CLIENT_OPS.CONSUME, 1, 1, consumeOptions([])], 'queues'],
    ['a queue twice', [CLIENT_OPS.CONSUME, 1, 1, consumeOptions(['victim', 'victim'])], 'queues'],
    [
      'an ack mode that does not exist',
      [CLIENT_OPS.CONSUME, 1, 1, { ...consumeOptions(['victim']), ack: 'never' }],
      'ack',
    ],
    [
      'a queue order that does not exist',
      [CLIENT_OPS.CONSUME, 1, 1, { ...consumeOptions(['victim']), queueOrder: 'x' }],
      'queueOrder',
    ],
    ['too many weights', [CLIENT_OPS.CONSUME, 1, 1, consumeOptions(['victim'], { weights: [1, 1] })], 'weights'],
    ['a weight of 0', [CLIENT_OPS.CONSUME, 1, 1, consumeOptions(['victim'], { weights: [0] })], 'weights'],
    ['a priority of 256', [CLIENT_OPS.CONSUME, 1, 1, consumeOptions(['victim'], { priority: 256 })], 'priority'],
    ['a page of none', [CLIENT_OPS.QUEUE_LIST, 1, null, 0], 'limit'],
    ['a page above the longest', [CLIENT_OPS.QUEUE_LIST, 1, null, 1_001], 'limit'],
    ['a consumer beyond 32 bits', [CLIENT_OPS.CANCEL, 1, 2 ** 32], 'consumerId'],
  ])('is INVALID_ARGUMENT: %s', async (_, fields, field) => {
    const client = await connect();
    client.send(fields);
    await client.until(() => client.errors.length === 1, 'the error');
    expect(client.errors[0]).toMatchObject({ request: 1, code: 'INVALID_ARGUMENT', details: { field } });
    await client.barrier();
  });

  const NAMED_OPS = [
    'QUEUE_DECLARE',
    'QUEUE_DELETE',
    'QUEUE_PURGE',
    'QUEUE_PAUSE',
    'QUEUE_RESUME',
    'QUEUE_INSPECT',
  ] as const;
  test.each(NAMED_OPS)('is INVALID_NAME in the name of %s', async (op) => {
    const client = await connect();
    for (const name of ['', 'a b', 'ä', 'a\n', 'x'.repeat(201), 'a\0', '../x y']) {
      expect(await client.ask(CLIENT_OPS[op], name, null)).toMatchObject({ code: 'INVALID_NAME' });
    }
    await client.barrier();
  });

  test('is a REJECT of the whole frame for a PUBLISH out of range', async () => {
    const client = await connect();
    const good = { queue: 'victim', body: 'good' };
    const cases: [string, ErrorCode, Parameters<typeof publishFrame>[0][number]][] = [
      ['priority', 'INVALID_ARGUMENT', { ...good, priority: 256 }],
      ['delayMs', 'INVALID_ARGUMENT', { ...good, delayMs: LIMITS.delayMsMax + 1 }],
      ['expiresInMs', 'INVALID_ARGUMENT', { ...good, expiresInMs: LIMITS.delayMsMax + 1 }],
      ['dedupKey', 'INVALID_ARGUMENT', { ...good, dedupKey: 'k'.repeat(201) }],
      ['contentType', 'INVALID_ARGUMENT', { ...good, contentType: 'text/\n' }],
      ['contentType', 'INVALID_ARGUMENT', { ...good, contentType: 'x'.repeat(201) }],
      ['target', 'INVALID_NAME', { ...good, queue: 'not a name' }],
      ['body', 'BODY_TOO_LARGE', { ...good, body: Buffer.alloc(BODY_BYTES_MAX + 1) }],
      ['headers', 'HEADERS_TOO_LARGE', { ...good, headers: { a: 'x'.repeat(HEADER_BYTES_MAX) } }],
    ];
    for (const [field, code, bad] of cases) {
      const answers = await client.publish([good, bad, good]);
      for (const answer of answers) expect(answer).toMatchObject({ type: 'reject', code });
      expect(answers[0]).toMatchObject({ message: expect.stringContaining(`"${field}" of message 1`) });
    }
    expect(client.closed).toBeNull();
  });

  test('is taken at the very limit', async () => {
    const client = await connect();
    await client.declare('limits');
    const name = 'n'.repeat(200);
    await client.declare(name);
    // A map of one key "a": 1 byte for the map, 2 for the key, 3 for the head of the text.
    const headers = { a: 'x'.repeat(HEADER_BYTES_MAX - 6) };
    const answers = await client.publish([
      { queue: 'limits', body: Buffer.alloc(BODY_BYTES_MAX), headers },
      { queue: name, body: '', priority: 255, delayMs: LIMITS.delayMsMax, dedupKey: 'k'.repeat(200) },
      { queue: 'limits', body: '', contentType: 'x'.repeat(200), expiresInMs: LIMITS.delayMsMax },
    ]);
    expect(answers.map(({ type }) => type)).toEqual(['confirm', 'confirm', 'confirm']);
    await client.request(CLIENT_OPS.QUEUE_DELETE, 'limits', null);
    await client.request(CLIENT_OPS.QUEUE_DELETE, name, null);
  });
});
