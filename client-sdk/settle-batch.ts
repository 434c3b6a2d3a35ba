// hot path
/** One START, ACK, NACK, COMPLETE or RELEASE frame on its way, and the promises that wait for it. */
import { type LovageError, type ResultFields, TagRanges } from '@lovage/protocol';
import { capture, captured, ignore } from './captured-promise.js';
import type { ParsedNack } from './delivery.js';
import type { TagSet } from './tag-set.js';

type Resolve = () => void;
type Reject = (error: LovageError) => void;

/** Gathers tags until it is written; then keeps the bytes until they are answered. */
export class SettleBatch {
  readonly op: number;
  /** What a NACK says; null for the other ops. */
  readonly nack: ParsedNack | null;
  readonly ranges = new TagRanges();
  /** RELEASE: ms before the broker delivers again. */
  readonly delayMs: number;
  /** COMPLETE: what came of each tag, and how many bytes that is. */
  readonly results: (ResultFields | null)[] = [];
  resultBytes = 0;
  /** COMPLETE of one tag: the PUBLISH that is taken with it. */
  follow: Uint8Array | null = null;
  /** Nobody waits for its answer. */
  mayWait = true;
  /** Number of the frame; 0 while it gathers. */
  settleSeq = 0;
  bytes: Uint8Array | null = null;
  /** Sent to a broker that may have processed it before: ALREADY_SETTLED is then a success that was not heard of. */
  isUncertain = false;
  readonly #tags: number[] = [];
  /** By the place in `#tags`: what `addAwaited` was told. */
  readonly #startSeqs: number[] = [];
  readonly #promises: Promise<void>[] = [];
  readonly #resolves: (Resolve | null)[] = [];
  readonly #rejects: Reject[] = [];

  constructor(op: number, nack: ParsedNack | null, delayMs = 0) {
    this.op = op;
    this.nack = nack;
    this.delayMs = delayMs;
  }

  add(tag: number): void {
    this.ranges.add(tag);
  }

  /** Adds a tag and returns the promise of its settlement. `startSeq`: see `Settlements.ackAwaited`. */
  addAwaited(tag: number, startSeq: number): Promise<void> {
    this.ranges.add(tag);
    this.#startSeqs.push(startSeq);
    const promise = new Promise<void>(capture);
    this.#tags.push(tag);
    this.#promises.push(promise);
    this.#resolves.push(captured.resolve as Resolve);
    this.#rejects.push(captured.reject);
    return promise;
  }

  /** Adds a tag with its result, null for none. */
  addResult(tag: number, startSeq: number, result: ResultFields | null): Promise<void> {
    this.results.push(result);
    this.resultBytes += result?.body.length ?? 0;
    return this.addAwaited(tag, startSeq);
  }

  /** Every tag that was not refused is settled. */
  resolve(): void {
    const resolves = this.#resolves;
    for (let i = 0; i < resolves.length; i++) resolves[i]?.();
  }

  /** These tags were refused; null for all. */
  reject(tags: TagSet | null, error: LovageError): void {
    for (let i = 0; i < this.#tags.length; i++) if (tags?.has(this.#tags[i]!) ?? true) this.#reject(i, error);
  }

  /** All but these tags will be refused. */
  rejectUnless(tags: TagSet, error: LovageError): void {
    for (let i = 0; i < this.#tags.length; i++) if (!tags.has(this.#tags[i]!)) this.#reject(i, error);
  }

  /** All but these tags, and those of which `isSettled`, told their `startSeq`, says that nobody will get them again. */
  rejectLost(held: TagSet, isSettled: (startSeq: number) => boolean, error: LovageError): void {
    for (let i = 0; i < this.#tags.length; i++)
      if (!held.has(this.#tags[i]!) && !isSettled(this.#startSeqs[i]!)) this.#reject(i, error);
  }

  #reject(index: number, error: LovageError): void {
    if (this.#resolves[index] === null) return;
    this.#resolves[index] = null;
    // Whoever awaits sees the rejection; whoever does not is not made to crash by it.
    this.#promises[index]!.catch(ignore);
    this.#rejects[index]!(error);
  }
}
