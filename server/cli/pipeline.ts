/**
 * Publishes many bodies with many on their way at a time, and hands the receipts over in order.
 *
 *     bodies ──► batch ──► publishMany ──► [in flight: at most 16 batches, 8 MiB] ──► receipts, oldest batch first
 *
 * What is in flight is bounded by count and by bytes; while it is full no more bodies are read, so a file of any size takes the same memory.
 */
import type { Receipt } from '@lovage/client';
import { LovageError } from '@lovage/protocol';
import type { Body } from './bodies.js';

const BATCH_MESSAGES_MAX = 512;
const BATCH_BYTES_MAX = 1_048_576;
const IN_FLIGHT_BATCHES_MAX = 16;
const IN_FLIGHT_BYTES_MAX = 8_388_608;

interface Batch {
  /** How many bodies came before it. */
  readonly first: number;
  readonly count: number;
  readonly bytes: number;
  readonly receipts: Promise<readonly Receipt[]>;
}

/** What a failed batch tells, as `publishMany` puts it. */
interface BatchFailure {
  readonly index?: unknown;
  readonly failed?: unknown;
}

/**
 * Sends every body through `send` and calls `receive` with each batch's receipts. On the first failure nothing more is sent, what is on its way is waited
 * for, and the failure is thrown with the number of the body that failed (from 1) and how many others were published, in its message and as
 * `details.message` and `details.published`.
 */
export async function publishAll(
  bodies: AsyncIterable<readonly Body[]>,
  send: (bodies: readonly Body[]) => Promise<readonly Receipt[]>,
  receive: (receipts: readonly Receipt[]) => Promise<void>,
): Promise<void> {
  const inFlight: Batch[] = [];
  let bytesInFlight = 0;
  let sent = 0;
  let published = 0;
  let failedBatch: Batch | null = null;
  const takeOldest = async (): Promise<void> => {
    const batch = inFlight[0];
    if (batch === undefined) return;
    failedBatch = batch;
    const receipts = await batch.receipts;
    failedBatch = null;
    inFlight.shift();
    bytesInFlight -= batch.bytes;
    published += receipts.length;
    await receive(receipts);
  };
  try {
    for await (const { batch, bytes } of batchesOf(bodies)) {
      while (
        inFlight.length >= IN_FLIGHT_BATCHES_MAX ||
        (inFlight.length > 0 && bytesInFlight + bytes > IN_FLIGHT_BYTES_MAX)
      ) {
        await takeOldest();
      }
      const receipts = send(batch);
      // It is awaited in its turn; a rejection before that is not unhandled.
      receipts.catch(() => undefined);
      inFlight.push({ first: sent, count: batch.length, bytes, receipts });
      sent += batch.length;
      bytesInFlight += bytes;
    }
    while (inFlight.length > 0) await takeOldest();
  } catch (error) {
    for (const batch of inFlight) published += await lateReceipts(batch, receive);
    throw withPlace(error, failedBatch, published);
  }
}

async function* batchesOf(
  bodies: AsyncIterable<readonly Body[]>,
): AsyncGenerator<{ readonly batch: Body[]; readonly bytes: number }> {
  for await (const chunk of bodies) {
    let batch: Body[] = [];
    let bytes = 0;
    for (const body of chunk) {
      batch.push(body);
      bytes += body.length;
      if (batch.length < BATCH_MESSAGES_MAX && bytes < BATCH_BYTES_MAX) continue;
      yield { batch, bytes };
      batch = [];
      bytes = 0;
    }
    if (batch.length > 0) yield { batch, bytes };
  }
}

/** Receipts that come in after a failure still count; of a batch that failed, those that were taken all the same do. */
async function lateReceipts(
  { receipts, count }: Batch,
  receive: (receipts: readonly Receipt[]) => Promise<void>,
): Promise<number> {
  try {
    const taken = await receipts;
    await receive(taken).catch(() => undefined);
    return taken.length;
  } catch (error) {
    const { failed } = failureOf(error);
    return typeof failed === 'number' ? count - failed : 0;
  }
}

/** The same failure, telling where it struck and how many messages were published. */
function withPlace(error: unknown, batch: Batch | null, published: number): unknown {
  if (!(error instanceof LovageError)) return error;
  const { index } = failureOf(error);
  const message = batch !== null && typeof index === 'number' ? batch.first + index + 1 : 1;
  // The batch's own message counts within the batch.
  const cause = error.cause instanceof LovageError && typeof index === 'number' ? error.cause : error;
  if (message === 1 && published === 0) return cause;
  const text = `${cause.message} (message ${message}; ${published} others were published)`;
  return new LovageError(cause.code, text, { cause, details: { ...cause.details, message, published } });
}

function failureOf(error: unknown): BatchFailure {
  return (error instanceof LovageError && error.details) || {};
}
