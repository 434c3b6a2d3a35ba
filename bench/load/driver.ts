/** How a load process talks to a broker: the same few calls for each of them, so that all of them carry the same load. */

/** Where a load process connects to. Travels to it as JSON. */
export interface Target {
  readonly driver: string;
  /** What the driver needs to connect: a URL, or a port. */
  readonly endpoint: string;
  /** What the driver needs beyond that: the SDK's module, the type of a queue, an exchange to publish to. */
  readonly settings: Readonly<Record<string, string>>;
}

export interface ConsumeShape {
  readonly prefetch: number;
  /** Handlers at once. */
  readonly concurrency: number;
}

/** Works on a body; the message is acknowledged when it has returned, or when the promise is fulfilled. */
export type BodyHandler = (body: Uint8Array) => void | Promise<void>;

export interface DriverSession {
  /** Makes the queue unless it is there. */
  declare(queue: string): Promise<void>;
  /** Resolves when the broker has confirmed this message. `body` must not change before. */
  publish(queue: string, body: Uint8Array, priority: number): Promise<unknown>;
  /** Resolves when the consumer stands. Every message is acknowledged by itself. */
  consume(queue: string, shape: ConsumeShape, handle: BodyHandler): Promise<void>;
  close(): Promise<void>;
}

export interface Driver {
  connect(target: Target): Promise<DriverSession>;
}
