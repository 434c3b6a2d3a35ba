/**
 * The journal's bytes on disk. All numbers are little-endian.
 *
 *     <data-dir>/journal/0000000001.segment    file header, batch, batch, ... batch, then zeros that were written ahead
 *
 *     file header, 64 bytes                    batch header, 52 bytes
 *      0  8  magic "LOVAGEJ\n"                  0  4  magic "LvB1"
 *      8  4  version, 1                         4  4  bytes of the body
 *     12  4  segment number, from 1             8  4  segment number      } a frame that lies anywhere else than
 *     16 16  log id, random                    12  4  offset of this header } where it was written is not believed
 *     32 28  zeros                             16  8  batch number, from 1, over all segments
 *     60  4  crc of bytes 0-59                 24  8  highest batch number known to be on disk when this was written
 *                                              32  4  body crc of the batch before (log seed for batch 1)
 *     record, in a batch's body                36  4  flags: 1 seals the segment, 2 clean stop, 4 idle mark,
 *      0  4  bytes of head and body                   bits 8-9 sync class (0 always, 1 interval, 2 never)
 *      4  1  type                              40  4  number of records
 *      5  3  bytes of the head                 44  4  header crc: crc of bytes 0-43, seeded with the log seed
 *      8     head, then body                   48  4  body crc: crc of the body, seeded with the header crc
 *
 * The crc is zlib's (IEEE CRC-32, rule W20). The log seed is the crc of the log id; with it in every header crc, a frame of another log
 * is no frame here. The body crc depends on the header crc, that on the previous body crc: a chain over the whole log (rule W16).
 * Batches lie end to end. A segment is sealed by the flag of its last batch; the next batch opens the next segment.
 *
 * How to change this: a new flag, or a meaning for zeros in the file header, needs nothing but readers that know it. Any other change:
 * raise VERSION, keep the old reader beside the new one (`readFileHeader` tells the version), and extend the hex vectors in
 * `test/journal/segment-format.test.ts`, which are the specification. Lengths are checked against the bytes left before they are used.
 */
import { crc32 } from 'node:zlib';
import type { SyncClass } from './journal.js';

export const FILE_HEADER_BYTES = 64;
export const BATCH_HEADER_BYTES = 52;
export const RECORD_HEADER_BYTES = 8;
export const HEAD_BYTES_MAX = 2 ** 24 - 1;
/** Offsets are u32, in files, in memory and in the engine's columns. */
export const SEGMENT_OFFSET_MAX = 2 ** 32 - 1;
export const VERSION = 1;
export const LOG_ID_BYTES = 16;

export const FLAG_SEAL = 1;
export const FLAG_CLEAN_STOP = 2;
export const FLAG_IDLE = 4;

const FILE_MAGIC = Buffer.from('LOVAGEJ\n', 'latin1');
export const BATCH_MAGIC: Buffer = Buffer.from('LvB1', 'latin1');
const BATCH_MAGIC_NUMBER = BATCH_MAGIC.readUInt32LE(0);
const FILE_CRC_AT = 60;
const HEADER_CRC_AT = 44;
const BODY_CRC_AT = 48;
const HIGH = 2 ** 32;
const OTHER_VERSION = 'the format version is';

const SYNC_CLASS_BITS = { always: 0, interval: 1, never: 2, memory: 3 } as const satisfies Record<SyncClass, number>;
const SYNC_CLASSES = ['always', 'interval', 'never', 'memory'] as const satisfies SyncClass[];

/** A log's own id and the crc seed that comes from it. */
export interface LogIdentity {
  readonly id: Uint8Array;
  readonly seed: number;
}

export interface FileHeader {
  readonly segment: number;
  readonly log: LogIdentity;
}

/** The last batch of a log so far: what the next one is chained to. */
export interface ChainLink {
  readonly number: number;
  readonly crc: number;
}

export interface BatchHeader {
  bodyBytes: number;
  segment: number;
  offset: number;
  number: number;
  durableNumber: number;
  previousCrc: number;
  flags: number;
  records: number;
  headerCrc: number;
  bodyCrc: number;
}

export function logIdentity(id: Uint8Array): LogIdentity {
  return { id, seed: crc32(id) };
}

/** What batch 1 is chained to. */
export function firstLink(log: LogIdentity): ChainLink {
  return { number: 0, crc: log.seed };
}

export function syncClassFlags(syncClass: SyncClass): number {
  return SYNC_CLASS_BITS[syncClass] << 8;
}

export function syncClassOf(flags: number): SyncClass {
  return SYNC_CLASSES[(flags >>> 8) & 3]!;
}

export function encodeFileHeader(header: FileHeader): Buffer {
  const bytes = Buffer.alloc(FILE_HEADER_BYTES);
  FILE_MAGIC.copy(bytes, 0);
  bytes.writeUInt32LE(VERSION, 8);
  bytes.writeUInt32LE(header.segment, 12);
  bytes.set(header.log.id, 16);
  bytes.writeUInt32LE(crc32(bytes.subarray(0, FILE_CRC_AT)), FILE_CRC_AT);
  return bytes;
}

/** The header, or in words what is wrong with it. */
export function readFileHeader(bytes: Buffer): FileHeader | string {
  if (bytes.length < FILE_HEADER_BYTES) return 'the file is shorter than its header';
  if (!bytes.subarray(0, 8).equals(FILE_MAGIC)) return 'this is not a journal segment';
  if (bytes.readUInt32LE(FILE_CRC_AT) !== crc32(bytes.subarray(0, FILE_CRC_AT)))
    return 'the checksum of the file header is wrong';
  const version = bytes.readUInt32LE(8);
  if (version !== VERSION) return `${OTHER_VERSION} ${version}, this program reads version ${VERSION}`;
  return {
    segment: bytes.readUInt32LE(12),
    log: logIdentity(Uint8Array.prototype.slice.call(bytes, 16, 16 + LOG_ID_BYTES)),
  };
}

/** Whether `readFileHeader` has found a header that is whole, but of a version that this program does not read. */
export function isOtherVersion(fault: string): boolean {
  return fault.startsWith(OTHER_VERSION);
}

export function emptyBatchHeader(): BatchHeader {
  return {
    bodyBytes: 0,
    segment: 0,
    offset: 0,
    number: 0,
    durableNumber: 0,
    previousCrc: 0,
    flags: 0,
    records: 0,
    headerCrc: 0,
    bodyCrc: 0,
  };
}

/** Writes all but the body crc and sets `header.headerCrc`, which seeds the crc of the body. */
export function encodeBatchHeader(header: BatchHeader, log: LogIdentity, target: Buffer): void {
  target.writeUInt32LE(BATCH_MAGIC_NUMBER, 0);
  target.writeUInt32LE(header.bodyBytes, 4);
  target.writeUInt32LE(header.segment, 8);
  target.writeUInt32LE(header.offset, 12);
  writeNumber(target, header.number, 16);
  writeNumber(target, header.durableNumber, 24);
  target.writeUInt32LE(header.previousCrc, 32);
  target.writeUInt32LE(header.flags, 36);
  target.writeUInt32LE(header.records, 40);
  header.headerCrc = crc32(target.subarray(0, HEADER_CRC_AT), log.seed);
  target.writeUInt32LE(header.headerCrc, HEADER_CRC_AT);
}

export function writeBodyCrc(target: Buffer, bodyCrc: number): void {
  target.writeUInt32LE(bodyCrc, BODY_CRC_AT);
}

/**
 * Reads the 52 bytes at `at` into `header`. False if they are no batch header of this log: the magic or the header crc is wrong, or a
 * number is none that this program writes. Whether the body follows is for the caller to check.
 */
export function readBatchHeader(bytes: Buffer, at: number, log: LogIdentity, header: BatchHeader): boolean {
  if (bytes.readUInt32LE(at) !== BATCH_MAGIC_NUMBER) return false;
  header.headerCrc = bytes.readUInt32LE(at + HEADER_CRC_AT);
  if (header.headerCrc !== crc32(bytes.subarray(at, at + HEADER_CRC_AT), log.seed)) return false;
  header.bodyBytes = bytes.readUInt32LE(at + 4);
  header.segment = bytes.readUInt32LE(at + 8);
  header.offset = bytes.readUInt32LE(at + 12);
  header.number = readNumber(bytes, at + 16);
  header.durableNumber = readNumber(bytes, at + 24);
  header.previousCrc = bytes.readUInt32LE(at + 32);
  header.flags = bytes.readUInt32LE(at + 36);
  header.records = bytes.readUInt32LE(at + 40);
  header.bodyCrc = bytes.readUInt32LE(at + BODY_CRC_AT);
  return Number.isSafeInteger(header.number) && header.number > 0 && header.durableNumber < header.number;
}

function writeNumber(target: Buffer, value: number, at: number): void {
  target.writeUInt32LE(value % HIGH, at);
  target.writeUInt32LE(Math.floor(value / HIGH), at + 4);
}

function readNumber(bytes: Buffer, at: number): number {
  return bytes.readUInt32LE(at) + bytes.readUInt32LE(at + 4) * HIGH;
}
