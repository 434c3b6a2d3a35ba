/**
 * One place of a pool of children, with the child in it and the task that it runs.
 *
 *     starting ──ready──► idle ──run──► busy ──done──► idle ──stop──► stopping ──► ended
 *         └─────────────────────────── the child dies ──────────────────────────────┘
 */
import { type ErrorCode, LovageError } from '@lovage/protocol';
import type { ActiveDelivery, Delivery } from '../delivery.js';
import type { FollowUp } from '../follow-ups.js';
import { type ChildHost, type ChildKind, startChild } from './child-host.js';
import {
  type Answer,
  type ChildAsk,
  type ChildNotes,
  type ChildStart,
  type DoneRow,
  type FromChild,
  runRow,
} from './child-messages.js';
import { giveBack, giveUp, say } from './outcome.js';
import type { TaskFacts } from './task-facts.js';

/** A task in a child's hands, or waiting for one. */
export interface Job {
  readonly delivery: Delivery;
  readonly facts: TaskFacts;
  /** Another one than that of the task; undefined for that. */
  readonly softTimeLimitMs: number | null | undefined;
  /** What came of it is said. */
  readonly resolve: () => void;
}

export interface SlotEvents {
  ready(slot: ChildSlot, tasks: readonly TaskFacts[]): void;
  /** Its child cannot load the tasks. It ends next. */
  failed(slot: ChildSlot, text: string): void;
  /** It has done its task. */
  idle(slot: ChildSlot): void;
  /** Its child is gone; `job` is what it died of or with, null if it ran none. `wasWanted`: it was told to end, or killed. */
  ended(slot: ChildSlot, job: Job | null, how: string, wasWanted: boolean): void;
}

export class ChildSlot {
  readonly #events: SlotEvents;
  readonly #host: ChildHost;
  readonly startedMs = performance.now();
  state: 'starting' | 'idle' | 'busy' | 'stopping' | 'ended' = 'starting';
  /** Its child was ready once. */
  wasReady = false;
  /** Another one takes its place. */
  isRetiring = false;
  /** Tasks that it was given. */
  tasks = 0;
  /** Of its child, after the last task; 0 while it is not known. */
  memoryBytes = 0;
  #job: Job | null = null;
  #call = 0;
  #timer: NodeJS.Timeout | null = null;

  constructor(kind: ChildKind, start: ChildStart, events: SlotEvents) {
    this.#events = events;
    this.#host = startChild(kind, {
      message: (message) => this.#receive(message),
      ended: (how) => this.#ended(how),
    });
    this.#host.send(start);
  }

  get pid(): number {
    return this.#host.pid;
  }

  get job(): Job | null {
    return this.#job;
  }

  run(job: Job): void {
    const { delivery, facts, softTimeLimitMs } = job;
    this.state = 'busy';
    this.#job = job;
    this.tasks++;
    const call = ++this.#call;
    const { timeLimitMs } = facts;
    if (timeLimitMs !== null) this.#timer = setTimeout(() => this.#timeOut(timeLimitMs), timeLimitMs);
    this.#host.send(runRow(call, facts.name, delivery, softTimeLimitMs));
    this.#listen(delivery as ActiveDelivery);
  }

  /** The task is told to give up. */
  abort({ code, message, details }: LovageError): void {
    if (this.state === 'busy')
      this.#host.send({ type: 'abort', call: this.#call, code, message, details: { ...details } });
  }

  /** The child ends when it has nothing left to send. */
  stop(): void {
    this.state = 'stopping';
    this.#host.send({ type: 'stop' });
  }

  /** What it runs goes back to its queue. */
  kill(): void {
    this.state = 'stopping';
    const job = this.#takeJob();
    if (job !== null) giveBack(job.delivery, job.facts);
    this.#host.kill();
    job?.resolve();
  }

  #receive(message: FromChild): void {
    if (this.state === 'ended') return;
    if ('length' in message) return this.#done(message);
    switch (message.type) {
      case 'ready':
        if (this.state !== 'starting') return;
        this.state = 'idle';
        this.wasReady = true;
        return this.#events.ready(this, message.tasks);
      case 'failed':
        return this.#events.failed(this, message.text);
      case 'ask':
        if (message.call === this.#call && this.#job !== null) void this.#ask(this.#job, message);
        return;
      case 'notes':
        if (message.call === this.#call && this.#job !== null) note(this.#job.delivery, message);
        return;
    }
  }

  /** Passes on what is published with a settlement, and the broker's answer. When the child is gone by then, a delivery that was refused is nobody's. */
  async #ask(job: Job, { call, answer: asked, publish }: ChildAsk): Promise<void> {
    const { code, message, details } = await answer(job.delivery, asked, publish).then(
      () => ({ code: null, message: '', details: {} }),
      (error: LovageError) => error,
    );
    if (this.#job === job) this.#host.send({ type: 'answered', call, code, message, details: { ...details } });
    else if (code !== null) giveBack(job.delivery, job.facts);
  }

  #done([call, memoryBytes, last]: DoneRow): void {
    this.memoryBytes = memoryBytes;
    if (call !== this.#call) return;
    const job = this.#takeJob();
    if (job === null) return;
    if (last !== null) say(answer(job.delivery, last));
    this.state = 'idle';
    this.#events.idle(this);
    job.resolve();
  }

  #timeOut(limitMs: number): void {
    const job = this.#takeJob();
    if (job === null) return;
    const message = `Task "${job.facts.name}" was killed after ${limitMs} ms, expected less (timeLimitMs)`;
    this.#endJob(job, 'TIME_LIMIT_EXCEEDED', new LovageError('TIME_LIMIT_EXCEEDED', message, { details: { limitMs } }));
  }

  /** The task has failed for good, and only the child's end stops it. */
  #endJob(job: Job, code: ErrorCode, error: LovageError): void {
    giveUp(job.delivery, job.facts, code, error);
    this.state = 'stopping';
    this.#host.kill();
    job.resolve();
  }

  /** The broker has taken the task back, for good or for somebody else, or the connection is lost. */
  #listen(delivery: ActiveDelivery): void {
    delivery.onAbort = (error) => {
      if (error.code === 'REVOKED' && error.details?.terminate === true) this.#terminate();
      else this.abort(error);
    };
    if (delivery.lossError !== null) delivery.onAbort(delivery.lossError);
  }

  /** Nobody waits for what it does any more. */
  #terminate(): void {
    const job = this.#takeJob();
    this.state = 'stopping';
    this.#host.kill();
    job?.resolve();
  }

  #takeJob(): Job | null {
    const job = this.#job;
    this.#job = null;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    if (job !== null) (job.delivery as ActiveDelivery).onAbort = null;
    return job;
  }

  #ended(how: string): void {
    const wasWanted = this.state === 'stopping';
    this.state = 'ended';
    this.#events.ended(this, this.#takeJob(), how, wasWanted);
  }
}

function answer(
  delivery: Delivery,
  [verb, a, b, c]: Answer,
  publish: readonly FollowUp[] | undefined = undefined,
): Promise<void> {
  if (verb === 'ack') return delivery.ack({ publish });
  if (verb === 'complete') return delivery.complete(a, { contentType: b, ttlMs: c, publish });
  return delivery.nack({ requeue: a, delayMs: b, reason: c });
}

function note(delivery: Delivery, { progress, log }: ChildNotes): void {
  if (progress !== null) delivery.progress(progress[0], { contentType: progress[1] });
  for (const line of log) delivery.log(line);
}
