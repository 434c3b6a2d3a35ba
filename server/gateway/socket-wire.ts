// hot path
/** A WebSocket as the session sees it. */
import type { Socket } from 'node:net';
import type { WebSocket } from 'ws';
import type { Wire } from '../session/outbox.js';

const BINARY = { binary: true, compress: false } as const;

export class SocketWire implements Wire {
  readonly #webSocket: WebSocket;
  readonly #socket: Socket;

  constructor(webSocket: WebSocket, socket: Socket) {
    this.#webSocket = webSocket;
    this.#socket = socket;
  }

  get bufferedBytes(): number {
    return this.#webSocket.bufferedAmount;
  }

  send(frame: Uint8Array, taken?: () => void): void {
    if (this.#webSocket.readyState !== this.#webSocket.OPEN) return;
    if (taken === undefined) this.#webSocket.send(frame, BINARY);
    else this.#webSocket.send(frame, BINARY, (error) => error ?? taken());
  }

  cork(): void {
    this.#socket.cork();
  }

  uncork(): void {
    this.#socket.uncork();
  }

  close(code: number, reason: string): void {
    this.#webSocket.close(code, reason);
  }

  terminate(): void {
    this.#webSocket.terminate();
  }

  pause(): void {
    this.#webSocket.pause();
  }

  resume(): void {
    this.#webSocket.resume();
  }
}
