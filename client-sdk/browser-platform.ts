/** The WebSocket of browsers. */
import { SUBPROTOCOL } from '@lovage/protocol';
import { textOf } from './errors.js';
import type { Platform, Transport, TransportEvents } from './transport.js';

/** How often is looked whether the socket has taken its bytes, because browsers do not tell. */
const LOOK_MS = 5;
const CLOSE_ABNORMAL = 1006;

export const browserPlatform: Platform = { open, schedule: scheduler() };

function open(url: string, events: TransportEvents): Transport {
  try {
    return transportOf(new WebSocket(url, SUBPROTOCOL), events);
  } catch (error) {
    // A page over https may not open ws:, for example.
    setTimeout(() => events.closed(CLOSE_ABNORMAL, textOf(error)), 0);
    return { bufferedBytes: 0, send: () => undefined, terminate: () => undefined };
  }
}

function transportOf(socket: WebSocket, events: TransportEvents): Transport {
  socket.binaryType = 'arraybuffer';
  socket.onopen = () => events.opened();
  socket.onmessage = ({ data }) => events.received(new Uint8Array(data as ArrayBuffer));
  // Says nothing that `close` does not; but a WebSocket that is no browser's may want it heard.
  socket.onerror = () => undefined;
  socket.onclose = ({ code, reason }) => events.closed(code, reason);
  return {
    get bufferedBytes() {
      return socket.bufferedAmount;
    },
    send: (frame, taken) => {
      socket.send(frame as Uint8Array<ArrayBuffer>);
      if (taken !== undefined) whenTaken(socket, taken);
    },
    // A browser cannot drop a socket; closing it and hearing no more of it comes next.
    terminate: () => {
      if (socket.readyState === WebSocket.CLOSED) return;
      socket.close();
      socket.onmessage = null;
      socket.onclose = null;
      events.closed(CLOSE_ABNORMAL, '');
    },
  };
}

function whenTaken(socket: WebSocket, taken: () => void): void {
  if (socket.bufferedAmount === 0 || socket.readyState !== WebSocket.OPEN) taken();
  else setTimeout(() => whenTaken(socket, taken), LOOK_MS);
}

/** A message to oneself comes after this turn's events, without the 4 ms that browsers add to nested timers. */
function scheduler(): (task: () => void) => void {
  const { port1, port2 } = new MessageChannel();
  const tasks: (() => void)[] = [];
  port1.addEventListener('message', () => tasks.shift()?.());
  port1.start();
  return (task) => {
    tasks.push(task);
    port2.postMessage(null);
  };
}
