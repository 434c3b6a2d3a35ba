// hot path
/**
 * The answers to deliveries: START, ACK, NACK, RELEASE, and the broker's RECALL. All carry tags as ranges.
 *
 *     [7 START,   settleSeq, [first, count, ...], mayWait?]
 *     [8 ACK,     settleSeq, [first, count, ...], mayWait?]             true: nobody waits for the SETTLED
 *     [9 NACK,    settleSeq, [first, count, ...], requeue, delayMs, reason|nil, cause?]     delayMs -1: the queue's backoff
 *     [10 RELEASE, settleSeq, [first, count, ...], delayMs?]     absent or 0: at once
 *     [72 RECALL, [first, count, ...]]
 *
 * `settleSeq` numbers these frames within a session, from 1. The broker answers `[70 SETTLED, settleSeq]` when every frame up to that
 * number is on disk, so a client resends what was not answered when it resumes.
 */
import { FAILURE_CAUSES, type FailureCause } from './failed-attempts.js';
import type { FrameReader } from './frame-reader.js';
import type { FrameWriter } from './frame-writer.js';
import { LIMITS } from './limits.js';
import { CLIENT_OPS } from './ops.js';

/** Tags as `first, count` pairs. Adding tags in ascending order, as they mostly come, extends the last pair. */
export class TagRanges {
  /** first, count, first, count, ... */
  readonly pairs: number[] = [];

  get isEmpty(): boolean {
    return this.pairs.length === 0;
  }

  get rangeCount(): number {
    return this.pairs.length / 2;
  }

  add(tag: number): void {
    const { pairs } = this;
    const last = pairs.length - 2;
    if (last >= 0 && pairs[last]! + pairs[last + 1]! === tag) pairs[last + 1]!++;
    else pairs.push(tag, 1);
  }

  clear(): void {
    this.pairs.length = 0;
  }

  write(writer: FrameWriter): void {
    writer.arrayHeader(this.pairs.length);
    for (let i = 0; i < this.pairs.length; i++) writer.uint(this.pairs[i]!);
  }

  read(reader: FrameReader): void {
    const length = reader.arrayHeader('ranges', LIMITS.rangesMax * 2);
    if (length % 2 !== 0) throw reader.bad('ranges in pairs of first and count');
    this.pairs.length = 0;
    for (let i = 0; i < length; i += 2) {
      const first = reader.uint('first tag');
      const count = reader.uint('count of tags', 0xffff_ffff);
      if (count === 0 || first === 0 || !Number.isSafeInteger(first + count))
        throw reader.bad('a range of one tag or more');
      this.pairs.push(first, count);
    }
  }
}

/** A scanned START, ACK, NACK or RELEASE. The session keeps one and reads every frame into it. */
export class SettleFrame {
  readonly ranges = new TagRanges();
  settleSeq = 0;
  /** NACK: back to its queue (true) or dropped. */
  requeue = true;
  /** NACK and RELEASE: ms before it is delivered again; -1 for the queue's backoff. */
  delayMs = -1;
  reason: string | null = null;
  /** NACK: what the attempts have failed of. */
  cause: FailureCause = 'failed';
  /** START and ACK: nobody waits for the SETTLED. */
  mayWait = false;

  read(reader: FrameReader, isNack: boolean): this {
    const fields = reader.arrayHeader('frame', 64);
    const known = isNack ? 6 : 3;
    if (fields < known) throw reader.bad(`${known} fields`);
    const op = reader.uint('op');
    this.settleSeq = reader.uint('settleSeq');
    this.ranges.read(reader);
    let read = isNack ? known : Math.min(fields, known + 1);
    if (op === CLIENT_OPS.RELEASE) {
      this.delayMs = fields > known ? reader.uint('delayMs') : 0;
      if (this.delayMs > LIMITS.delayMsMax) throw reader.bad(`a delayMs from 0 to ${LIMITS.delayMsMax}`);
    } else if (!isNack) {
      this.mayWait = fields > known && reader.bool('mayWait');
    }
    if (isNack) {
      this.requeue = reader.bool('requeue');
      this.delayMs = reader.int('delayMs');
      this.reason = reader.strOrNil('reason', LIMITS.reasonLengthMax * 4);
      if (this.delayMs < -1 || this.delayMs > LIMITS.delayMsMax)
        throw reader.bad(`a delayMs from -1 to ${LIMITS.delayMsMax}`);
      this.cause = 'failed';
      if (fields > known) {
        this.cause = FAILURE_CAUSES[reader.uint('cause')] ?? 'failed';
        read = known + 1;
      }
    }
    for (let i = read; i < fields; i++) reader.skip('an unknown field');
    reader.end();
    return this;
  }
}

/** `last`: of RELEASE its `delayMs`, of START and ACK whether it `mayWait`; 0 and false are left out. */
export function writeSettle(
  writer: FrameWriter,
  op: number,
  settleSeq: number,
  ranges: TagRanges,
  last: number | boolean = false,
): void {
  const isPlain = last === 0 || last === false;
  writer.arrayHeader(isPlain ? 3 : 4);
  writer.uint(op);
  writer.uint(settleSeq);
  ranges.write(writer);
  if (isPlain) return;
  if (typeof last === 'number') writer.uint(last);
  else writer.bool(last);
}

export interface NackFields {
  readonly requeue: boolean;
  readonly delayMs: number;
  readonly reason: string | null;
  readonly cause: FailureCause;
}

export function writeNack(
  writer: FrameWriter,
  op: number,
  settleSeq: number,
  ranges: TagRanges,
  nack: NackFields,
): void {
  const isPlain = nack.cause === 'failed';
  writer.arrayHeader(isPlain ? 6 : 7);
  writer.uint(op);
  writer.uint(settleSeq);
  ranges.write(writer);
  writer.bool(nack.requeue);
  writer.int(nack.delayMs);
  if (nack.reason === null) writer.nil();
  else writer.str(nack.reason);
  if (!isPlain) writer.uint(FAILURE_CAUSES.indexOf(nack.cause));
}
