/**
 * The workers whose connections stand, and what they were told to do and have not answered. None of it outlives the broker: workers announce themselves again.
 *
 *     WORKER_CONTROL ──► CONTROL to the worker ──► WORKER_ANSWER ──► REPLY or ERROR to whoever asked
 */
import {
  type ErrorCode,
  LIMITS,
  LovageError,
  SERVER_OPS,
  type WorkerAction,
  type WorkerFacts,
  type WorkerInfo,
  type WorkerList,
} from '@lovage/protocol';

interface Entry {
  readonly session: number;
  /** Its number in the session. */
  readonly number: number;
  readonly namespace: string;
  readonly info: WorkerInfo;
}

interface Control {
  readonly asker: number;
  readonly request: number;
  readonly worker: Entry;
}

export class WorkerRegistry {
  readonly #tell: (session: number, fields: readonly unknown[]) => void;
  readonly #entries = new Map<string, Entry>();
  readonly #controls = new Map<number, Control>();
  #lastControl = 0;

  /** `tell` sends a frame to a session. */
  constructor(tell: (session: number, fields: readonly unknown[]) => void) {
    this.#tell = tell;
  }

  /** A worker is there, or says something new of itself. Throws QUOTA_EXCEEDED. */
  announce(
    { session, namespace, clientName }: { session: number; namespace: string; clientName: string | null },
    number: number,
    facts: WorkerFacts,
    nowMs: number,
  ): void {
    const id = `${session}.${number}`;
    const known = this.#entries.get(id);
    if (known === undefined && this.#of(session).length >= LIMITS.sessionWorkersMax) {
      const message = `Cannot announce another worker: the connection has ${LIMITS.sessionWorkersMax}`;
      throw new LovageError('QUOTA_EXCEEDED', message, { details: { quota: 'sessionWorkersMax' } });
    }
    const info = { ...facts, id, clientName, since: known?.info.since ?? nowMs };
    this.#entries.set(id, { session, number, namespace, info });
  }

  /** The worker has stopped. */
  withdraw(session: number, number: number): void {
    const entry = this.#entries.get(`${session}.${number}`);
    if (entry !== undefined) this.#remove(entry);
  }

  /** The connection of a session is gone, with its workers and its questions. */
  left(session: number): void {
    for (const entry of this.#of(session)) this.#remove(entry);
    for (const [id, { asker }] of this.#controls) if (asker === session) this.#controls.delete(id);
  }

  list(namespace: string): WorkerList {
    const infos = [...this.#entries.values()].filter((entry) => entry.namespace === namespace).map(({ info }) => info);
    const runnable = new Set(infos.flatMap(({ queues, tasks }) => tasks.flatMap(([task]) => queues.map(keyOf(task)))));
    const counts = new Map<string, { queue: string; task: string; count: number }>();
    for (const [queue, task, count] of infos.flatMap(({ unknown }) => unknown)) {
      const key = keyOf(task)(queue);
      if (!runnable.has(key)) counts.set(key, { queue, task, count: count + (counts.get(key)?.count ?? 0) });
    }
    return { workers: infos, stranded: [...counts.values()] };
  }

  /** The queues of a worker. Throws WORKER_NOT_FOUND. */
  queuesOf(namespace: string, id: string): readonly string[] {
    return this.#find(namespace, id).info.queues;
  }

  /** Tells a worker to do something; the asker hears of it when the worker has answered or is gone. Throws WORKER_NOT_FOUND, QUOTA_EXCEEDED. */
  control(
    { session: asker, namespace, request }: { session: number; namespace: string; request: number },
    id: string,
    action: WorkerAction,
    options: Readonly<Record<string, unknown>>,
  ): void {
    const worker = this.#find(namespace, id);
    let open = 0;
    for (const control of this.#controls.values()) if (control.asker === asker) open++;
    if (open >= LIMITS.workerControlsMax) {
      const message = `Cannot tell worker "${id}" anything now: ${open} answers are awaited, expected fewer at a time`;
      throw new LovageError('QUOTA_EXCEEDED', message, { details: { quota: 'workerControlsMax' } });
    }
    const control = ++this.#lastControl;
    this.#controls.set(control, { asker, request, worker });
    this.#tell(worker.session, [SERVER_OPS.CONTROL, control, worker.number, action, options]);
  }

  /** A worker has done what it was told, or says why not. What nobody waits for any more is passed over. */
  answered(session: number, id: number, answer: WorkerAnswer): void {
    const control = this.#controls.get(id);
    if (control === undefined || control.worker.session !== session) return;
    this.#controls.delete(id);
    this.#answer(control, answer);
  }

  #answer({ asker, request }: Control, answer: WorkerAnswer): void {
    if (answer.code === null) return this.#tell(asker, [SERVER_OPS.REPLY, request, answer.value]);
    this.#tell(asker, [SERVER_OPS.ERROR, request, answer.code, answer.message, null]);
  }

  #remove(entry: Entry): void {
    this.#entries.delete(entry.info.id);
    const message = `Worker "${entry.info.id}" has left before it answered`;
    for (const [id, control] of this.#controls) {
      if (control.worker.info.id !== entry.info.id) continue;
      this.#controls.delete(id);
      this.#answer(control, { code: 'WORKER_NOT_FOUND', message });
    }
  }

  #find(namespace: string, id: string): Entry {
    const entry = this.#entries.get(id);
    if (entry?.namespace === namespace) return entry;
    const message = `Cannot find worker "${id.slice(0, 40)}": expected one whose connection stands, as WORKER_LIST tells them`;
    throw new LovageError('WORKER_NOT_FOUND', message, { details: { worker: id.slice(0, 40) } });
  }

  #of(session: number): Entry[] {
    return [...this.#entries.values()].filter((entry) => entry.session === session);
  }
}

export type WorkerAnswer =
  | { readonly code: null; readonly value: unknown }
  | { readonly code: ErrorCode; readonly message: string };

function keyOf(task: string): (queue: string) => string {
  return (queue) => `${queue} ${task}`;
}
