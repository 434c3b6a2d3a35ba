/**
 * What the connection core asks of its surroundings: a way to open a WebSocket and a way to run something after the present turn. Node and
 * browsers each bring theirs, tests a third; the core itself touches neither sockets nor `node:*`.
 */

/** Told by a transport, in this order: `opened` once or never, `received` any number of times, `closed` exactly once. */
export interface TransportEvents {
  /** The socket is open and speaks the subprotocol `lovage.v1`. */
  opened(): void;
  /** One binary message. The bytes stay valid for good. */
  received(frame: Uint8Array): void;
  /** The socket is gone, or never came to be. `code` is the WebSocket close code (1006 without one), `reason` is for people. */
  closed(code: number, reason: string): void;
}

/** Certificates for `wss:` in Node; a browser has its own. PEM, as text or bytes. */
export interface TlsOptions {
  /** Authorities to trust instead of those of the system. */
  readonly ca?: string | Uint8Array | undefined;
  /** The certificate to show to a broker that wants one, with those between it and its authority. */
  readonly cert?: string | Uint8Array | undefined;
  /** Key of `cert`. */
  readonly key?: string | Uint8Array | undefined;
}

/** One WebSocket. */
export interface Transport {
  /** Bytes given to `send` that the operating system has not taken yet. */
  readonly bufferedBytes: number;
  /** Sends one binary message and keeps no copy: `frame` must not change afterwards. `taken` is called when the socket has passed it on. */
  send(frame: Uint8Array, taken?: () => void): void;
  /** Drops the socket at once. */
  terminate(): void;
}

/** The surroundings: Node, a browser, or a test. */
export interface Platform {
  /** Opens a WebSocket with subprotocol `lovage.v1`. Never throws: what fails is told by `events.closed`, later. */
  open(url: string, events: TransportEvents, tls: TlsOptions | null): Transport;
  /** Runs `task` once, after everything that the present turn of the event loop has brought. */
  schedule(task: () => void): void;
}
