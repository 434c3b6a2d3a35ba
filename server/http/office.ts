/** Where HTTP requests that change something are carried out: once the broker is ready, and with a line in the audit log whatever comes of it. */
import { type ClientOp, LovageError } from '@lovage/protocol';
import type { FastifyRequest } from 'fastify';
import type { Desk } from '../broker/desk.js';
import type { BrokerView } from '../broker/view.js';
import type { Command } from '../engine/command.js';
import { type AuditSink, auditStart } from '../session/audit.js';
import type { Identity } from '../session/identity.js';
import { assertReady } from './api-routes.js';

export interface OfficeOptions {
  readonly view: BrokerView;
  readonly desk: Desk;
  readonly onAudit: AuditSink;
}

/** An administrative act: like the op of that name, on `target`. */
export interface Act {
  readonly op: ClientOp;
  readonly namespace: string;
  readonly target: unknown;
  /** Throws FORBIDDEN unless the asker has the right. */
  readonly allow: (identity: Identity) => void;
}

/** Who asks, and where the answer goes: for the makers of commands that ops and routes share. */
interface Asker {
  readonly identity: Identity;
  readonly session: number;
  readonly request: number;
}

export class Office {
  readonly #options: OfficeOptions;

  constructor(options: OfficeOptions) {
    this.#options = options;
  }

  /** Reads something in a namespace; nothing is logged. */
  async look(request: FastifyRequest, namespace: string, make: (asker: Asker) => Command): Promise<unknown> {
    const { view, desk } = this.#options;
    const { identity } = request;
    assertReady(view);
    return await desk.ask(namespace, (session, number) => make({ identity, session, request: number }));
  }

  /** Carries out an act and logs it. Rejects what `allow` or `make` throws, and the engine's refusal. */
  async act(request: FastifyRequest, act: Act, make: (asker: Asker) => Command): Promise<unknown> {
    const { identity, ip } = request;
    const start = auditStart(act.op, act.target, { identity, namespace: act.namespace, address: ip });
    try {
      act.allow(identity);
      const result = await this.look(request, act.namespace, make);
      this.#options.onAudit({ ...start, outcome: 'done' });
      return result;
    } catch (error) {
      this.#options.onAudit({ ...start, outcome: error instanceof LovageError ? error.code : 'unknown' });
      throw error;
    }
  }
}
