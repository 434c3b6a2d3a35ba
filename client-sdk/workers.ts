/** `client.workers`: which workers are connected to the broker, and telling them what to do. */
import {
  CLIENT_OPS,
  LovageError,
  WORKER_ACTIONS,
  type WorkerAction,
  type WorkerFacts,
  type WorkerList,
} from '@lovage/protocol';
import { invalidArgument, textOf } from './errors.js';
import type { Requests } from './requests.js';

/** What a worker of this client does with what it is told. Throws or rejects with a LovageError what it cannot do. */
export type ControlHandler = (action: WorkerAction, options: Readonly<Record<string, unknown>>) => unknown;

interface Announced {
  readonly facts: () => WorkerFacts;
  readonly handle: ControlHandler;
}

export class Workers {
  readonly #requests: Requests;
  /** Of this client, by their numbers. */
  readonly #own = new Map<number, Announced>();
  #lastNumber = 0;

  constructor(requests: Requests) {
    this.#requests = requests;
  }

  /** Workers of the namespace whose connections stand, and tasks that wait for one that can run them. Rejects REQUEST_TIMEOUT, CLIENT_CLOSED. */
  async list(): Promise<WorkerList> {
    return (await this.#requests.send('list the workers', CLIENT_OPS.WORKER_LIST, [], true)) as WorkerList;
  }

  /**
   * Tells a worker to do something and resolves with its answer; the protocol's README has what each action takes and answers. Rejects WORKER_NOT_FOUND, FORBIDDEN,
   * QUOTA_EXCEEDED, what the worker has refused it with (INVALID_ARGUMENT, INVALID_NAME), REQUEST_TIMEOUT.
   */
  async control(id: string, action: WorkerAction, options: Readonly<Record<string, unknown>> = {}): Promise<unknown> {
    if (typeof id !== 'string') throw invalidArgument('id', id, 'the id of a worker');
    if (!WORKER_ACTIONS.includes(action))
      throw invalidArgument('action', action, `one of ${WORKER_ACTIONS.join(', ')}`);
    const fields = [id, action, options];
    return await this.#requests.send(`tell worker "${id}" to ${action}`, CLIENT_OPS.WORKER_CONTROL, fields, false);
  }

  /** A worker of this client is there: the broker is told now and after each new connection. Returns how to tell of changes, and of its end. */
  announce(facts: () => WorkerFacts, handle: ControlHandler): { changed(): void; withdraw(): void } {
    const number = ++this.#lastNumber;
    const announced = { facts, handle };
    this.#own.set(number, announced);
    const changed = (): void => this.#tell(number, announced);
    changed();
    return {
      changed,
      withdraw: () => {
        if (this.#own.delete(number)) this.#send(CLIENT_OPS.WORKER_ANNOUNCE, [number, null]);
      },
    };
  }

  /** A connection stands: the broker does not know any worker of it yet. */
  welcomed(): void {
    for (const [number, announced] of this.#own) this.#tell(number, announced);
  }

  /** CONTROL. */
  async controlled(control: number, number: number, action: string, options: unknown): Promise<void> {
    const worker = this.#own.get(number);
    try {
      const known = WORKER_ACTIONS.find((candidate) => candidate === action);
      if (worker === undefined) throw new LovageError('WORKER_NOT_FOUND');
      if (known === undefined) throw invalidArgument('action', action, `one of ${WORKER_ACTIONS.join(', ')}`);
      const value = await worker.handle(known, (options ?? {}) as Record<string, unknown>);
      this.#send(CLIENT_OPS.WORKER_ANSWER, [control, value ?? null]);
    } catch (error) {
      const code = error instanceof LovageError ? error.code : 'INTERNAL_ERROR';
      this.#send(CLIENT_OPS.WORKER_ANSWER, [control, null, code, textOf(error)]);
    }
  }

  #tell(number: number, { facts }: Announced): void {
    this.#send(CLIENT_OPS.WORKER_ANNOUNCE, [number, facts()]);
  }

  /** What cannot be told now is told with the next connection, or nobody waits for it any more. */
  #send(op: number, fields: readonly unknown[]): void {
    if (!this.#requests.isOpen) return;
    this.#requests.send('tell of a worker', op, fields, false).catch(() => undefined);
  }
}
