/**
 * What handlers tell of deliveries that are not settled yet. The first note leaves at once, what follows within `PAUSE_MS` gathers: of progress the latest counts, lines
 * are all sent. What has gathered when the delivery is settled leaves before its answer.
 */
import { CLIENT_OPS, encodeFrame, LIMITS, type Note, type Progress } from '@lovage/protocol';
import type { Channel } from './channel.js';
import type { ActiveDelivery } from './delivery.js';

/** ms between two notes of one delivery. */
const PAUSE_MS = 100;

interface Gathered {
  progress: Progress | null;
  log: string[];
  timer: ReturnType<typeof setTimeout> | null;
}

export class NoteSender {
  readonly #channel: Channel;
  readonly #gathered = new Map<ActiveDelivery, Gathered>();

  constructor(channel: Channel) {
    this.#channel = channel;
  }

  add(delivery: ActiveDelivery, { progress, log }: Note): void {
    const gathered = this.#gathered.get(delivery) ?? { progress: null, log: [], timer: null };
    this.#gathered.set(delivery, gathered);
    gathered.progress = progress ?? gathered.progress;
    gathered.log = [...gathered.log, ...log].slice(-LIMITS.logLinesMax);
    if (gathered.timer === null) this.#send(delivery, gathered);
  }

  /** The delivery is answered for next. */
  settled(delivery: ActiveDelivery): void {
    const gathered = this.#gathered.size === 0 ? undefined : this.#gathered.get(delivery);
    if (gathered === undefined) return;
    if (this.#channel.isOpen) this.#tell(delivery, gathered);
    this.lost(delivery);
  }

  /** Nobody wants to hear of the delivery any more. */
  lost(delivery: ActiveDelivery): void {
    const gathered = this.#gathered.size === 0 ? undefined : this.#gathered.get(delivery);
    if (gathered === undefined) return;
    this.#gathered.delete(delivery);
    if (gathered.timer !== null) clearTimeout(gathered.timer);
  }

  /** Without a connection, or to one that has no room, later. */
  #send(delivery: ActiveDelivery, gathered: Gathered): void {
    gathered.timer = setTimeout(() => {
      gathered.timer = null;
      if (gathered.progress !== null || gathered.log.length > 0) this.#send(delivery, gathered);
    }, PAUSE_MS);
    if (this.#channel.hasRoom) this.#tell(delivery, gathered);
  }

  #tell(delivery: ActiveDelivery, gathered: Gathered): void {
    const { progress, log } = gathered;
    if (progress === null && log.length === 0) return;
    gathered.progress = null;
    gathered.log = [];
    this.#channel.send(encodeFrame([CLIENT_OPS.NOTE, delivery.tag, progress, log]));
  }
}
