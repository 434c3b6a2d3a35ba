/** The WebSocket door: turns upgrades on the HTTP server into sessions, and keeps count of them. */
import { type IncomingMessage, type Server, STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { LIMITS, SUBPROTOCOL } from '@lovage/protocol';
import { type WebSocket, WebSocketServer } from 'ws';
import { Session, type SessionContext } from '../session/session.js';
import { isHostAllowed } from '../settings/index.js';
import { Connection } from './connection.js';
import { LookTimes } from './look-times.js';
import { SocketWire } from './socket-wire.js';

export interface GatewayOptions {
  readonly server: Server;
  readonly context: SessionContext;
  readonly connectionsMax: number;
  /** Names that the Host header may bear; null for any. */
  readonly allowedHosts: readonly string[] | null;
  /** Monotonic ms. */
  readonly nowMs: () => number;
}

/** ms between two looks at the connections that have unsent bytes or are being closed. */
const BUSY_MS = 1_000;
/** ms that clients have to answer the close frame when the broker stops. */
const CLOSE_MS = 2_000;

export class Gateway {
  readonly #options: GatewayOptions;
  readonly #webSockets: WebSocketServer;
  readonly #connections = new Map<SocketWire, Connection>();
  /** Those that may have unsent bytes, and those that are being closed: an idle connection is looked at once a heartbeat. */
  readonly #busy = new Set<SocketWire>();
  readonly #lookTimes: LookTimes;
  #isOpen = false;
  #busyTimer: NodeJS.Timeout | null = null;

  constructor(options: GatewayOptions) {
    this.#options = options;
    this.#lookTimes = new LookTimes(options.nowMs);
    this.#webSockets = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      skipUTF8Validation: true,
      maxPayload: options.context.settings.bodyBytesMax + LIMITS.frameOverheadBytes,
      handleProtocols: (protocols) => (protocols.has(SUBPROTOCOL) ? SUBPROTOCOL : false),
    });
    options.server.on('upgrade', (request, socket, head) => this.#upgrade(request, socket, head));
  }

  /** Sockets that are connected, welcomed or not. */
  get connections(): number {
    return this.#connections.size;
  }

  /** Sessions that have been welcomed. */
  get sessions(): number {
    let open = 0;
    for (const { session } of this.#connections.values()) if (session.isOpen) open++;
    return open;
  }

  /** Bytes that wait in the sockets of all connections. */
  get unsentBytes(): number {
    let bytes = 0;
    for (const wire of this.#busy) {
      if (wire.isIdle) this.#busy.delete(wire);
      bytes += wire.bufferedBytes;
    }
    return bytes;
  }

  /** From now on clients are let in. */
  open(): void {
    this.#isOpen = true;
    this.#busyTimer = setInterval(() => this.#lookAtBusy(), BUSY_MS);
  }

  /** Lets nobody in any more. */
  refuse(): void {
    this.#isOpen = false;
  }

  /** Tells every client that the broker stops, and waits until they are gone. */
  async close(): Promise<void> {
    this.refuse();
    if (this.#busyTimer !== null) clearInterval(this.#busyTimer);
    const connections = [...this.#connections.values()];
    const gone = connections.map(({ webSocket }) => new Promise((resolve) => webSocket.once('close', resolve)));
    for (const { session } of connections) session.fail('SHUTTING_DOWN');
    const patience = setTimeout(() => {
      for (const wire of this.#connections.keys()) wire.terminate();
    }, CLOSE_MS);
    await Promise.all(gone);
    clearTimeout(patience);
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    // An HTTP socket that breaks during its upgrade has no other listener.
    socket.on('error', () => socket.destroy());
    const status = this.#refusal(request);
    if (status !== null) {
      socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
      return;
    }
    this.#webSockets.handleUpgrade(request, socket, head, (webSocket) => this.#connect(webSocket, socket as Socket));
  }

  /** HTTP status for an upgrade that is not let in, null for one that is. */
  #refusal(request: IncomingMessage): number | null {
    if (!this.#isOpen) return 503;
    if (!isHostAllowed(request.headers.host, this.#options.allowedHosts)) return 403;
    if (!isSameOrigin(request)) return 403;
    return request.url === '/' || request.url === '' ? null : 404;
  }

  #connect(webSocket: WebSocket, socket: Socket): void {
    const { context, nowMs, connectionsMax } = this.#options;
    const wire = new SocketWire(webSocket, socket, this.#busy);
    const session = new Session(context, wire, nowMs(), socket.remoteAddress);
    webSocket.on('error', () => webSocket.terminate());
    if (this.#connections.size >= connectionsMax) return session.fail('TOO_MANY_CONNECTIONS');
    const connection = new Connection(webSocket, session, this.#lookTimes, nowMs);
    this.#connections.set(wire, connection);
    webSocket.on('close', () => {
      this.#connections.delete(wire);
      this.#busy.delete(wire);
      connection.closed();
    });
  }

  #lookAtBusy(): void {
    for (const wire of this.#busy) {
      const connection = this.#connections.get(wire);
      // Of one connection too many nothing is kept.
      if (connection === undefined) this.#busy.delete(wire);
      else connection.look();
    }
  }
}

/** A browser says where a page comes from; pages of other sites are not let in. Programs that are no browsers send no Origin. */
function isSameOrigin({ headers: { origin, host } }: IncomingMessage): boolean {
  if (origin === undefined) return true;
  return URL.canParse(origin) && new URL(origin).host === host;
}
