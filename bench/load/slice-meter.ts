/** A look at a load process and at the broker. */
export interface Look {
  /** Messages done since the beginning. */
  readonly count: number;
  /** Since the beginning, by the clock of the load process. */
  readonly seconds: number;
  /** CPU seconds of the broker since it was started; null where the system does not tell. */
  readonly brokerCpuSeconds: number | null;
}

/** What happened between two looks. */
export interface Slice {
  /** Messages done before it, and in it. */
  readonly from: number;
  readonly messages: number;
  readonly perSecond: number;
  /** CPU time of the broker for each message, in microseconds; null where the system does not tell. */
  readonly brokerMicros: number | null;
}

/** Cuts a run into slices of at least `step` messages, at the looks that come by. */
export class SliceMeter {
  readonly slices: Slice[] = [];
  readonly #step: number;
  #last: Look;

  constructor(step: number, first: Look) {
    this.#step = step;
    this.#last = first;
  }

  add(look: Look): void {
    if (look.count - this.#last.count >= this.#step) this.#cut(look);
  }

  /** The end: what is left becomes the last slice. */
  end(look: Look): void {
    if (look.count > this.#last.count) this.#cut(look);
  }

  #cut(look: Look): void {
    const last = this.#last;
    const messages = look.count - last.count;
    const isKnown = look.brokerCpuSeconds !== null && last.brokerCpuSeconds !== null;
    this.slices.push({
      from: last.count,
      messages,
      perSecond: messages / (look.seconds - last.seconds),
      brokerMicros: isKnown ? ((look.brokerCpuSeconds - last.brokerCpuSeconds) * 1e6) / messages : null,
    });
    this.#last = look;
  }
}
