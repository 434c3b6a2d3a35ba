/**
 * The audit log: one line for every administrative act, whether it was carried out or refused: who asked, from where, for what, and what became of it. A line is
 * written when the answer leaves, so one that says "done" rests on a record that is safe. No line bears a token or a secret.
 */
import { decodeFrame, type ErrorCode, readOp, SERVER_OPS } from '@lovage/protocol';
import type { Identity } from './identity.js';

export interface AuditLine {
  /** Name of the op: `QUEUE_DELETE`. */
  readonly act: string;
  /** What it was done to: the name of a queue, the id of a token; null when the request did not say. */
  readonly target: string | null;
  readonly namespace: string;
  /** Id of the token, null for one that is not stored, and for nobody's. */
  readonly token: string | null;
  /** Name of the token. */
  readonly who: string;
  readonly address: string;
  /** `done`, the code of the refusal, or `unknown` when the connection was lost before the answer. */
  readonly outcome: 'done' | ErrorCode | 'unknown';
}

export type AuditSink = (line: AuditLine) => void;

/** Characters of a target that came from a client and may be no name. */
const TARGET_LENGTH_MAX = 200;
/** Acts of one connection that wait for their answer; beyond it the oldest is written as unknown. */
const WAITING_MAX = 10_000;

/** A line without its outcome. */
export function auditStart(
  act: string,
  target: unknown,
  {
    identity,
    namespace,
    address,
  }: { readonly identity: Identity; readonly namespace: string; readonly address: string },
): Omit<AuditLine, 'outcome'> {
  return {
    act,
    target: typeof target === 'string' ? target.slice(0, TARGET_LENGTH_MAX) : null,
    namespace,
    token: identity.tokenId,
    who: identity.name,
    address,
  };
}

/** The acts of one connection that have not been answered. */
export class AuditTrail {
  readonly #sink: AuditSink;
  /** Most connections never ask for anything of the kind. */
  #waiting: Map<number, Omit<AuditLine, 'outcome'>> | null = null;

  constructor(sink: AuditSink) {
    this.#sink = sink;
  }

  /** False while no frame needs to be looked at. */
  get isWaiting(): boolean {
    return this.#waiting !== null && this.#waiting.size > 0;
  }

  asked(request: number, start: Omit<AuditLine, 'outcome'>): void {
    this.#waiting ??= new Map();
    const [oldest] = this.#waiting.keys();
    if (oldest !== undefined && this.#waiting.size >= WAITING_MAX) this.#end(oldest, 'unknown');
    // A client that uses a number twice hears two answers; which is whose cannot be told.
    if (this.#waiting.has(request)) this.#end(request, 'unknown');
    this.#waiting.set(request, start);
  }

  /** Looks whether a frame that leaves is an answer. */
  told(frame: Uint8Array): void {
    const op = readOp(frame);
    if (op !== SERVER_OPS.REPLY && op !== SERVER_OPS.ERROR) return;
    const [, request, code] = decodeFrame(frame);
    this.#end(request as number, op === SERVER_OPS.REPLY ? 'done' : (code as ErrorCode));
  }

  /** The connection is gone. */
  close(): void {
    for (const request of [...(this.#waiting?.keys() ?? [])]) this.#end(request, 'unknown');
  }

  #end(request: number, outcome: AuditLine['outcome']): void {
    const start = this.#waiting?.get(request);
    if (start === undefined) return;
    this.#waiting?.delete(request);
    this.#sink({ ...start, outcome });
  }
}
