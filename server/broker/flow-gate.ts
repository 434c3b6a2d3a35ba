/**
 * When publishers are held back: before the broker runs out of memory or of disk. Consumers go on, because only they make room again.
 *
 *     memory   0 ───────────── 70 % ──────── 80 % ──────────── 100 % of the budget
 *                               ▲             ▲                 ▲
 *                          let on again    held back: FLOW    refused, FLOW_BLOCKED
 *
 *     disk     free ≥ 125 % of the least ◄─ let on again       held back: FLOW ─► free < the least       no room at all: refused, DISK_FULL
 *
 * The distance between two marks keeps it from swinging, and what is on its way when FLOW is said finds room. Memory is counted, not measured: what
 * the system says that a process has does not go down when messages go, and then nobody would ever be let on again.
 */

/** Why publishers are held back. */
export const FLOW_REASONS = ['memory', 'disk'] as const;
export type FlowReason = (typeof FLOW_REASONS)[number];

/** ms between two looks. */
export const LOOK_MS = 100;
/** What FLOW says about when to try again; whoever stays connected is told earlier. */
export const RETRY_AFTER_MS = 1_000;
/** A frame of the SDK: so much room is waited for, however large the publish was that found none. */
const ROOM_BYTES_MAX = 65_536;
const HOLD_SHARE = 0.8;
const GO_ON_SHARE = 0.7;
const DISK_GO_ON_SHARE = 1.25;
const SCARCE_SHARE = 2;

/** What the gate may know. */
export interface FlowLimits {
  /** Bytes that messages may take in memory; Infinity for no bound. */
  readonly memoryBytesMax: number;
  /** Bytes to leave free on the journal's disk, 0 for no bound. */
  readonly diskFreeBytesMin: number;
  /** Bytes free on the journal's disk, Infinity where there is none. */
  readonly diskFreeBytes: () => number;
}

export const NO_FLOW_LIMITS: FlowLimits = {
  memoryBytesMax: Number.POSITIVE_INFINITY,
  diskFreeBytesMin: 0,
  diskFreeBytes: () => Number.POSITIVE_INFINITY,
};

/** For people to see. */
export interface FlowStats {
  /** Why publishers are held back now, null if they are not. */
  readonly reason: FlowReason | null;
  readonly memoryBytes: number;
  /** Null for no bound. */
  readonly memoryBytesMax: number | null;
  /** At the last look; null where there is no disk. */
  readonly diskFreeBytes: number | null;
  readonly diskFreeBytesMin: number;
  /** Times that publishers were held back since start. */
  readonly blocks: number;
}

/** A session that wants to know. */
export interface FlowWatcher {
  flowChanged(): void;
}

export class FlowGate {
  readonly #limits: FlowLimits;
  readonly #memoryBytes: () => number;
  readonly #hasRoom: (bytes: number) => boolean;
  readonly #watchers = new Set<FlowWatcher>();
  /** Connections that are not read from until the next look. */
  #paused: (() => void)[] = [];
  #isOutOfMemory = false;
  #isOutOfDisk = false;
  /** Room to wait for since a publish found none. */
  #roomBytes = 0;
  #looksLeft = 0;
  #diskFreeBytes = Number.POSITIVE_INFINITY;
  #blocks = 0;
  #reason: FlowReason | null = null;

  /** `memoryBytes` is asked for every publish, `hasRoom` whether the journal could take one of so many bytes. */
  constructor(limits: FlowLimits, memoryBytes: () => number, hasRoom: (bytes: number) => boolean) {
    this.#limits = limits;
    this.#memoryBytes = memoryBytes;
    this.#hasRoom = hasRoom;
  }

  get reason(): FlowReason | null {
    return this.#reason;
  }

  /** Whether, at the last look, the disk had so little room that what can wait must not take more of it: twice what is to be left free. */
  get isDiskScarce(): boolean {
    return this.#diskFreeBytes < this.#limits.diskFreeBytesMin * SCARCE_SHARE;
  }

  watch(watcher: FlowWatcher): void {
    this.#watchers.add(watcher);
  }

  unwatch(watcher: FlowWatcher): void {
    this.#watchers.delete(watcher);
  }

  /** Calls `then` at the next look: so long a connection that publishes all the same is not read from. It is read from again then, or it could never consume. */
  pause(then: () => void): void {
    this.#paused.push(then);
  }

  /** What a publish is refused with now. */
  refusal(): 'FLOW_BLOCKED' | null {
    const { memoryBytesMax } = this.#limits;
    if (memoryBytesMax === Number.POSITIVE_INFINITY) return null;
    const bytes = this.#memoryBytes();
    if (bytes < memoryBytesMax * HOLD_SHARE) return null;
    this.#isOutOfMemory = true;
    this.#enter();
    return bytes >= memoryBytesMax ? 'FLOW_BLOCKED' : null;
  }

  /** The journal had no room for a publish. One that no room would be enough for must not hold the others back for long. */
  foundNoRoom(bytes: number): void {
    if (this.#limits.diskFreeBytesMin === 0) return;
    this.#isOutOfDisk = true;
    this.#roomBytes = Math.min(ROOM_BYTES_MAX, Math.max(this.#roomBytes, bytes));
    this.#looksLeft = RETRY_AFTER_MS / LOOK_MS;
    this.#enter();
  }

  /** Looks at memory and disk; to be called every `LOOK_MS`. */
  look(): void {
    const { memoryBytesMax, diskFreeBytesMin, diskFreeBytes } = this.#limits;
    const bytes = this.#memoryBytes();
    this.#isOutOfMemory = bytes >= memoryBytesMax * (this.#isOutOfMemory ? GO_ON_SHARE : HOLD_SHARE);
    if (diskFreeBytesMin > 0) {
      this.#diskFreeBytes = diskFreeBytes();
      const least = diskFreeBytesMin * (this.#isOutOfDisk ? DISK_GO_ON_SHARE : 1);
      const isWaiting = this.#looksLeft > 0 && --this.#looksLeft > 0;
      const hasRoom = !isWaiting && this.#hasRoom(this.#roomBytes);
      this.#isOutOfDisk = this.#diskFreeBytes < least || (this.#isOutOfDisk && !hasRoom);
      if (!this.#isOutOfDisk) this.#roomBytes = 0;
    }
    this.#enter();
    const paused = this.#paused;
    this.#paused = [];
    for (const then of paused) then();
  }

  stats(): FlowStats {
    const { memoryBytesMax, diskFreeBytesMin } = this.#limits;
    return {
      reason: this.#reason,
      memoryBytes: this.#memoryBytes(),
      memoryBytesMax: Number.isFinite(memoryBytesMax) ? memoryBytesMax : null,
      diskFreeBytes: Number.isFinite(this.#diskFreeBytes) ? this.#diskFreeBytes : null,
      diskFreeBytesMin,
      blocks: this.#blocks,
    };
  }

  #enter(): void {
    const reason = this.#isOutOfMemory ? 'memory' : this.#isOutOfDisk ? 'disk' : null;
    if (reason === this.#reason) return;
    if (this.#reason === null) this.#blocks++;
    this.#reason = reason;
    for (const watcher of this.#watchers) watcher.flowChanged();
  }
}
