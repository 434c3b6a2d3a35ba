// hot path
/** How many live messages, and how many bytes of them, each segment still holds. Segments are numbered from 1 and are forgotten from the front. */
export class SegmentUsage {
  #first = 1;
  #counts = new Float64Array(16);
  #bytes = new Float64Array(16);
  #liveCount = 0;
  #liveBytes = 0;

  /** Live messages in all segments. */
  get count(): number {
    return this.#liveCount;
  }

  get bytes(): number {
    return this.#liveBytes;
  }

  add(segment: number, bytes: number): void {
    const at = segment - this.#first;
    if (at >= this.#counts.length) this.#grow(at + 1);
    this.#counts[at]!++;
    this.#bytes[at]! += bytes;
    this.#liveCount++;
    this.#liveBytes += bytes;
  }

  remove(segment: number, bytes: number): void {
    const at = segment - this.#first;
    this.#counts[at]!--;
    this.#bytes[at]! -= bytes;
    this.#liveCount--;
    this.#liveBytes -= bytes;
  }

  countOf(segment: number): number {
    return this.#counts[segment - this.#first] ?? 0;
  }

  bytesOf(segment: number): number {
    return this.#bytes[segment - this.#first] ?? 0;
  }

  /** Segments below `segment` are gone; none of them may hold a live message. */
  forgetBelow(segment: number): void {
    const gone = segment - this.#first;
    if (gone <= 0) return;
    this.#counts.copyWithin(0, gone);
    this.#bytes.copyWithin(0, gone);
    this.#counts.fill(0, Math.max(0, this.#counts.length - gone));
    this.#bytes.fill(0, Math.max(0, this.#bytes.length - gone));
    this.#first = segment;
  }

  #grow(size: number): void {
    const length = Math.max(size, this.#counts.length * 2);
    const counts = new Float64Array(length);
    counts.set(this.#counts);
    this.#counts = counts;
    const bytes = new Float64Array(length);
    bytes.set(this.#bytes);
    this.#bytes = bytes;
  }
}
