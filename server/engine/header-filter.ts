/** Whether messages have headers of these values. Headers stand in the journal, so looking at them costs, and one step looks at so many only. */
import { decodeValue, type HeaderValue } from '@lovage/protocol';
import type { EffectSink } from './effects.js';

/** Messages whose headers are read in one step, and bytes of them behind which no more are: some 3 ms of work. */
const READS_MAX = 500;
const READ_BYTES = 256 * 1024;

export class HeaderFilter {
  readonly #wanted: readonly (readonly [name: string, value: HeaderValue])[];
  readonly #source: Pick<EffectSink, 'headersOf'>;
  #readsLeft = READS_MAX;
  #bytesLeft = READ_BYTES;

  constructor(wanted: Readonly<Record<string, HeaderValue>>, source: Pick<EffectSink, 'headersOf'>) {
    this.#wanted = Object.entries(wanted);
    this.#source = source;
  }

  /** True when the step has read enough. */
  get isSpent(): boolean {
    return this.#readsLeft <= 0 || this.#bytesLeft <= 0;
  }

  fits(slot: number): boolean {
    const bytes = this.#source.headersOf(slot);
    this.#readsLeft--;
    if (bytes === null) return this.#wanted.length === 0;
    this.#bytesLeft -= bytes.length;
    const headers = decode(bytes);
    return this.#wanted.every(([name, value]) => Object.hasOwn(headers, name) && headers[name] === value);
  }
}

/** What MessagePack can say and JavaScript cannot hold fits nothing. */
function decode(bytes: Uint8Array): Readonly<Record<string, unknown>> {
  try {
    return decodeValue(bytes) as Readonly<Record<string, unknown>>;
  } catch {
    return {};
  }
}
