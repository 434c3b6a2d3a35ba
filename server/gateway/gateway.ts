/** The WebSocket door: turns upgrades on the HTTP server into sessions, and keeps count of them. */
import { type IncomingMessage, type Server, STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { LIMITS, SUBPROTOCOL } from '@lovage/protocol';
import { type WebSocket, WebSocketServer } from 'ws';
import { Session, type SessionContext } from '../session/session.js';
import { isHostAllowed } from '../settings/index.js';
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

/** ms between two looks at the heartbeats: a quarter of the shortest one asked for, within these bounds. */
const SWEEP_MS_MIN = 25;
const SWEEP_MS_MAX = 1_000;
/** ms that clients have to answer the close frame when the broker stops. */
const CLOSE_MS = 2_000;

export class Gateway {
  readonly #options: GatewayOptions;
  readonly #webSockets: WebSocketServer;
  readonly #sessions = new Map<Session, WebSocket>();
  /** Those that may have unsent bytes: an idle connection costs no look. */
  readonly #sending = new Set<SocketWire>();
  #isOpen = false;
  #sweepTimer: NodeJS.Timeout | null = null;
  #sweepMs = SWEEP_MS_MAX;

  constructor(options: GatewayOptions) {
    this.#options = options;
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
    return this.#sessions.size;
  }

  /** Sessions that have been welcomed. */
  get sessions(): number {
    let open = 0;
    for (const session of this.#sessions.keys()) if (session.isOpen) open++;
    return open;
  }

  /** Bytes that wait in the sockets of all connections. */
  get unsentBytes(): number {
    let bytes = 0;
    for (const wire of this.#sending) {
      const { bufferedBytes } = wire;
      if (bufferedBytes === 0) this.#sending.delete(wire);
      bytes += bufferedBytes;
    }
    return bytes;
  }

  /** From now on clients are let in. */
  open(): void {
    this.#isOpen = true;
    this.#armSweep();
  }

  /** Lets nobody in any more. */
  refuse(): void {
    this.#isOpen = false;
  }

  /** Tells every client that the broker stops, and waits until they are gone. */
  async close(): Promise<void> {
    this.refuse();
    if (this.#sweepTimer !== null) clearInterval(this.#sweepTimer);
    const gone = [...this.#sessions.values()].map(
      (webSocket) => new Promise((resolve) => webSocket.once('close', resolve)),
    );
    for (const session of [...this.#sessions.keys()]) session.fail('SHUTTING_DOWN');
    const patience = setTimeout(() => {
      for (const webSocket of this.#sessions.values()) webSocket.terminate();
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
    const wire = new SocketWire(webSocket, socket, this.#sending);
    const session = new Session(context, wire, nowMs(), socket.remoteAddress);
    webSocket.on('error', () => webSocket.terminate());
    if (this.#sessions.size >= connectionsMax) return session.fail('TOO_MANY_CONNECTIONS');
    this.#sessions.set(session, webSocket);
    webSocket.on('message', (data, isBinary) => {
      if (isBinary) session.receive(data as Buffer, nowMs());
      else session.receiveText();
      if (session.heartbeatMs / 4 < this.#sweepMs && this.#sweepMs > SWEEP_MS_MIN)
        this.#armSweep(session.heartbeatMs / 4);
    });
    webSocket.on('close', () => {
      this.#sessions.delete(session);
      this.#sending.delete(wire);
      session.closed();
    });
  }

  #armSweep(ms: number = SWEEP_MS_MAX): void {
    if (this.#sweepTimer !== null) clearInterval(this.#sweepTimer);
    this.#sweepMs = Math.max(SWEEP_MS_MIN, ms);
    this.#sweepTimer = setInterval(() => this.#sweep(), this.#sweepMs);
  }

  #sweep(): void {
    const nowMs = this.#options.nowMs();
    for (const session of this.#sessions.keys()) session.sweep(nowMs);
  }
}

/** A browser says where a page comes from; pages of other sites are not let in. Programs that are no browsers send no Origin. */
function isSameOrigin({ headers: { origin, host } }: IncomingMessage): boolean {
  if (origin === undefined) return true;
  return URL.canParse(origin) && new URL(origin).host === host;
}
