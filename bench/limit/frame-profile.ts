/** The frames and bytes that messages cost Lovage, as they were counted in a run; the limit is measured with the same. */
import { CLIENT_OPS, SERVER_OPS } from '@lovage/protocol';
import type { FrameTotal, FrameTotals } from '../load/frame-counter.js';
import type { ThroughputResult } from '../load/throughput-run.js';

/** Frames of one kind: how many of them each frame of another kind entails, and their mean size. */
export interface FrameShare {
  readonly perFrame: number;
  readonly bytes: number;
}

export interface FrameProfile {
  readonly publish: { readonly messages: number; readonly bytes: number };
  /** For each PUBLISH. */
  readonly confirm: FrameShare;
  readonly deliver: { readonly messages: number; readonly bytes: number };
  /** For each DELIVER. */
  readonly ack: FrameShare;
  /** For each ACK. */
  readonly settled: FrameShare;
}

/** Mean sizes of a measured window. Throws when frames were not counted, as with an SDK of another checkout. */
export function frameProfile({ groups }: ThroughputResult): FrameProfile {
  const { producers, consumers } = groups;
  const publish = total(producers.frames.sent, [CLIENT_OPS.PUBLISH]);
  const confirm = total(producers.frames.received, [SERVER_OPS.CONFIRM]);
  const deliver = total(consumers.frames.received, [SERVER_OPS.DELIVER]);
  const ack = total(consumers.frames.sent, [CLIENT_OPS.START, CLIENT_OPS.ACK]);
  const settled = total(consumers.frames.received, [SERVER_OPS.SETTLED]);
  return {
    publish: { messages: producers.messages / publish.frames, bytes: meanBytes(publish) },
    confirm: { perFrame: confirm.frames / publish.frames, bytes: meanBytes(confirm) },
    deliver: { messages: consumers.messages / deliver.frames, bytes: meanBytes(deliver) },
    ack: { perFrame: ack.frames / deliver.frames, bytes: meanBytes(ack) },
    settled: { perFrame: settled.frames / ack.frames, bytes: meanBytes(settled) },
  };
}

function total(totals: FrameTotals, ops: readonly number[]): FrameTotal {
  const found = ops.flatMap((op) => totals[String(op)] ?? []);
  if (found.length === 0) throw new Error(`Cannot tell the limit: no frames of op ${ops.join(', ')} were counted`);
  return {
    frames: found.reduce((sum, { frames }) => sum + frames, 0),
    bytes: found.reduce((sum, { bytes }) => sum + bytes, 0),
  };
}

function meanBytes({ frames, bytes }: FrameTotal): number {
  return Math.max(COUNT_BYTES, Math.round(bytes / frames));
}

/** Every frame of the limit begins with the number of messages it stands for. */
export const COUNT_BYTES = 8;
