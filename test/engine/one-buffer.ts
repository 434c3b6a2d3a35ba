/**
 * Replay as a journal does it that reads files: every record is a view of one buffer, and when the visitor has returned the buffer holds something
 * else. Whoever keeps a view instead of a copy (a `Buffer`'s `slice` is a view) has rubbish.
 */
import type { ReplayedRecord } from '../../server/journal/journal.js';

const RUBBISH = 0xa5;

export class OneBuffer {
  #bytes = Buffer.alloc(4_096);
  /** Records begin at changing offsets, so that an offset from the start of the underlying memory is wrong, too. */
  #shift = 0;

  /** Hands `visit` the record in the buffer, and overwrites the buffer afterwards. */
  show<T>(record: ReplayedRecord, visit: (record: ReplayedRecord) => T): T {
    const { type, segment, bodyOffset } = record;
    this.#shift = (this.#shift + 7) % 64;
    const bodyAt = this.#shift + record.head.length;
    const end = bodyAt + record.body.length;
    if (end > this.#bytes.length) this.#bytes = Buffer.alloc(end * 2);
    this.#bytes.set(record.head, this.#shift);
    this.#bytes.set(record.body, bodyAt);
    const head = this.#bytes.subarray(this.#shift, bodyAt);
    const body = this.#bytes.subarray(bodyAt, end);
    try {
      return visit({ type, head, body, segment, bodyOffset });
    } finally {
      this.#bytes.fill(RUBBISH);
    }
  }
}
