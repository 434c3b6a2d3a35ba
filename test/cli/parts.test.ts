import { Readable, Writable } from 'node:stream';
import { LovageError, type Receipt } from '@lovage/client';
import { describe, expect, test } from 'vitest';
import { lineOf } from '../../server/cli/consume.js';
import { failureOf, UsageError } from '../../server/cli/failure.js';
import { IdRanges } from '../../server/cli/id-ranges.js';
import { linesOf } from '../../server/cli/lines.js';
import { Output } from '../../server/cli/output.js';
import { publishAll } from '../../server/cli/pipeline.js';
import { durationText } from '../../server/cli/status.js';
import { textTable } from '../../server/cli/text-table.js';

describe('lines', () => {
  async function split(chunks: readonly string[], max = 1_000): Promise<string[]> {
    const lines: string[] = [];
    for await (const some of linesOf(Readable.from(chunks.map((chunk) => Buffer.from(chunk))), max)) {
      lines.push(...some.map(String));
    }
    return lines;
  }

  test.each([
    ['nothing', [], []],
    ['one line', ['a\n'], ['a']],
    ['a last line without an end', ['a\nb'], ['a', 'b']],
    ['empty lines', ['\n\na\n\n'], ['', '', 'a', '']],
    ['CRLF', ['a\r\nb\r\n\r\n'], ['a', 'b', '']],
    ['a carriage return inside', ['a\rb\n'], ['a\rb']],
    ['a line over chunks', ['a', 'b', 'c\nd', 'e'], ['abc', 'de']],
    ['CR and LF in different chunks', ['a\r', '\nb'], ['a', 'b']],
    ['an end at the edge of a chunk', ['a\n', 'b\n'], ['a', 'b']],
  ])('of %s', async (_what, chunks, lines) => expect(await split(chunks)).toEqual(lines));

  test('longer than the limit are refused before they are gathered', async () => {
    expect(await split(['12345', '67890', '\n'], 10)).toEqual(['1234567890']);
    await expect(split(['12345', '67890', '1'], 10)).rejects.toMatchObject({ code: 'BODY_TOO_LARGE' });
  });

  test('do not decode bytes', async () => {
    const bytes = Buffer.from('ff00fe0a80', 'hex');
    const found: Buffer[] = [];
    for await (const some of linesOf(Readable.from([bytes]), 100)) found.push(...some);
    expect(found.map((line) => line.toString('hex'))).toEqual(['ff00fe', '80']);
  });
});

describe('a pipeline of publishes', () => {
  const receipt = (id: number): Receipt => ({ id, duplicate: false, durability: 'disk' });

  async function* bodies(count: number, text = 'x'): AsyncGenerator<string[]> {
    for (let i = 0; i < count; i += 100) yield Array.from({ length: Math.min(100, count - i) }, () => text);
  }

  test('keeps few batches on their way and hands receipts over in order', async () => {
    let open = 0;
    let most = 0;
    let nextId = 1;
    const ids: number[] = [];
    const send = async (batch: readonly unknown[]) => {
      const receipts = batch.map(() => receipt(nextId++));
      most = Math.max(most, ++open);
      // Later batches are done first.
      for (let i = 0; i < 20 - (nextId % 20); i++) await null;
      open--;
      return receipts;
    };
    await publishAll(bodies(10_000), send, async (receipts) => void ids.push(...receipts.map(({ id }) => id)));
    expect(ids).toEqual(Array.from({ length: 10_000 }, (_, i) => i + 1));
    expect(most).toBeGreaterThan(1);
    expect(most).toBeLessThanOrEqual(16);
  });

  test('reads no more bodies while too many bytes are on their way', async () => {
    let read = 0;
    async function* large() {
      for (let i = 0; i < 100; i++) {
        read++;
        yield ['y'.repeat(1_000_000)];
      }
    }
    const releases: (() => void)[] = [];
    const publishing = publishAll(
      large(),
      () => new Promise<Receipt[]>((resolve) => releases.push(() => resolve([receipt(releases.length)]))),
      async () => undefined,
    );
    await new Promise(setImmediate);
    expect(read).toBe(9);
    let released = 0;
    while (released < 100) {
      while (released < releases.length) releases[released++]?.();
      await new Promise(setImmediate);
    }
    await publishing;
  });

  test('stops at the first failure and tells where it was and how many were published', async () => {
    let sent = 0;
    const taken: number[] = [];
    const cause = new LovageError('BODY_TOO_LARGE', 'Cannot publish: too long');
    const send = async (batch: readonly unknown[]) => {
      sent++;
      if (sent === 3) throw new LovageError(cause.code, 'in the batch', { cause, details: { index: 41, failed: 2 } });
      return batch.map(() => receipt(sent));
    };
    const failure = publishAll(bodies(100_000), send, async (receipts) => void taken.push(receipts.length));
    await expect(failure).rejects.toMatchObject({ code: 'BODY_TOO_LARGE', cause });
    const { details, message } = (await failure.catch((error: unknown) => error)) as LovageError;
    expect(sent).toBeLessThan(40);
    const published = sent * 100 - 2;
    expect(details).toEqual({ message: 242, published });
    expect(message).toBe(`Cannot publish: too long (message 242; ${published} others were published)`);
    expect(taken.reduce((sum, count) => sum + count)).toBe((sent - 1) * 100);
  });

  test('says nothing of places when the only message fails', async () => {
    const cause = new LovageError('QUEUE_NOT_FOUND', 'Cannot publish: no queue');
    const send = () => Promise.reject(new LovageError(cause.code, 'x', { cause, details: { index: 0, failed: 1 } }));
    await expect(publishAll(bodies(1), send, async () => undefined)).rejects.toBe(cause);
  });
});

describe('a line of consume', () => {
  const delivery = {
    id: 7,
    queue: 'sms',
    priority: 9,
    attempt: 2,
    redelivered: true,
    headers: { a: 1 },
    contentType: null,
    attemptLog: { crashes: 0, failures: [] },
  };

  test('shows a body of text as a string', () => {
    expect(lineOf({ ...delivery, body: Buffer.from('grüß "dich"\n') })).toBe(
      '{"id":7,"queue":"sms","priority":9,"attempt":2,"redelivered":true,"headers":{"a":1},"contentType":null,"body":"grüß \\"dich\\"\\n"}',
    );
  });

  test('shows any other body as base64', () => {
    expect(JSON.parse(lineOf({ ...delivery, body: Uint8Array.of(0xff, 0, 0x80) })).body).toEqual({ base64: '/wCA' });
  });
});

describe('a line of consume with headers that JSON does not have', () => {
  test('shows large numbers as text and bytes as base64', () => {
    const headers = { large: 2n ** 60n, bytes: Uint8Array.of(0xff, 0) };
    const line = lineOf({
      id: 1,
      attemptLog: { crashes: 0, failures: [] },
      queue: 'q',
      priority: 0,
      attempt: 1,
      redelivered: false,
      headers,
      contentType: null,
      body: Buffer.from(''),
    });
    expect(JSON.parse(line).headers).toEqual({ large: '1152921504606846976', bytes: { base64: '/wA=' } });
  });
});

describe('output', () => {
  class Reader extends Writable {
    readonly chunks: string[] = [];
    readonly pending: ((error?: Error) => void)[] = [];
    override _write(chunk: Buffer, _encoding: string, done: (error?: Error) => void): void {
      this.chunks.push(chunk.toString());
      this.pending.push(done);
    }
  }

  test('writes the lines of one turn together and resolves when they are taken', async () => {
    const reader = new Reader();
    const output = new Output(true, reader);
    let taken = 0;
    const lines = [output.line('a').then(() => taken++), output.line('b').then(() => taken++)];
    await new Promise(setImmediate);
    expect([reader.chunks, taken]).toEqual([['a\nb\n'], 0]);
    reader.pending.shift()?.();
    await Promise.all(lines);
    expect(taken).toBe(2);
  });

  test('rejects lines that nobody takes', async () => {
    const reader = new Reader();
    const line = new Output(true, reader).line('a');
    await new Promise(setImmediate);
    reader.pending.shift()?.(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }));
    await expect(line).rejects.toMatchObject({ code: 'EPIPE' });
  });
});

describe('text', () => {
  test('of ids shows ranges, and not too many of them', () => {
    const ids = new IdRanges();
    for (const id of [1, 2, 3, 7, 9, 10]) ids.add(id);
    expect([String(ids), ids.count]).toEqual(['1-3, 7, 9-10', 6]);
    for (let id = 100; id < 1_000; id += 2) ids.add(id);
    expect(String(ids)).toMatch(/^1-3, 7, 9-10, .*, …$/);
    expect(String(ids).length).toBeLessThan(200);
  });

  test.each([
    [0, '0 s'],
    [59_999, '59 s'],
    [61_000, '1 min 1 s'],
    [3_600_000, '1 h 0 min'],
    [200_000_000, '2 d 7 h'],
  ])('of %i ms is %s', (ms, text) => expect(durationText(ms)).toBe(text));

  test('of a table lines columns up', () => {
    const table = textTable(
      ['queue', 'ready'],
      [
        ['a', 5],
        ['long-name', 1_000],
      ],
    );
    expect(table).toBe('queue      ready\na              5\nlong-name   1000');
  });
});

describe('exit code', () => {
  test.each([
    [new UsageError('x'), 2, 'INVALID_ARGUMENT'],
    [new LovageError('INVALID_SETTING'), 2, 'INVALID_SETTING'],
    [new LovageError('INVALID_ARGUMENT'), 1, 'INVALID_ARGUMENT'],
    [new LovageError('QUEUE_NOT_FOUND'), 1, 'QUEUE_NOT_FOUND'],
    [Object.assign(new Error('ENOENT: no such file'), { code: 'ENOENT' }), 1, 'ENOENT'],
    [new TypeError('x is not a function'), 1, 'INTERNAL_ERROR'],
    ['thrown text', 1, 'INTERNAL_ERROR'],
  ])('of %s is %i with the code %s', (error, exitCode, code) => {
    expect(failureOf(error)).toMatchObject({ exitCode, code });
  });
});
