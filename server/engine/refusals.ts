/**
 * Tags of one settlement frame that are refused, gathered into ranges: a frame may name tens of thousands. They are told when the frame's records are
 * written, because a tag that a frame names twice is refused for what the frame itself has settled (promise P1).
 */
import type { ErrorCode } from '@lovage/protocol';
import type { EffectSink } from './effects.js';

interface Refusal {
  readonly first: number;
  count: number;
  readonly code: ErrorCode;
}

export class Refusals {
  readonly #gathered: Refusal[] = [];

  add(first: number, count: number, code: ErrorCode): void {
    const last = this.#gathered.at(-1);
    if (last !== undefined && code === last.code && first === last.first + last.count) last.count += count;
    else this.#gathered.push({ first, count, code });
  }

  /** Tells what is gathered and forgets it. */
  flush(session: number, settleSeq: number, out: EffectSink): void {
    for (const { first, count, code } of this.#gathered) out.refused(session, settleSeq, first, count, code);
    this.#gathered.length = 0;
  }
}
