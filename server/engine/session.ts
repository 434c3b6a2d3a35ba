/** One client as the engine knows it. It outlives its connection by the grace window. */
import { SparseIndex } from '../collections/sparse-index.js';
import type { Consumer } from './consumer.js';
import type { Producer } from './producers.js';

/** Tags taken back from a client that has not answered for them yet, remembered to tell SUPERSEDED from ALREADY_SETTLED; the oldest are forgotten. */
const REVOKED_MAX = 65_536;
/** Of those, the ones whose messages were revoked and of which a client that comes back is told again; the oldest are forgotten. */
const CALLED_OFF_MAX = 1_024;

export class Session {
  readonly number: number;
  readonly key: string;
  readonly namespace: string;
  readonly producer: Producer | null;
  readonly consumers = new Map<number, Consumer>();
  /** Tag of each unsettled delivery -> lease. */
  readonly tags = new SparseIndex(2);
  /** Both are null until there is something in them: of most of thousands of sessions there never is. */
  #revoked: Set<number> | null = null;
  #calledOff: Map<number, boolean> | null = null;
  /** The highest tag given out. */
  lastTag = 0;
  /** The last settlement frame processed; null when a restart has made it unknown. */
  settleSeq: number | null = 0;
  /** True while a connection is there. */
  isAttached = true;
  /** True once a SessionRecord is in the journal. */
  isRecorded = false;
  /** Numbers of the first and the last message that were refused for now, and have to come again before others are taken. Of this connection. */
  heldBack: { from: number; to: number } | null = null;
  /** Bytes of deliveries and of kept results that were decided and are not yet with the operating system. */
  unsentBytes = 0;
  readonly #unsentBytesMax: number;

  constructor(number: number, key: string, namespace: string, producer: Producer | null, unsentBytesMax: number) {
    this.number = number;
    this.key = key;
    this.namespace = namespace;
    this.producer = producer;
    this.#unsentBytesMax = unsentBytesMax;
  }

  /** Whether more deliveries may be decided for this connection. */
  get isWritable(): boolean {
    return this.unsentBytes < this.#unsentBytesMax;
  }

  /** Tags whose messages were revoked, and whether their work is to be ended by force: REVOKED may have been lost with the connection. */
  get calledOff(): Iterable<[tag: number, byForce: boolean]> {
    return this.#calledOff ?? [];
  }

  /** Messages were refused for now. */
  holdBack(from: number, to: number): void {
    if (this.heldBack === null) this.heldBack = { from, to };
    else this.heldBack.to = to;
  }

  revoke(tag: number): void {
    this.#revoked ??= new Set();
    this.#revoked.add(tag);
    if (this.#revoked.size > REVOKED_MAX) forgetOldest(this.#revoked);
  }

  /** The message of a tag that was taken back was revoked. */
  callOff(tag: number, terminate: boolean): void {
    this.#calledOff ??= new Map();
    this.#calledOff.set(tag, terminate);
    if (this.#calledOff.size > CALLED_OFF_MAX) forgetOldest(this.#calledOff);
  }

  /** True, once, for a tag that was taken back. */
  forgive(tag: number): boolean {
    this.#calledOff?.delete(tag);
    return this.#revoked?.delete(tag) === true;
  }
}

function forgetOldest(tags: Set<number> | Map<number, boolean>): void {
  for (const oldest of tags.keys()) {
    tags.delete(oldest);
    return;
  }
}
