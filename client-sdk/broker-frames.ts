// hot path
/** What each frame of the broker does: one row an op. */
import {
  DURABILITY,
  type Durability,
  decodeFrame,
  FrameReader,
  LovageError,
  type Note,
  readDeliver,
  readResults,
  SERVER_OPS,
  type ServerOp,
  type WireDelivery,
} from '@lovage/protocol';
import type { ActiveConsumer } from './consumer.js';
import { errorFromBroker } from './errors.js';
import type { Publisher } from './publisher.js';
import type { Requests } from './requests.js';
import type { Results } from './results.js';
import type { Settlements } from './settlements.js';
import type { Blocked } from './status-feed.js';
import { TagSet } from './tag-set.js';
import type { Workers } from './workers.js';

/** Who is told. */
export interface FrameTargets {
  /** FLOW: what the broker is short of, null if of nothing any more. */
  flowChanged(blocked: Blocked | null): void;
  readonly publisher: Publisher;
  readonly settlements: Settlements;
  readonly requests: Requests;
  readonly results: Results;
  readonly workers: Workers;
  readonly consumers: ReadonlyMap<number, ActiveConsumer>;
  /** Highest tag seen in this session. */
  lastTag: number;
}

type FrameHandler = (targets: FrameTargets, fields: readonly unknown[]) => void;

const reader = new FrameReader();

const HANDLERS: Readonly<Record<Exclude<ServerOp, 'WELCOME' | 'DELIVER' | 'RESULT'>, FrameHandler>> = {
  // It is a sign of life, which the connection has noted.
  HEARTBEAT: () => undefined,
  CONFIRM: ({ publisher }, [, firstSeq, count, firstId, index]) =>
    publisher.confirmed(whole(firstSeq), whole(count), whole(firstId), false, durability(index)),
  DUPLICATE: ({ publisher }, [, seq, id, index]) =>
    publisher.confirmed(whole(seq), 1, whole(id), true, durability(index)),
  REJECT: ({ publisher }, [, firstSeq, count, code, message, details]) =>
    publisher.rejected(whole(firstSeq), whole(count), errorFromBroker(code, message, details)),
  SETTLED: ({ settlements }, [, settleSeq]) => settlements.settled(whole(settleSeq)),
  REFUSED: refused,
  RECALL: ({ consumers }, [, pairs]) => {
    const tags = tagSet(pairs);
    for (const consumer of consumers.values()) consumer.recall(tags);
  },
  NOTED: ({ results }, [, id, progress, log]) => results.noted(whole(id), noteOf(progress, log)),
  REVOKED: ({ consumers }, [, pairs, terminate]) => {
    const tags = tagSet(pairs);
    const error = new LovageError('REVOKED', undefined, { details: { terminate: terminate === true } });
    for (const consumer of consumers.values()) consumer.revoked(tags, error);
  },
  CONTROL: ({ workers }, [, control, number, action, options]) =>
    void workers.controlled(whole(control), whole(number), String(action), options),
  REPLY: ({ requests }, [, request, result]) => requests.replied(whole(request), result),
  ERROR: failed,
  FLOW: (targets, [, isBlocked, reason, retryAfterMs]) =>
    targets.flowChanged(isBlocked === true ? { reason: String(reason), retryAfterMs: whole(retryAfterMs) } : null),
  CONSUMER_CANCELLED: ({ consumers }, [, consumerId, code]) =>
    consumers.get(whole(consumerId))?.end(errorFromBroker(code, null, null)),
  CONSUMER_QUEUE_GONE: ({ consumers }, [, consumerId, queue, code]) =>
    consumers.get(whole(consumerId))?.queueGone(errorFromBroker(code, null, { queue: String(queue) })),
};

const BY_NUMBER: ReadonlyMap<number, FrameHandler> = new Map(
  Object.entries(HANDLERS).map(([op, handler]) => [SERVER_OPS[op as ServerOp], handler]),
);

/** Carries out one frame of a welcomed connection; an op of a newer broker is passed over. Throws for a frame that cannot be understood. */
export function handleBrokerFrame(targets: FrameTargets, op: number, frame: Uint8Array): void {
  if (op === SERVER_OPS.DELIVER) deliver(targets, frame);
  else if (op === SERVER_OPS.RESULT) readResults(reader.open(frame), (result) => targets.results.received(result));
  else BY_NUMBER.get(op)?.(targets, decodeFrame(frame));
}

function deliver(targets: FrameTargets, frame: Uint8Array): void {
  let consumer: ActiveConsumer | undefined;
  let consumerOf = -1;
  readDeliver(reader.open(frame), (consumerId: number, delivery: WireDelivery) => {
    if (consumerId !== consumerOf) {
      consumer = targets.consumers.get(consumerId);
      consumerOf = consumerId;
    }
    if (delivery.tag > targets.lastTag) targets.lastTag = delivery.tag;
    consumer?.deliver(delivery);
  });
}

function refused({ settlements, consumers }: FrameTargets, [, settleSeq, pairs, code]: readonly unknown[]): void {
  const error = errorFromBroker(code, null, null);
  const started = settlements.refused(whole(settleSeq), tagSet(pairs), error);
  if (started !== null) for (const consumer of consumers.values()) consumer.refused(started, error);
}

/** A request that failed, or a consumer that the broker does not know although it should. */
function failed({ requests, consumers }: FrameTargets, [, request, code, message, details]: readonly unknown[]): void {
  const error = errorFromBroker(code, message, details);
  if (request !== null) requests.failed(whole(request), error);
  else if (error.code === 'CONSUMER_NOT_FOUND') consumers.get(Number(error.details?.consumerId))?.resubscribe();
}

function whole(value: unknown): number {
  if (Number.isSafeInteger(value)) return value as number;
  throw new LovageError('BAD_FRAME', 'Cannot read the frame: expected a whole number');
}

function noteOf(progress: unknown, log: unknown): Note {
  const [contentType, body] = Array.isArray(progress) ? progress : [];
  const isProgress = body instanceof Uint8Array;
  return {
    progress: isProgress ? [typeof contentType === 'string' ? contentType : null, body] : null,
    log: Array.isArray(log) ? log.map(String) : [],
  };
}

function durability(index: unknown): Durability {
  const name = DURABILITY[whole(index)];
  if (name === undefined) throw new LovageError('BAD_FRAME', 'Cannot read the frame: expected a durability');
  return name;
}

function tagSet(pairs: unknown): TagSet {
  if (Array.isArray(pairs)) return new TagSet(pairs.map(whole));
  throw new LovageError('BAD_FRAME', 'Cannot read the frame: expected ranges of tags');
}
