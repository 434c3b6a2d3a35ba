/**
 * Counts the WebSocket frames of this process by their op: what the SDK's own connections send and receive, looked at from below.
 * A frame is `[op, ...]`: the array's header is its first byte, the op its second.
 */
import { WebSocket } from 'ws';

export interface FrameTotal {
  frames: number;
  bytes: number;
}

/** By op. */
export type FrameTotals = Record<string, FrameTotal>;

export interface FrameCounts {
  readonly sent: FrameTotals;
  readonly received: FrameTotals;
}

const OP_AT = 1;

/** Begins to count. To be called before the first connection. */
export function countFrames(): FrameCounts {
  const counts: FrameCounts = { sent: {}, received: {} };
  const prototype = WebSocket.prototype as unknown as Record<'send' | 'emit', (...words: unknown[]) => unknown>;
  const { send, emit } = prototype;
  prototype.send = function (this: WebSocket, ...words) {
    add(counts.sent, words[0] as Uint8Array);
    return send.apply(this, words);
  };
  prototype.emit = function (this: WebSocket, ...words) {
    if (words[0] === 'message') add(counts.received, words[1] as Uint8Array);
    return emit.apply(this, words);
  };
  return counts;
}

/** What was counted between two looks. */
export function framesBetween(before: FrameTotals, after: FrameTotals): FrameTotals {
  return Object.fromEntries(
    Object.entries(after).map(([op, { frames, bytes }]) => {
      const earlier = before[op] ?? { frames: 0, bytes: 0 };
      return [op, { frames: frames - earlier.frames, bytes: bytes - earlier.bytes }];
    }),
  );
}

/** Several processes together. */
export function sumFrames(all: readonly FrameTotals[]): FrameTotals {
  const sum: FrameTotals = {};
  for (const totals of all) {
    for (const [op, { frames, bytes }] of Object.entries(totals)) {
      const sofar = sum[op] ?? { frames: 0, bytes: 0 };
      sum[op] = { frames: sofar.frames + frames, bytes: sofar.bytes + bytes };
    }
  }
  return sum;
}

function add(totals: FrameTotals, frame: Uint8Array): void {
  const op = String(frame[OP_AT]);
  totals[op] ??= { frames: 0, bytes: 0 };
  const total = totals[op];
  total.frames++;
  total.bytes += frame.length;
}
