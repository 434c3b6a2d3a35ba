/** The waiting messages of a queue: out with the most urgent, in with another, while so many wait. */
import { MessageTable } from '@lovage/server/internal/engine/message-table';
import { ReadyIndex } from '@lovage/server/internal/engine/ready-index';
import { STANDARD } from '../load/standard.js';
import { whole } from '../report/format.js';
import { randomFrom } from '../run/random.js';
import type { Micro } from './micro.js';

const WAITING = [1, 1_000_000] as const;
const STEPS = 10_000;
/** Of a message in the journal; nothing is read there. */
const LENGTH = 300;

export function readyIndexMicros(seed: number): readonly Micro[] {
  return WAITING.flatMap((waiting) => {
    const queue = new WaitingQueue(waiting, seed);
    const steps = { unit: 'message', unitsPerRun: STEPS, unitBytes: 0, open: () => queue.fill() } as const;
    return [
      { ...steps, name: `ready index, out and a new one in, ${whole(waiting)} waiting`, run: () => queue.replace() },
      {
        ...steps,
        name: `ready index, out and back in its place, ${whole(waiting)} waiting`,
        run: () => queue.giveBack(),
      },
    ];
  });
}

class WaitingQueue {
  readonly #waiting: number;
  readonly #random: () => number;
  #table = new MessageTable(1);
  #ready = new ReadyIndex(this.#table);
  #nextId = 1;

  constructor(waiting: number, seed: number) {
    this.#waiting = waiting;
    this.#random = randomFrom(seed);
  }

  fill(): void {
    this.#table = new MessageTable(this.#waiting + 1);
    this.#ready = new ReadyIndex(this.#table);
    for (let i = 0; i < this.#waiting; i++) this.#add();
  }

  replace(): void {
    for (let i = 0; i < STEPS; i++) {
      const slot = this.#ready.peek();
      this.#ready.remove(slot);
      this.#table.free(slot);
      this.#add();
    }
  }

  giveBack(): void {
    for (let i = 0; i < STEPS; i++) {
      const slot = this.#ready.peek();
      this.#ready.remove(slot);
      this.#ready.add(slot);
    }
  }

  #add(): void {
    const priority = Math.floor(this.#random() * STANDARD.priorities);
    this.#ready.add(this.#table.add(this.#nextId++, 1, 0, LENGTH, 0, priority, 0));
  }
}
