// hot path
/**
 * A table from whole numbers (0 to 2^53-1) to small whole numbers, for keys that are handed out in rising order and mostly go in that order,
 * too: message ids, delivery tags. Keys of one block of 64 share 256 bytes; a directory (open addressing, linear probing) finds the block.
 *
 *     key ── floor(key / 64) ──► directory ──► block number ──► chunks[block >> shift][(block & mask) * 64 + key % 64] = value + 1
 *
 * Neighbouring keys cost no probing, an empty block is used again, and the worst case, one live key in every block, costs some 280 bytes
 * a key. Growing rehashes the directory only: 156,000 entries for ten million dense keys. An empty table that never had a key has no memory of its own.
 */
const BLOCK = 64;
const GOLDEN = 0x9e3779b1;

const DIRECTORY_MIN = 16;
/** The directory of a table that never had a key: one place, empty, and nothing is ever put there. */
const NO_KEYS = Float64Array.of(-1);
const NO_BLOCKS = new Int32Array(1);
const NO_COUNTS = new Uint8Array(0);

export class SparseIndex {
  #directoryKeys = NO_KEYS;
  #directoryBlocks = NO_BLOCKS;
  #directoryMask = 0;
  #blocksUsed = 0;
  /** Values of all blocks, + 1; 0 is "none". */
  readonly #chunks: Int32Array[] = [];
  /** Keys in each block. */
  #counts = NO_COUNTS;
  readonly #freeBlocks: number[] = [];
  #blockCount = 0;
  #size = 0;
  #lastKey = -1;
  #lastBlock = 0;
  readonly #chunkShift: number;
  readonly #chunkMask: number;

  /** Memory grows by 2^`chunkShift` blocks of 256 bytes at a time: 10 for a table of millions, 2 for one of many small tables. */
  constructor(chunkShift: number) {
    this.#chunkShift = chunkShift;
    this.#chunkMask = (1 << chunkShift) - 1;
  }

  get size(): number {
    return this.#size;
  }

  /** The value at `key`, -1 if there is none. */
  get(key: number): number {
    const block = this.#find(Math.floor(key / BLOCK));
    return block < 0
      ? -1
      : this.#chunks[block >> this.#chunkShift]![((block & this.#chunkMask) << 6) + (key % BLOCK)]! - 1;
  }

  /** Sets a value of 0 to 2^31-2. */
  set(key: number, value: number): void {
    const blockKey = Math.floor(key / BLOCK);
    let block = this.#find(blockKey);
    if (block < 0) block = this.#addBlock(blockKey);
    const chunk = this.#chunks[block >> this.#chunkShift]!;
    const at = ((block & this.#chunkMask) << 6) + (key % BLOCK);
    if (chunk[at] === 0) {
      this.#counts[block]!++;
      this.#size++;
    }
    chunk[at] = value + 1;
  }

  /** Removes a key; false if it was not there. */
  delete(key: number): boolean {
    const blockKey = Math.floor(key / BLOCK);
    const block = this.#find(blockKey);
    if (block < 0) return false;
    const chunk = this.#chunks[block >> this.#chunkShift]!;
    const at = ((block & this.#chunkMask) << 6) + (key % BLOCK);
    if (chunk[at] === 0) return false;
    chunk[at] = 0;
    this.#size--;
    if (--this.#counts[block]! === 0) this.#dropBlock(blockKey, block);
    return true;
  }

  /** Calls `visit` for every key, in no particular order. The table must not change meanwhile. */
  forEach(visit: (key: number, value: number) => void): void {
    for (let i = 0; i <= this.#directoryMask; i++) {
      const blockKey = this.#directoryKeys[i]!;
      if (blockKey < 0) continue;
      const block = this.#directoryBlocks[i]!;
      const chunk = this.#chunks[block >> this.#chunkShift]!;
      const base = (block & this.#chunkMask) << 6;
      for (let j = 0; j < BLOCK; j++) if (chunk[base + j] !== 0) visit(blockKey * BLOCK + j, chunk[base + j]! - 1);
    }
  }

  /** Whether there may be keys in the block of 64 that `key` is in: O(1). */
  hasBlock(key: number): boolean {
    const blockKey = Math.floor(key / BLOCK);
    return this.#directoryKeys[this.#probe(blockKey)] === blockKey;
  }

  /** First key of the first block in use from that of `key` on, Infinity if there is none. A look at every entry of the directory: some 2 ns a block. */
  nextBlock(key: number): number {
    const first = Math.floor(key / BLOCK);
    let next = Number.POSITIVE_INFINITY;
    for (let i = 0; i <= this.#directoryMask; i++) {
      const blockKey = this.#directoryKeys[i]!;
      if (blockKey >= first && blockKey < next) next = blockKey;
    }
    return next * BLOCK;
  }

  #find(blockKey: number): number {
    if (blockKey === this.#lastKey) return this.#lastBlock;
    const at = this.#probe(blockKey);
    if (this.#directoryKeys[at] !== blockKey) return -1;
    this.#lastKey = blockKey;
    this.#lastBlock = this.#directoryBlocks[at]!;
    return this.#lastBlock;
  }

  /** Where the key stands, or the empty place where it would. */
  #probe(blockKey: number): number {
    let at = this.#home(blockKey);
    while (this.#directoryKeys[at] !== blockKey && this.#directoryKeys[at] !== -1) at = (at + 1) & this.#directoryMask;
    return at;
  }

  #home(blockKey: number): number {
    const hash = Math.imul((blockKey >>> 0) ^ Math.floor(blockKey / 4_294_967_296), GOLDEN);
    return (hash ^ (hash >>> 15)) & this.#directoryMask;
  }

  #addBlock(blockKey: number): number {
    if ((this.#blocksUsed + 1) * 2 > this.#directoryMask) this.#growDirectory();
    const block = this.#freeBlocks.pop() ?? this.#newBlock();
    const at = this.#probe(blockKey);
    this.#directoryKeys[at] = blockKey;
    this.#directoryBlocks[at] = block;
    this.#blocksUsed++;
    this.#lastKey = blockKey;
    this.#lastBlock = block;
    return block;
  }

  #newBlock(): number {
    const block = this.#blockCount++;
    if (block >> this.#chunkShift >= this.#chunks.length)
      this.#chunks.push(new Int32Array((this.#chunkMask + 1) * BLOCK));
    if (block >= this.#counts.length) {
      const grown = new Uint8Array(Math.max(DIRECTORY_MIN, this.#counts.length * 2));
      grown.set(this.#counts);
      this.#counts = grown;
    }
    return block;
  }

  /** Removes an empty block and moves back whatever had been pushed past its place, so that no tombstones pile up. */
  #dropBlock(blockKey: number, block: number): void {
    this.#freeBlocks.push(block);
    this.#blocksUsed--;
    if (this.#lastKey === blockKey) this.#lastKey = -1;
    const mask = this.#directoryMask;
    let hole = this.#probe(blockKey);
    let at = (hole + 1) & mask;
    while (this.#directoryKeys[at] !== -1) {
      const home = this.#home(this.#directoryKeys[at]!);
      if (((at - home) & mask) >= ((at - hole) & mask)) {
        this.#directoryKeys[hole] = this.#directoryKeys[at]!;
        this.#directoryBlocks[hole] = this.#directoryBlocks[at]!;
        hole = at;
      }
      at = (at + 1) & mask;
    }
    this.#directoryKeys[hole] = -1;
  }

  #growDirectory(): void {
    const keys = this.#directoryKeys;
    const blocks = this.#directoryBlocks;
    const size = Math.max(DIRECTORY_MIN, (this.#directoryMask + 1) * 2);
    this.#directoryKeys = new Float64Array(size).fill(-1);
    this.#directoryBlocks = new Int32Array(size);
    this.#directoryMask = size - 1;
    for (let i = 0; i < keys.length; i++) {
      if (keys[i] === -1) continue;
      const at = this.#probe(keys[i]!);
      this.#directoryKeys[at] = keys[i]!;
      this.#directoryBlocks[at] = blocks[i]!;
    }
  }
}
