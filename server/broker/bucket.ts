// hot path
/** Effects that become visible to one connection at the same time. */
import { encodeFrame, FrameWriter, RESULT_STATUS, SERVER_OPS, TagRanges } from '@lovage/protocol';
import { NumberList } from '../collections/number-list.js';

/** Results in one frame, and bytes of them, after which another begins. */
const RESULTS_PER_FRAME = 10_000;
const RESULT_BYTES = 128 * 1024;

/** Buckets that are kept for the next connection that needs one: more than one turn mostly takes. */
const SPARE_MAX = 64;

/** Frames go first, then confirms, settlements, deliveries, and recalls. */
export class Bucket {
  /** Answers and revocations that are encoded already, in order. */
  readonly frames: Uint8Array[] = [];
  frameBytes = 0;
  /** Entries of a RESULT frame, and how many. */
  results: FrameWriter | null = null;
  resultCount = 0;
  /** Bytes of notes, and of the results that were kept before they were asked for. */
  keptBytes = 0;
  /** first seq, count, first id, durability index, ... */
  readonly confirms: number[] = [];
  /** Highest settlement frame that is done, 0 for none. */
  settleSeq = 0;
  /** Somebody waits to hear of one of them. */
  isSettledAwaited = false;
  readonly leases = new NumberList();
  /** Serial numbers of `leases`: a lease that no longer has its number is not sent. */
  readonly serials = new NumberList();
  /** Bytes of payload of `leases` when they were decided. */
  payloadBytes = 0;
  /** One of the deliveries is of a message that came back: fresh ones behind it must not leave before it does. */
  hasReturned = false;
  readonly recalls = new TagRanges();
  /** Deliveries of what was revoked, and of those whose handlers are to be ended by force, since the last answer. */
  readonly calledOff = new TagRanges();
  readonly terminated = new TagRanges();

  /** Whether somebody waits for something in it. */
  get isAwaited(): boolean {
    const { frames, confirms, leases, resultCount, recalls, calledOff, terminated } = this;
    if (this.isSettledAwaited || frames.length > 0 || confirms.length > 0 || leases.length > 0 || resultCount > 0)
      return true;
    return !recalls.isEmpty || !calledOff.isEmpty || !terminated.isEmpty;
  }

  answer(frame: Uint8Array): void {
    this.#sealRevoked();
    this.#frame(frame);
  }

  #frame(frame: Uint8Array): void {
    this.frames.push(frame);
    this.frameBytes += frame.length;
  }

  /**
   * What was revoked so far is a frame, in its place among the answers: behind the WELCOME of a session, and ahead of the REFUSED for a delivery that was begun meanwhile, because its handler is to hear that it was
   * revoked, and whether it is to be ended by force.
   */
  #sealRevoked(): void {
    const { calledOff, terminated } = this;
    if (!calledOff.isEmpty) this.#frame(encodeFrame([SERVER_OPS.REVOKED, calledOff.pairs, false]));
    if (!terminated.isEmpty) this.#frame(encodeFrame([SERVER_OPS.REVOKED, terminated.pairs, true]));
    calledOff.clear();
    terminated.clear();
  }

  /** What came of a message: the fields behind its id and status. */
  result(id: number, status: number, fields: Uint8Array): void {
    this.results ??= new FrameWriter(4_096);
    const writer = this.results;
    const before = writer.length;
    writer.arrayHeader(status === RESULT_STATUS.DONE ? 5 : fields.length > 0 ? 3 : 2);
    writer.uint(id);
    writer.uint(status);
    writer.raw(fields);
    this.frameBytes += writer.length - before;
    if (++this.resultCount === RESULTS_PER_FRAME || writer.length >= RESULT_BYTES) this.#sealResults();
  }

  /** The results so far are a frame. */
  #sealResults(): void {
    const writer = this.results;
    if (writer === null || this.resultCount === 0) return;
    const head = new FrameWriter(16);
    head.arrayHeader(2);
    head.uint(SERVER_OPS.RESULT);
    head.arrayHeader(this.resultCount);
    const entries = writer.copy();
    const frame = new Uint8Array(head.length + entries.length);
    frame.set(head.bytes.subarray(0, head.length));
    frame.set(entries, head.length);
    this.frames.push(frame);
    this.frameBytes += head.length;
    this.resultCount = 0;
  }

  /** Nothing more comes in: what is to become a frame does. */
  end(): void {
    this.#sealRevoked();
    if (this.resultCount > 0) this.#sealResults();
  }

  confirm(firstSeq: number, count: number, firstId: number, durability: number): void {
    const { confirms } = this;
    const last = confirms.length - 4;
    if (
      last >= 0 &&
      confirms[last]! + confirms[last + 1]! === firstSeq &&
      (confirms[last + 2] === 0 ? 0 : confirms[last + 2]! + confirms[last + 1]!) === firstId &&
      confirms[last + 3] === durability
    ) {
      confirms[last + 1]! += count;
    } else {
      confirms.push(firstSeq, count, firstId, durability);
    }
  }

  deliver(lease: number, serial: number, bytes: number): void {
    this.leases.push(lease);
    this.serials.push(serial);
    this.payloadBytes += bytes;
  }

  clear(): void {
    this.resultCount = 0;
    this.results?.reset();
    this.frames.length = 0;
    this.frameBytes = 0;
    this.keptBytes = 0;
    this.confirms.length = 0;
    this.settleSeq = 0;
    this.isSettledAwaited = false;
    this.leases.clear();
    this.serials.clear();
    this.payloadBytes = 0;
    this.hasReturned = false;
    this.recalls.clear();
    this.calledOff.clear();
    this.terminated.clear();
  }
}

const spare: Bucket[] = [];

/** An empty bucket. Connections that have nothing to be told have none. */
export function takeBucket(): Bucket {
  return spare.pop() ?? new Bucket();
}

/** The bucket is clear, and its connection forgets it. */
export function giveBucket(bucket: Bucket): void {
  if (spare.length < SPARE_MAX) spare.push(bucket);
}
