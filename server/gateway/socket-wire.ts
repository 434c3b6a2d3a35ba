// hot path
/** A WebSocket as the session sees it. */
import type { Socket } from 'node:net';
import type { WebSocket } from 'ws';
import type { Wire } from '../session/outbox.js';

const BINARY = { binary: true, compress: false } as const;

/**
 * Node counts a write as waiting until all of it has left. What libuv has left of the write under way moves with every byte that the client reads;
 * Node's own socket timeout looks at the same number.
 */
type SocketWithHandle = Socket & { readonly _handle?: { readonly writeQueueSize?: number } | null };

export class SocketWire implements Wire {
  readonly #webSocket: WebSocket;
  readonly #socket: SocketWithHandle;
  readonly #busy: Set<SocketWire>;
  #sentBytes = 0;
  #takenBytes = 0;
  #queuedBytes = 0;
  #largestFrameBytes = 0;
  #isClosing = false;

  /** It adds itself to `busy` when a frame has not left at once, and when it is closed; who looks there takes out those that are idle again. */
  constructor(webSocket: WebSocket, socket: Socket, busy: Set<SocketWire>) {
    this.#webSocket = webSocket;
    this.#socket = socket;
    this.#busy = busy;
  }

  /** Nothing waits to be sent, and it is not being closed. */
  get isIdle(): boolean {
    return !this.#isClosing && this.bufferedBytes === 0;
  }

  get bufferedBytes(): number {
    return this.#webSocket.bufferedAmount;
  }

  get largestFrameBytes(): number {
    return this.#largestFrameBytes;
  }

  hasMoved(): boolean {
    const takenBytes = this.#sentBytes - this.bufferedBytes;
    const queuedBytes = this.#socket._handle?.writeQueueSize ?? 0;
    const hasMoved = takenBytes > this.#takenBytes || queuedBytes !== this.#queuedBytes;
    this.#takenBytes = takenBytes;
    this.#queuedBytes = queuedBytes;
    return hasMoved;
  }

  send(frame: Uint8Array, taken?: () => void): void {
    if (this.#webSocket.readyState !== this.#webSocket.OPEN) return;
    if (this.bufferedBytes === 0) this.#largestFrameBytes = 0;
    if (frame.length > this.#largestFrameBytes) this.#largestFrameBytes = frame.length;
    this.#sentBytes += frame.length;
    if (taken === undefined) this.#webSocket.send(frame, BINARY);
    else this.#webSocket.send(frame, BINARY, (error) => error ?? taken());
    if (this.#socket.writableCorked === 0) this.#lookLater();
  }

  cork(): void {
    this.#socket.cork();
  }

  uncork(): void {
    this.#socket.uncork();
    this.#lookLater();
  }

  close(code: number, reason: string): void {
    this.#isClosing = true;
    this.#busy.add(this);
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

  #lookLater(): void {
    if (this.bufferedBytes > 0) this.#busy.add(this);
  }
}
