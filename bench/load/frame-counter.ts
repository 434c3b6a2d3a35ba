/** Counts the WebSocket frames of this process: what the SDK's own connections send and receive, looked at from below. */
import { WebSocket } from 'ws';

export interface FrameCounts {
  sent: number;
  sentBytes: number;
  received: number;
  receivedBytes: number;
}

/** Begins to count. To be called before the first connection. */
export function countFrames(): FrameCounts {
  const counts: FrameCounts = { sent: 0, sentBytes: 0, received: 0, receivedBytes: 0 };
  const prototype = WebSocket.prototype as unknown as Record<'send' | 'emit', (...words: unknown[]) => unknown>;
  const { send, emit } = prototype;
  prototype.send = function (this: WebSocket, ...words) {
    counts.sent++;
    counts.sentBytes += (words[0] as Uint8Array).length;
    return send.apply(this, words);
  };
  prototype.emit = function (this: WebSocket, ...words) {
    if (words[0] === 'message') {
      counts.received++;
      counts.receivedBytes += (words[1] as Uint8Array).length;
    }
    return emit.apply(this, words);
  };
  return counts;
}
