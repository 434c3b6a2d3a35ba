// hot path
/** What of a publish the client may not make: asked once for each target of a frame, never for a message, and for nothing when the token may use every name. */
import { type LovageError, PUBLISH_FLAGS, type PublishBatch } from '@lovage/protocol';
import type { RefusedPublish } from '../engine/command.js';
import type { Session } from './session.js';

/** Null: all of it may be published. */
export function refusedPublish(session: Session, batch: PublishBatch): RefusedPublish | null {
  const { identity } = session;
  const { rate } = identity;
  if (rate !== null && !rate.take(batch.count, session.heardAtMs)) {
    const message = `Cannot publish: token "${identity.name}" may publish ${rate.perSecond} messages a second (publishRateMax), expected a pause of ${rate.waitMs()} ms`;
    const details = { quota: 'publishRateMax', limit: rate.perSecond, retryAfterMs: rate.waitMs() };
    return { code: 'QUOTA_EXCEEDED', message, details, targets: null };
  }
  return identity.isUnlimited ? null : refusedTargets(session, batch);
}

function refusedTargets(session: Session, batch: PublishBatch): RefusedPublish | null {
  const { identity } = session;
  const declares = (batch.flags & PUBLISH_FLAGS.AUTO_DECLARE) !== 0;
  let refused: Set<number> | null = null;
  let error: LovageError | null = null;
  for (const [t, target] of batch.targets.entries()) {
    // Who publishes to an exchange needs the right to that; the default exchange leads to the queue itself.
    const exchange = batch.exchanges[t] ?? null;
    const isQueue = exchange === null || exchange === '';
    const name = isQueue ? target : exchange;
    const right = !identity.may('write', name)
      ? 'write'
      : declares && isQueue && !session.hasQueue(name) && !identity.may('configure', name)
        ? 'configure'
        : null;
    if (right === null) continue;
    error ??= identity.forbidden(right, name, 'PUBLISH');
    refused ??= new Set();
    refused.add(t);
  }
  if (refused === null) return null;
  const { message, details = {} } = error!;
  return { code: 'FORBIDDEN', message, details, targets: refused };
}
