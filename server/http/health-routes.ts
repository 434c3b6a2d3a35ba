/** Probes: whether the process serves at all, and whether it should be sent work. */
import type { FastifyInstance } from 'fastify';
import type { BrokerView } from '../broker/view.js';

const OPEN = { config: { isOpen: true } } as const;

/** `/healthz` answers 200 while the process serves. `/readyz` answers 200 from the end of recovery until a stop is asked for, else 503. */
export function addHealthRoutes(fastify: FastifyInstance, view: BrokerView): void {
  fastify.get('/healthz', OPEN, async () => ({ ok: true }));
  fastify.get('/readyz', OPEN, async (_request, reply) => {
    const ready = view.isReady && !view.isStopping;
    if (!ready) reply.code(503);
    return { ready, recovered: view.recoveredShare, stopping: view.isStopping };
  });
}
