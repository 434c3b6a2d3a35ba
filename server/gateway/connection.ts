/** A socket and its session: what comes in is handed on, and the session is looked at when it has asked for it. */
import type { WebSocket } from 'ws';
import type { Session } from '../session/session.js';
import type { Looked, LookTimes, Moment } from './look-times.js';

export class Connection implements Looked {
  readonly webSocket: WebSocket;
  readonly session: Session;
  readonly #nowMs: () => number;
  readonly #lookTimes: LookTimes;
  #next: Moment | null = null;
  #isWelcomed = false;

  constructor(webSocket: WebSocket, session: Session, lookTimes: LookTimes, nowMs: () => number) {
    this.webSocket = webSocket;
    this.session = session;
    this.#lookTimes = lookTimes;
    this.#nowMs = nowMs;
    webSocket.on('message', (data, isBinary) => this.#receive(data as Buffer, isBinary));
    this.look();
  }

  /** Lets the session do what is due, and comes back when it wants that. */
  look(): void {
    this.#next?.delete(this);
    const ms = this.session.sweep(this.#nowMs());
    this.#next = Number.isFinite(ms) ? this.#lookTimes.in(ms, this) : null;
  }

  /** The socket is gone. */
  closed(): void {
    this.#next?.delete(this);
    this.#next = null;
    this.session.closed();
  }

  #receive(data: Buffer, isBinary: boolean): void {
    if (isBinary) this.session.receive(data, this.#nowMs());
    else this.session.receiveText();
    if (this.#isWelcomed || !this.session.isOpen) return;
    this.#isWelcomed = true;
    this.look();
  }
}
