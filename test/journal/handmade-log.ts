/**
 * Segments put together byte by byte after the picture in `segment-format.ts`, without the code that stands beneath it: what this makes and what
 * the journal reads and writes can only agree if both follow the picture.
 */
import { crc32 } from 'node:zlib';

export interface HandmadeRecord {
  readonly type: number;
  readonly head?: string;
  readonly body?: string | Buffer;
}

/** What stands in the header of a batch; each field has what a journal would write unless it is given. */
export interface HandmadeBatch {
  readonly records?: readonly HandmadeRecord[];
  /** Instead of records: bytes that need not be any. */
  readonly raw?: Buffer;
  readonly flags?: number;
  readonly durableNumber?: number;
  readonly number?: number;
  readonly previousCrc?: number;
  readonly segment?: number;
  readonly offset?: number;
  readonly bodyBytes?: number;
  readonly recordCount?: number;
}

export const SEAL = 1;
export const CLEAN_STOP = 2;
export const IDLE = 4;
export const INTERVAL = 1 << 8;
export const NEVER = 2 << 8;

export class HandmadeLog {
  readonly id: Buffer;
  readonly seed: number;
  /** Bytes of each segment, the current one last. */
  readonly segments: Buffer[] = [];
  /** The last batch. */
  number = 0;
  crc: number;

  constructor(id: Buffer = Buffer.from('000102030405060708090a0b0c0d0e0f', 'hex')) {
    this.id = id;
    this.seed = crc32(id);
    this.crc = this.seed;
    this.roll();
  }

  get current(): Buffer {
    return this.segments.at(-1)!;
  }

  /** Opens the next segment. */
  roll(version = 1): void {
    const header = Buffer.alloc(64);
    header.write('LOVAGEJ\n', 'latin1');
    header.writeUInt32LE(version, 8);
    header.writeUInt32LE(this.segments.length + 1, 12);
    this.id.copy(header, 16);
    header.writeUInt32LE(crc32(header.subarray(0, 60)), 60);
    this.segments.push(header);
  }

  /** Adds a batch to the current segment and goes on from it. Returns its bytes. */
  add(batch: HandmadeBatch = {}): Buffer {
    const bytes = this.batch(batch);
    this.number = Number(bytes.readBigUInt64LE(16));
    this.crc = bytes.readUInt32LE(48);
    this.append(bytes);
    return bytes;
  }

  /** Puts bytes behind the current segment as they are. */
  append(bytes: Buffer): void {
    this.segments.push(Buffer.concat([this.segments.pop()!, bytes]));
  }

  /** The bytes of the batch that would come next. */
  batch(batch: HandmadeBatch = {}): Buffer {
    const records = batch.records ?? [];
    const body = batch.raw ?? Buffer.concat(records.map(recordBytes));
    const header = Buffer.alloc(52);
    const number = batch.number ?? this.number + 1;
    header.write('LvB1', 'latin1');
    header.writeUInt32LE(batch.bodyBytes ?? body.length, 4);
    header.writeUInt32LE(batch.segment ?? this.segments.length, 8);
    header.writeUInt32LE(batch.offset ?? this.current.length, 12);
    header.writeBigUInt64LE(BigInt(number), 16);
    header.writeBigUInt64LE(BigInt(batch.durableNumber ?? number - 1), 24);
    header.writeUInt32LE(batch.previousCrc ?? this.crc, 32);
    header.writeUInt32LE(batch.flags ?? 0, 36);
    header.writeUInt32LE(batch.recordCount ?? records.length, 40);
    const headerCrc = crc32(header.subarray(0, 44), this.seed);
    header.writeUInt32LE(headerCrc, 44);
    header.writeUInt32LE(crc32(body, headerCrc), 48);
    return Buffer.concat([header, body]);
  }
}

export function recordBytes({ type, head = '', body = '' }: HandmadeRecord): Buffer {
  const [headBytes, bodyBytes] = [Buffer.from(head), Buffer.from(body)];
  const header = Buffer.alloc(8);
  header.writeUInt32LE(headBytes.length + bodyBytes.length, 0);
  header.writeUInt8(type, 4);
  header.writeUIntLE(headBytes.length, 5, 3);
  return Buffer.concat([header, headBytes, bodyBytes]);
}
