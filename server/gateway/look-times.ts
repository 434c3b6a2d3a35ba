/**
 * When connections are looked at. Ten thousand timers would wake the loop five hundred times a second with heartbeats of 20 s, for one connection each; here all that are due
 * within the same GRAIN_MS have one timer.
 */

/** ms by which a look may be late. */
const GRAIN_MS = 50;

/** What is looked at; it has one moment at most. */
export interface Looked {
  look(): void;
}

export class LookTimes {
  readonly #nowMs: () => number;
  /** By number: monotonic ms by GRAIN_MS. */
  readonly #moments = new Map<number, Moment>();

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** Has it looked at once, in `ms` or up to GRAIN_MS later. */
  in(ms: number, looked: Looked): Moment {
    const nowMs = this.#nowMs();
    const number = Math.ceil((nowMs + ms) / GRAIN_MS);
    let moment = this.#moments.get(number);
    if (moment === undefined) {
      moment = new Moment(number * GRAIN_MS - nowMs, () => this.#moments.delete(number));
      this.#moments.set(number, moment);
    }
    moment.add(looked);
    return moment;
  }
}

/** One timer and all that wait for it. */
export class Moment {
  readonly #timer: NodeJS.Timeout;
  readonly #over: () => void;
  readonly #waiting = new Set<Looked>();
  #isOver = false;

  /** `over` is called when nobody waits for it any more. */
  constructor(ms: number, over: () => void) {
    this.#over = over;
    this.#timer = setTimeout(() => this.#come(), Math.ceil(ms));
  }

  add(looked: Looked): void {
    this.#waiting.add(looked);
  }

  /** It is not looked at then. */
  delete(looked: Looked): void {
    this.#waiting.delete(looked);
    if (this.#waiting.size === 0) this.#end();
  }

  #come(): void {
    this.#end();
    for (const looked of this.#waiting) looked.look();
  }

  #end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    clearTimeout(this.#timer);
    this.#over();
  }
}
