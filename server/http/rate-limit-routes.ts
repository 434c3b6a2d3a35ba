/** Rate limits over HTTP, by the same rights and with the same commands as on the socket. */
import { type ClientOp, LIMITS, parseRate } from '@lovage/protocol';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Act, Office } from './office.js';
import { checkedName, integerField, nameField, readQuery } from './query.js';

const PATH = '/api/v1/rate-limits/:namespace/:name';
const LIMIT = { min: 1, max: LIMITS.pageMax, fallback: 100 } as const;

/**
 * `GET /api/v1/rate-limits?namespace=&after=&limit=`: `{rateLimits: RateLimitInfo[], next: name | null}` of one namespace. `PUT .../rate-limits/:namespace/:name`
 * with `{count, perMs, burst?}`, as RATE_LIMIT_DECLARE, and `PUT .../override` in the same way: the `RateLimitInfo`. `DELETE .../override` ends the override:
 * the `RateLimitInfo`. `DELETE .../rate-limits/:namespace/:name`: `{waiting}`, the messages that it held back.
 */
export function addRateLimitRoutes(fastify: FastifyInstance, office: Office): void {
  fastify.get('/api/v1/rate-limits', async (request) => {
    const fields = readQuery(request.query, ['namespace', 'after', 'limit']);
    const namespace = nameField(fields, 'namespace') ?? request.identity.namespace ?? 'default';
    request.identity.assertEnters(namespace);
    const page = { after: nameField(fields, 'after'), limit: integerField(fields, 'limit', LIMIT) };
    return await office.look(request, namespace, ({ session, request }) => {
      return { type: 'rate-limit-list', session, request, ...page };
    });
  });

  fastify.put(PATH, async (request) => {
    const rate = parseRate(request.body);
    const act = rateLimitAct(request, 'RATE_LIMIT_DECLARE');
    return await office.act(request, act, ({ session, request }) => {
      return { type: 'rate-limit-declare', session, request, name: act.target, rate };
    });
  });

  fastify.put(`${PATH}/override`, async (request) => {
    const rate = parseRate(request.body);
    const act = rateLimitAct(request, 'RATE_LIMIT_OVERRIDE');
    return await office.act(request, act, ({ session, request }) => {
      return { type: 'rate-limit-override', session, request, name: act.target, rate };
    });
  });

  fastify.delete(`${PATH}/override`, async (request) => {
    const act = rateLimitAct(request, 'RATE_LIMIT_OVERRIDE');
    return await office.act(request, act, ({ session, request }) => {
      return { type: 'rate-limit-override', session, request, name: act.target, rate: null };
    });
  });

  fastify.delete(PATH, async (request) => {
    const act = rateLimitAct(request, 'RATE_LIMIT_DELETE');
    return await office.act(request, act, ({ session, request }) => {
      return { type: 'rate-limit-delete', session, request, name: act.target };
    });
  });
}

function rateLimitAct(request: FastifyRequest, op: ClientOp): Act & { readonly target: string } {
  const path = request.params as { readonly namespace: string; readonly name: string };
  const namespace = checkedName(path.namespace, 'namespace');
  const target = checkedName(path.name, 'name');
  const allow = (identity: FastifyRequest['identity']): void => {
    identity.assertEnters(namespace);
    identity.assertMay('configure', target, op);
  };
  return { op, namespace, target, allow };
}
