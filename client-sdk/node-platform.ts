/** WebSockets by `ws`, for Node. */
import { SUBPROTOCOL } from '@lovage/protocol';
import { WebSocket } from 'ws';
import type { Platform, TlsOptions, Transport, TransportEvents } from './transport.js';

/** What `ws` refuses to read; the broker's own limit lies below. */
const PAYLOAD_BYTES_MAX = 1_073_741_824;
/** Close code of a connection that ended without a close frame (RFC 6455 section 7.4.1). */
const CLOSE_ABNORMAL = 1006;

export const nodePlatform: Platform = {
  open,
  // After the poll phase: everything that this turn has read from sockets is gathered into one flush.
  schedule: (task) => {
    setImmediate(task);
  },
};

function open(url: string, events: TransportEvents, tls: TlsOptions | null): Transport {
  const socket = new WebSocket(url, SUBPROTOCOL, {
    ...certificates(tls),
    perMessageDeflate: false,
    maxPayload: PAYLOAD_BYTES_MAX,
    ...(needsNoMask(url) && { generateMask: zeroMask }),
  });
  let failure = '';
  socket.binaryType = 'nodebuffer';
  socket.on('open', () => events.opened());
  socket.on('message', (data) => events.received(data as Buffer));
  socket.on('error', (error: NodeJS.ErrnoException) => {
    failure = error.message || (error.code ?? error.name);
  });
  socket.on('close', (code, reason) => events.closed(code || CLOSE_ABNORMAL, reason.toString() || failure));
  return {
    get bufferedBytes() {
      return socket.bufferedAmount;
    },
    send: (frame, taken) => socket.send(frame, taken),
    terminate: () => socket.terminate(),
  };
}

function certificates(tls: TlsOptions | null): Record<string, string | Buffer> {
  const given = Object.entries(tls ?? {}).filter((entry): entry is [string, string | Uint8Array] => entry[1] != null);
  return Object.fromEntries(given.map(([name, pem]) => [name, typeof pem === 'string' ? pem : Buffer.from(pem)]));
}

/**
 * The mask keeps bytes of a client's choice from looking like another protocol to a proxy between (RFC 6455 section 10.3). Under TLS and on the
 * loopback interface there is none, and a mask of zeros, which `ws` does not apply, saves a pass over every byte.
 */
function needsNoMask(url: string): boolean {
  const { protocol, hostname } = new URL(url);
  return (
    protocol === 'wss:' || hostname === 'localhost' || hostname === '[::1]' || /^127(\.\d{1,3}){3}$/.test(hostname)
  );
}

function zeroMask(mask: Buffer): void {
  mask.fill(0);
}
