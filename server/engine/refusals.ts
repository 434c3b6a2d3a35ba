/** Tags of one settlement frame that are refused, gathered into ranges: a frame may name tens of thousands. */
import type { ErrorCode } from '@lovage/protocol';
import type { EffectSink } from './effects.js';

export class Refusals {
  readonly #session: number;
  readonly #settleSeq: number;
  readonly #out: EffectSink;
  #first = 0;
  #count = 0;
  #code: ErrorCode | null = null;

  constructor(session: number, settleSeq: number, out: EffectSink) {
    this.#session = session;
    this.#settleSeq = settleSeq;
    this.#out = out;
  }

  add(first: number, count: number, code: ErrorCode): void {
    if (code === this.#code && first === this.#first + this.#count) {
      this.#count += count;
      return;
    }
    this.flush();
    this.#first = first;
    this.#count = count;
    this.#code = code;
  }

  /** Tells what is gathered; to be called at the end. */
  flush(): void {
    if (this.#code !== null) this.#out.refused(this.#session, this.#settleSeq, this.#first, this.#count, this.#code);
    this.#code = null;
  }
}
