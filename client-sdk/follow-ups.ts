/** Messages that are published with the settlement of a delivery: taken with it, or neither is. */
import { FrameWriter, LIMITS, LovageError, PUBLISH_FLAGS, PublishFrameWriter } from '@lovage/protocol';
import { invalidArgument } from './errors.js';
import { type MessageLimits, messageFields, type PublishMessage } from './message.js';

/** A message for a queue, as of `publish`, without `durability: 'memory'` and `mandatory`. */
export interface FollowUp extends PublishMessage {
  readonly queue: string;
}

/** Bytes that a COMPLETE needs beside the result and what follows. */
const HEAD_BYTES = 1_024;

/**
 * The frame in the frame of a COMPLETE; null if nothing follows. Throws INVALID_ARGUMENT, INVALID_NAME, BODY_TOO_LARGE and HEADERS_TOO_LARGE as `publish` rejects
 * them, and FRAME_TOO_LARGE for what does not fit into one frame with a result of `resultBytes`.
 */
export function followFrame(
  followUps: readonly FollowUp[],
  resultBytes: number,
  limits: MessageLimits,
  autoDeclare: boolean,
): Uint8Array | null {
  if (!Array.isArray(followUps)) throw invalidArgument('publish', followUps, 'an array of messages');
  if (followUps.length === 0) return null;
  const writer = new PublishFrameWriter(new FrameWriter(1_024));
  writer.begin(1, autoDeclare ? PUBLISH_FLAGS.AUTO_DECLARE : 0);
  const bytesMax = limits.bodyBytesMax + LIMITS.frameOverheadBytes - HEAD_BYTES - resultBytes;
  for (const followUp of followUps) {
    const { queue, body, durability = 'disk', mandatory } = followUp;
    if (typeof queue !== 'string') throw invalidArgument('queue', queue, 'the name of a queue');
    if (durability !== 'disk')
      throw invalidArgument('durability', durability, '"disk", because the settlement is on disk');
    if (mandatory !== undefined) throw invalidArgument('mandatory', mandatory, 'nothing: what follows goes to queues');
    writer.add(messageFields(queue, body, followUp, limits));
    if (writer.bytes > bytesMax) throw tooLarge(followUps.length, bytesMax);
  }
  return writer.finish(0);
}

function tooLarge(count: number, bytesMax: number): LovageError {
  const message = `Cannot publish ${count} messages with one settlement: expected at most ${bytesMax} bytes of them`;
  return new LovageError('FRAME_TOO_LARGE', message, { details: { bytesMax } });
}
