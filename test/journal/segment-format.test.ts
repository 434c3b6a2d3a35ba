/** The bytes of a segment: these vectors are the specification, whatever the code above them becomes. */
import { crc32 } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { BatchReader } from '../../server/journal/batch-reader.js';
import {
  BATCH_HEADER_BYTES,
  emptyBatchHeader,
  encodeBatchHeader,
  encodeFileHeader,
  FILE_HEADER_BYTES,
  FLAG_SEAL,
  firstLink,
  logIdentity,
  readBatchHeader,
  readFileHeader,
  syncClassFlags,
  syncClassOf,
  writeBodyCrc,
} from '../../server/journal/segment-format.js';
import { SliceReader } from '../../server/journal/slice-reader.js';
import type { StorageFile } from '../../server/journal/storage.js';

const LOG = logIdentity(Buffer.from('000102030405060708090a0b0c0d0e0f', 'hex'));

const FILE_HEADER =
  '4c4f564147454a0a' + // "LOVAGEJ\n"
  '01000000' + // version 1
  '07000000' + // segment 7
  '000102030405060708090a0b0c0d0e0f' + // log id
  '00000000000000000000000000000000000000000000000000000000'; // zeros, then the crc

/** One record: type 5, head "ab", body "xyz". */
const RECORD = `05000000${'05'}020000${'6162'}${'78797a'}`;

const BATCH_HEADER =
  '4c764231' + // "LvB1"
  '0d000000' + // 13 bytes of body
  '07000000' + // segment 7
  '40000000' + // offset 64
  '2a00000001000000' + // batch 2^32 + 42
  '2900000001000000' + // 2^32 + 41 is known to be on disk
  'efbeadde' + // crc of the batch before
  '01010000' + // seals; sync class interval
  '01000000'; // one record

function u32(value: number): string {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes.toString('hex');
}

const FIELDS = {
  bodyBytes: 13,
  segment: 7,
  offset: 64,
  number: 2 ** 32 + 42,
  durableNumber: 2 ** 32 + 41,
  previousCrc: 0xdeadbeef,
  flags: FLAG_SEAL | syncClassFlags('interval'),
  records: 1,
};

/** A whole segment of one batch. */
function segment(): Buffer {
  const file = Buffer.from(FILE_HEADER, 'hex');
  const header = Buffer.from(BATCH_HEADER, 'hex');
  const body = Buffer.from(RECORD, 'hex');
  const headerCrc = crc32(header, crc32(LOG.id));
  const bodyCrc = crc32(body, headerCrc);
  return Buffer.concat([
    file,
    Buffer.from(u32(crc32(file)), 'hex'),
    header,
    Buffer.from(u32(headerCrc) + u32(bodyCrc), 'hex'),
    body,
  ]);
}

/** A file of these bytes. */
function fileOf(bytes: Buffer): StorageFile {
  const unused = (): never => expect.unreachable('only read');
  return {
    read: (target, targetOffset, length, position) => bytes.copy(target, targetOffset, position, position + length),
    size: () => bytes.length,
    close: () => undefined,
    writev: unused,
    writeLater: unused,
    datasync: unused,
    truncate: unused,
  };
}

function readerOf(bytes: Buffer, link: { number: number; crc: number } | null = null): BatchReader {
  const place = { segment: 7, log: LOG, position: FILE_HEADER_BYTES, link };
  return new BatchReader({ slice: new SliceReader(), file: fileOf(bytes), ...place });
}

test('the checksum is the CRC-32 of zlib', () => {
  expect(crc32('hello').toString(16)).toBe('3610a686');
  expect(firstLink(LOG)).toEqual({ number: 0, crc: crc32(LOG.id) });
});

describe('the file header', () => {
  test('has these bytes, and is read back', () => {
    const bytes = encodeFileHeader({ segment: 7, log: LOG });
    expect(bytes.toString('hex')).toBe(FILE_HEADER + u32(crc32(Buffer.from(FILE_HEADER, 'hex'))));
    expect(readFileHeader(bytes)).toEqual({ segment: 7, log: LOG });
  });

  test.each([
    ['a file that is too short', (bytes: Buffer) => bytes.subarray(0, 63), /shorter than its header/],
    ['another kind of file', (bytes: Buffer) => Buffer.concat([Buffer.from('x'), bytes.subarray(1)]), /not a journal/],
    [
      'a changed byte',
      (bytes: Buffer) => {
        bytes[20]! ^= 1;
        return bytes;
      },
      /checksum/,
    ],
    [
      'a later version',
      (bytes: Buffer) => {
        bytes.writeUInt32LE(2, 8);
        bytes.writeUInt32LE(crc32(bytes.subarray(0, 60)), 60);
        return bytes;
      },
      /version is 2, this program reads version 1/,
    ],
  ])('of %s is refused in words', (_, change, words) => {
    expect(readFileHeader(change(encodeFileHeader({ segment: 7, log: LOG })))).toMatch(words);
  });
});

describe('a batch', () => {
  test('has these bytes, and is read back', () => {
    const header = { ...emptyBatchHeader(), ...FIELDS };
    const bytes = Buffer.alloc(BATCH_HEADER_BYTES);
    encodeBatchHeader(header, LOG, bytes);
    const bodyCrc = crc32(Buffer.from(RECORD, 'hex'), header.headerCrc);
    writeBodyCrc(bytes, bodyCrc);
    expect(bytes.equals(segment().subarray(FILE_HEADER_BYTES, FILE_HEADER_BYTES + BATCH_HEADER_BYTES))).toBe(true);
    const read = emptyBatchHeader();
    expect(readBatchHeader(bytes, 0, LOG, read)).toBe(true);
    expect(read).toEqual({ ...FIELDS, headerCrc: header.headerCrc, bodyCrc });
    expect(syncClassOf(read.flags)).toBe('interval');
  });

  test('gives its records', () => {
    const reader = readerOf(segment(), { number: 2 ** 32 + 41, crc: 0xdeadbeef });
    expect(reader.next()).toBe('batch');
    expect(reader.records.next()).toBe(true);
    const { type, head, body, bodyOffset } = reader.records;
    expect([type, Buffer.from(head).toString(), Buffer.from(body).toString(), bodyOffset]).toEqual([
      5,
      'ab',
      'xyz',
      FILE_HEADER_BYTES + BATCH_HEADER_BYTES + 8 + 2,
    ]);
    expect(reader.records.next()).toBe(false);
    expect(reader.next()).not.toBe('batch');
    expect(reader.position).toBe(segment().length);
  });

  test('is not believed behind another batch than the one before it', () => {
    expect(readerOf(segment(), { number: 2 ** 32 + 41, crc: 1 }).next()).not.toBe('batch');
    expect(readerOf(segment(), { number: 2 ** 32 + 40, crc: 0xdeadbeef }).next()).not.toBe('batch');
  });

  test('is not believed when its header counts more records, or its records more bytes, than there are', () => {
    const link = { number: 2 ** 32 + 41, crc: 0xdeadbeef };
    for (const [at, value] of [
      [FILE_HEADER_BYTES + 40, 2],
      [FILE_HEADER_BYTES + 4, 0xffff_fff0],
      [FILE_HEADER_BYTES + BATCH_HEADER_BYTES, 6],
    ] as const) {
      const bytes = segment();
      bytes.writeUInt32LE(value, at);
      // With checksums that are right again, so that nothing but the lengths speaks against it.
      const header = bytes.subarray(FILE_HEADER_BYTES, FILE_HEADER_BYTES + BATCH_HEADER_BYTES);
      const headerCrc = crc32(header.subarray(0, 44), LOG.seed);
      header.writeUInt32LE(headerCrc, 44);
      header.writeUInt32LE(crc32(bytes.subarray(FILE_HEADER_BYTES + BATCH_HEADER_BYTES), headerCrc), 48);
      const reader = readerOf(bytes, link);
      expect(reader.next()).not.toBe('batch');
      expect(reader.reason).not.toBe('');
    }
  });
});
