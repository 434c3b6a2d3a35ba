/** Carries out requests that come from no connection of their own, such as those of the HTTP API: each in a session that lasts as long as it. */
import { randomBytes } from 'node:crypto';
import { decodeFrame, type ErrorCode, LovageError, readOp, SERVER_OPS } from '@lovage/protocol';
import type { Command } from '../engine/command.js';
import type { Broker } from './broker.js';
import type { Bucket } from './bucket.js';
import { Outlet } from './outlet.js';

const REQUEST = 1;

export class Desk {
  readonly #broker: Broker;

  constructor(broker: Broker) {
    this.#broker = broker;
  }

  /**
   * Submits the command that `make` gives for a session in `namespace` and a request's number. Resolves with what REPLY would tell, when that is safe to
   * be told; rejects with the LovageError that ERROR would tell.
   */
  async ask(namespace: string, make: (session: number, request: number) => Command): Promise<unknown> {
    let settle: (frame: readonly unknown[]) => void = () => undefined;
    const answered = new Promise<readonly unknown[]>((resolve) => {
      settle = resolve;
    });
    const outlet = new Outlet({ flush: (bucket) => flush(bucket, settle), superseded: () => undefined });
    const key = randomBytes(16).toString('base64url');
    const { session } = this.#broker.open(
      { type: 'open', key, namespace, producer: null, resumeKey: null, lastTag: 0 },
      outlet,
    );
    try {
      this.#broker.submit(make(session, REQUEST));
      const [op, , result, message, details] = await answered;
      if (op === SERVER_OPS.REPLY) return result;
      throw new LovageError(result as ErrorCode, message as string, {
        details: (details ?? {}) as Record<string, unknown>,
      });
    } finally {
      this.#broker.leave(session, outlet, false);
    }
  }
}

function flush(bucket: Bucket, settle: (frame: readonly unknown[]) => void): void {
  for (const frame of bucket.frames) {
    const op = readOp(frame);
    if (op === SERVER_OPS.REPLY || op === SERVER_OPS.ERROR) settle(decodeFrame(frame));
  }
  bucket.clear();
}
