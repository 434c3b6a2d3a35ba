/** A socket and its session: what comes in is handed on, and the session is looked at when it has asked for it. */
import type { WebSocket } from 'ws';
import type { Session } from '../session/session.js';

export class Connection {
  readonly webSocket: WebSocket;
  readonly session: Session;
  readonly #nowMs: () => number;
  #timer: NodeJS.Timeout | null = null;
  #isWelcomed = false;

  constructor(webSocket: WebSocket, session: Session, nowMs: () => number) {
    this.webSocket = webSocket;
    this.session = session;
    this.#nowMs = nowMs;
    webSocket.on('message', (data, isBinary) => this.#receive(data as Buffer, isBinary));
    this.#arm();
  }

  /** Lets the session do what is due. */
  look(): void {
    this.session.sweep(this.#nowMs());
  }

  /** The socket is gone. */
  closed(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.session.closed();
  }

  #receive(data: Buffer, isBinary: boolean): void {
    if (isBinary) this.session.receive(data, this.#nowMs());
    else this.session.receiveText();
    if (this.#isWelcomed || !this.session.isOpen) return;
    this.#isWelcomed = true;
    this.#arm();
  }

  /** Looks, and sets the timer for the next look: once a heartbeat. */
  #arm(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    const ms = this.session.sweep(this.#nowMs());
    this.#timer = Number.isFinite(ms) ? setTimeout(() => this.#arm(), Math.ceil(ms)) : null;
  }
}
