/** What is said to the broker of a task that has failed for good, wherever it ran. */
import { type ErrorCode, LIMITS, LovageError } from '@lovage/protocol';
import type { Delivery } from '../delivery.js';
import { textOf } from '../errors.js';
import { encodeFailure, FAILURE_TYPE } from './failure.js';
import type { TaskFacts } from './task-facts.js';

/** What a task needs of its delivery: of one that is in this thread, or of one that a child answers through its parent. */
export type TaskDelivery = Pick<
  Delivery,
  | 'id'
  | 'queue'
  | 'priority'
  | 'attempt'
  | 'headers'
  | 'contentType'
  | 'body'
  | 'signal'
  | 'progress'
  | 'log'
  | 'ack'
  | 'nack'
  | 'complete'
>;

type GivenUpFacts = Pick<TaskFacts, 'result' | 'resultTtlMs' | 'ackOnFailure' | 'ackOnTimeout'>;

/** Keeps the error, as the result or by the queue that takes what is given up, or forgets the task: as it was declared. */
export function giveUp(delivery: TaskDelivery, facts: GivenUpFacts, code: ErrorCode, error: unknown): void {
  const isAcked = code === 'TIME_LIMIT_EXCEEDED' ? facts.ackOnTimeout : facts.ackOnFailure;
  if (!isAcked) return say(delivery.nack({ requeue: false, reason: reasonOf(error) }));
  if (facts.result === 'none') return say(delivery.ack());
  keepFailure(delivery, facts, code, error);
}

/** Nobody hears of the attempt: another one is made at once. A task of ack mode early, which is begun once at most, has failed instead. */
export function giveBack(delivery: TaskDelivery, facts: GivenUpFacts & Pick<TaskFacts, 'ack'>): void {
  if (facts.ack === 'early') return giveUp(delivery, facts, 'TASK_CRASHED', endUnknown());
  say(delivery.nack({ delayMs: 0 }));
}

/** What a task of ack mode early has failed with whose worker has gone. */
export function endUnknown(): LovageError {
  const message = 'The worker of the task has gone before it was done, and with ack mode "early" it is not begun again';
  return new LovageError('TASK_CRASHED', message);
}

/** The error is the task's result. */
export function keepFailure(
  delivery: TaskDelivery,
  { resultTtlMs }: Pick<TaskFacts, 'resultTtlMs'>,
  code: ErrorCode,
  error: unknown,
): void {
  const body = encodeFailure(code, error, delivery.attempt);
  say(delivery.complete(body, { contentType: FAILURE_TYPE, ttlMs: resultTtlMs ?? undefined }));
}

export function reasonOf(error: unknown): string {
  return textOf(error).slice(0, LIMITS.reasonLengthMax);
}

/** An answer that is refused belongs to an attempt that the broker has taken back: another one is or was made. */
export function say(answer: Promise<void>): void {
  answer.catch(() => undefined);
}
