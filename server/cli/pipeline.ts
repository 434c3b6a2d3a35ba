/**
 * Publishes many bodies with many on their way at a time, and hands the receipts over in order.
 *
 *     bodies ──► batch ──► publishMany ──► [in flight: at most 16 batches, 8 MiB] ──► receipts, oldest batch first
 *
 * What is in flight is bounded by count and by bytes; while it is full no more bodies are read, so a file of any size takes the same memory.
 */
import { LovageError } from '@lovage/protocol';
import type { Body } from './bodies.js';
import type { Receipt } from './client.js';

const BATCH_MESSAGES_MAX = 512;
const BATCH_BYTES_MAX = 1_048_576;
const IN_FLIGHT_BATCHES_MAX = 16;
const IN_FLIGHT_BYTES_MAX = 8_388_608;

interface Batch {
  readonly bytes: number;
  readonly receipts: Promise<readonly Receipt[]>;
}

/**
 * Sends every body through `send` and calls `receive` with each batch's receipts. On the first failure nothing more is sent, what is on its way is waited
 * for, and the failure is thrown with how many were confirmed, in its message and in `details.published`.
 */
export async function publishAll(
  bodies: AsyncIterable<readonly Body[]>,
  send: (bodies: readonly Body[]) => Promise<readonly Receipt[]>,
  receive: (receipts: readonly Receipt[]) => Promise<void>,
): Promise<void> {
  const inFlight: Batch[] = [];
  let bytesInFlight = 0;
  let published = 0;
  const takeOldest = async (): Promise<void> => {
    const batch = inFlight.shift();
    if (batch === undefined) return;
    bytesInFlight -= batch.bytes;
    const receipts = await batch.receipts;
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
      inFlight.push({ bytes, receipts });
      bytesInFlight += bytes;
    }
    while (inFlight.length > 0) await takeOldest();
  } catch (error) {
    for (const { receipts } of inFlight) published += await lateReceipts(receipts, receive);
    throw withCount(error, published);
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

/** Receipts that come in after a failure still count. */
async function lateReceipts(
  batch: Promise<readonly Receipt[]>,
  receive: (receipts: readonly Receipt[]) => Promise<void>,
): Promise<number> {
  const receipts = await batch.catch(() => []);
  await receive(receipts).catch(() => undefined);
  return receipts.length;
}

/** The same failure, telling how far publishing came. */
function withCount(cause: unknown, published: number): unknown {
  if (!(cause instanceof LovageError) || published === 0) return cause;
  const message = `${cause.message} (after ${published} messages were published)`;
  return new LovageError(cause.code, message, { cause, details: { ...cause.details, published } });
}
