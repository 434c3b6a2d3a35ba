// hot path
/** What waits to be told to one connection. The broker fills buckets; the session's outbox turns a bucket into frames when its time has come. */
import { type Bucket, giveBucket, takeBucket } from './bucket.js';

export interface BucketSender {
  /** Sends what is in the bucket and clears it. */
  flush(bucket: Bucket): void;
  /** Another connection has taken the session over. */
  superseded(): void;
}

/**
 * One connection's buckets: `now` is flushed at the end of this turn, `gathering` when the batch that gathers is on disk, `committing` when the
 * batch under way is; then it is `safe` until the next batch is on its way to the disk. Each is there while something is in it.
 */
export class Outlet {
  readonly #sender: BucketSender;
  #now: Bucket | null = null;
  #gathering: Bucket | null = null;
  #committing: Bucket | null = null;
  #safe: Bucket | null = null;
  /** In the broker's list for the bucket; kept here so that joining the list twice costs a comparison. */
  isListedNow = false;
  isListedGathering = false;
  isListedCommitting = false;

  constructor(sender: BucketSender) {
    this.#sender = sender;
  }

  /** Another connection has taken the session over. */
  superseded(): void {
    this.#sender.superseded();
  }

  get now(): Bucket {
    this.#now ??= takeBucket();
    return this.#now;
  }

  get gathering(): Bucket {
    this.#gathering ??= takeBucket();
    return this.#gathering;
  }

  get committing(): Bucket {
    this.#committing ??= takeBucket();
    return this.#committing;
  }

  /** Nothing waits to be told. */
  get isEmpty(): boolean {
    return this.#now === null && this.#gathering === null && this.#committing === null && this.#safe === null;
  }

  /** Whether somebody waits for something that rests on the batch that gathers. */
  get isAwaited(): boolean {
    return this.#gathering?.isAwaited === true;
  }

  /** A delivery of a message that came back rests on the batch that gathers. */
  get gathersReturned(): boolean {
    return this.#gathering?.hasReturned === true;
  }

  /** The same of the batch under way. */
  get commitsReturned(): boolean {
    return this.#committing?.hasReturned === true;
  }

  /** Bytes of answers that are not given to the sender yet. */
  get answerBytes(): number {
    return bytesOf(this.#now) + bytesOf(this.#gathering) + bytesOf(this.#committing) + bytesOf(this.#safe);
  }

  /** Sending may cause more to be sent now: that is for another bucket. */
  flushNow(): void {
    const bucket = this.#now;
    this.#now = null;
    this.isListedNow = false;
    this.#flush(bucket);
  }

  flushSafe(): void {
    const bucket = this.#safe;
    this.#safe = null;
    this.#flush(bucket);
  }

  /** The batch that gathered is being committed. */
  seal(): void {
    this.#committing = this.#gathering;
    this.#gathering = null;
    this.isListedGathering = false;
    this.isListedCommitting = true;
  }

  /** The batch is on disk. */
  committed(): void {
    this.#safe = this.#committing;
    this.#committing = null;
    this.isListedCommitting = false;
  }

  #flush(bucket: Bucket | null): void {
    if (bucket === null) return;
    this.#sender.flush(bucket);
    giveBucket(bucket);
  }
}

function bytesOf(bucket: Bucket | null): number {
  return bucket === null ? 0 : bucket.frameBytes;
}
