/** One rate limit of a namespace: what it says, and the arithmetic of its buckets. */
import type { Rate, RateLimitInfo } from '@lovage/protocol';
import type { Bucket } from './rate-buckets.js';

export class RateLimit {
  readonly namespace: string;
  readonly name: string;
  declared: Rate | null = null;
  override: Rate | null = null;
  /** ms between two messages of a bucket in the long run; 0 without a rate. */
  intervalMs = 0;
  /** ms at which a bucket is full that is made now. */
  freshFullMs = 0;
  /** By key. */
  readonly buckets = new Map<string | null, Bucket>();

  constructor(namespace: string, name: string) {
    this.namespace = namespace;
    this.name = name;
  }

  /** What is in force; null lets everything through. */
  get rate(): Rate | null {
    return this.override ?? this.declared;
  }

  /** Whether somebody has said what it is: without that it is there because messages bear its name. */
  get isSet(): boolean {
    return this.rate !== null;
  }

  /** Called by `RateBuckets.set`, which sees to the buckets. */
  set(declared: Rate | null, override: Rate | null): void {
    this.declared = declared;
    this.override = override;
    const { rate } = this;
    this.intervalMs = rate === null ? 0 : rate.perMs / rate.count;
  }

  /** Whole ms at which a bucket opens that is full at `fullMs`. */
  opensAt(fullMs: number): number {
    return Math.ceil(fullMs - (this.rate!.burst - 1) * this.intervalMs);
  }

  /** Messages that a bucket has let through and not got back yet. */
  owed(fullMs: number, nowMs: number): number {
    return this.rate === null ? 0 : Math.max(0, fullMs - nowMs) / this.intervalMs;
  }

  /** When a bucket is full that has let so many through; more than its burst are not held against it. */
  fullAfter(owed: number, nowMs: number): number {
    return this.rate === null || owed === 0 ? 0 : nowMs + Math.min(owed, this.rate.burst) * this.intervalMs;
  }

  info(): RateLimitInfo {
    let waiting = 0;
    for (const { isOpen, lanes } of this.buckets.values()) {
      if (isOpen) continue;
      for (const { size } of lanes) waiting += size;
    }
    const { name, namespace, declared, override } = this;
    return { name, namespace, rate: declared, override, waiting };
  }
}
