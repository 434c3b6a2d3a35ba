/** The way to the broker as those see it who have something to send. */
export interface Channel {
  /** A welcomed connection stands. */
  readonly isOpen: boolean;
  /** A connection stands and the socket has not more unsent bytes than it should. */
  readonly hasRoom: boolean;
  /** Hands a frame to the socket. Only while `isOpen`. */
  send(frame: Uint8Array): void;
  /** Has everything that gathered sent now, before something that must not overtake it. */
  flush(): void;
  /** Has everything that gathered sent at the end of this turn. */
  requestFlush(): void;
}

/** What those who send need: the way, the time, and to be called in time. */
export interface SenderContext {
  readonly channel: Channel;
  /** Monotonic, in ms. */
  nowMs(): number;
  /** Has `tick` called at that time. */
  wakeAt(deadlineMs: number): void;
}
