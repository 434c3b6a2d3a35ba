// hot path
/**
 * The idle attachments of one queue, in the order in which they are to be asked: a ring for each consumer priority, the highest first, and round robin
 * inside a ring.
 */
import type { Attachment } from './consumer.js';

interface Ring {
  readonly priority: number;
  /** Whose turn it is. */
  head: Attachment | null;
}

export class Rotation {
  /** By falling priority; nearly always one ring. */
  readonly #rings: Ring[] = [];

  /** Adds at the end of its ring. */
  add(attachment: Attachment): void {
    const ring = this.#ring(attachment.consumer.priority);
    const { head } = ring;
    if (head === null) {
      attachment.next = attachment;
      attachment.prev = attachment;
      ring.head = attachment;
      return;
    }
    const tail = head.prev!;
    attachment.prev = tail;
    attachment.next = head;
    tail.next = attachment;
    head.prev = attachment;
  }

  remove(attachment: Attachment): void {
    if (attachment.next === null) return;
    const ring = this.#ring(attachment.consumer.priority);
    if (attachment.next === attachment) {
      ring.head = null;
    } else {
      attachment.prev!.next = attachment.next;
      attachment.next.prev = attachment.prev;
      if (ring.head === attachment) ring.head = attachment.next;
    }
    attachment.next = null;
    attachment.prev = null;
  }

  /** The next attachment whose consumer has credit, and its turn passes on; those on the way that have none are marked and leave. Null when nobody has. */
  next(): Attachment | null {
    return this.nextFrom(Number.NEGATIVE_INFINITY);
  }

  /** `next` among the consumers of this priority and above. */
  nextFrom(priority: number): Attachment | null {
    for (let i = 0; i < this.#rings.length; i++) {
      const ring = this.#rings[i]!;
      if (ring.priority < priority) return null;
      const attachment = this.#firstWithCredit(ring);
      if (attachment === null) continue;
      ring.head = attachment.next;
      return attachment;
    }
    return null;
  }

  #firstWithCredit(ring: Ring): Attachment | null {
    while (ring.head !== null) {
      const attachment = ring.head;
      if (attachment.consumer.hasCredit()) return attachment;
      this.remove(attachment);
      attachment.consumer.mark(attachment);
    }
    return null;
  }

  #ring(priority: number): Ring {
    const rings = this.#rings;
    let at = 0;
    while (at < rings.length && rings[at]!.priority > priority) at++;
    const found = rings[at];
    if (found !== undefined && found.priority === priority) return found;
    const ring: Ring = { priority, head: null };
    rings.splice(at, 0, ring);
    return ring;
  }
}
