/**
 * How much of the disk publishes may use. A settlement must never meet a full disk (rule W7), so so much is kept for settlements:
 *
 *     |◄───────── written ─────────►|◄── reserved ──►|◄────── free ──────►|
 *                                   |◄── target ────►|◄ margin ►|◄─ room ─►|     publishes may use the room, no more
 *
 * The target is what settlements of everything alive may need, at least 8 MiB; on a small disk at most shares of what the journal could ever have
 * there (a quarter for the minimum, half for what was asked). The margin is for one large batch and for what others write to the disk
 * between two looks. While the disk has plenty, reserved and free count alike: both can be written to. When it has not, `isScarce`
 * tells the reserve to turn free space into reserved space whatever else is going on.
 */
const MIB = 1024 * 1024;

export const RESERVE_BYTES_MIN: number = 8 * MIB;
const MARGIN_BYTES_MAX = 32 * MIB;
const MARGIN_SHARE = 1 / 16;
const MINIMUM_SHARE = 1 / 4;
const NEED_SHARE = 1 / 2;
/** Others may fill so much of the disk between two looks at most. */
const PLENTY_BYTES = 1024 * MIB;
const PLENTY_SHARE = 1 / 4;

export interface DiskMeasure {
  readonly freeBytes: number;
  readonly reservedBytes: number;
  /** Bytes of records in all segments. */
  readonly logBytes: number;
}

export class DiskSpace {
  #needBytes = 0;
  #targetBytes = RESERVE_BYTES_MIN;
  #roomBytes = 0;
  #isScarce = false;
  #usedBytes = 0;

  /** What settlements of all that is alive may need. */
  need(bytes: number): void {
    this.#needBytes = bytes;
  }

  /** Bytes to keep reserved. */
  get targetBytes(): number {
    return this.#targetBytes;
  }

  /** Bytes that publishes may still use; negative when settlements have begun to use what was kept for them. */
  get roomBytes(): number {
    return this.#roomBytes - this.#usedBytes;
  }

  get isScarce(): boolean {
    return this.#isScarce;
  }

  /** So much was written since `measure`. True when it is time to look again. */
  used(bytes: number): boolean {
    this.#usedBytes += bytes;
    return this.#usedBytes > this.#targetBytes / 4;
  }

  measure(disk: DiskMeasure): void {
    const capacity = disk.freeBytes + disk.reservedBytes + disk.logBytes;
    const minimum = Math.min(RESERVE_BYTES_MIN, capacity * MINIMUM_SHARE);
    this.#targetBytes = Math.floor(Math.max(minimum, Math.min(this.#needBytes, capacity * NEED_SHARE)));
    const margin = Math.min(MARGIN_BYTES_MAX, capacity * MARGIN_SHARE);
    this.#roomBytes = Math.floor(disk.freeBytes + disk.reservedBytes - this.#targetBytes - margin);
    this.#isScarce = disk.freeBytes < Math.max(4 * this.#targetBytes, Math.min(PLENTY_BYTES, capacity * PLENTY_SHARE));
    this.#usedBytes = 0;
  }
}
