/** Changing exchanges over HTTP, by the same rights and with the same commands as on the socket. */
import type { ClientOp } from '@lovage/protocol';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { map, parseBinding, parseExchange } from '../session/fields.js';
import type { Office } from './office.js';
import { checkedName, flagField, readQuery } from './query.js';

const PATH = '/api/v1/exchanges/:namespace/:name';

/**
 * `PUT .../exchanges/:namespace/:name` with `{type, alternate?}`, as EXCHANGE_DECLARE: `{created, type, alternate}`, 201 when it is made. `DELETE` with `?ifUnused=`:
 * `{bindings}` that went with it. `POST .../bind` and `.../unbind` with `{queue | toExchange, key?, headers?, match?}`: `{created}` and `{removed}`.
 */
export function addExchangeRoutes(fastify: FastifyInstance, office: Office): void {
  fastify.put(PATH, async (request, reply) => {
    const given = parseExchange(request.body);
    const { name, act } = exchangeAct(request, 'EXCHANGE_DECLARE', [], given.alternate);
    const declared = (await office.act(request, act, ({ session, request }) => {
      return { type: 'exchange-declare', session, request, name, ...given };
    })) as { readonly created: boolean };
    return reply.code(declared.created ? 201 : 200).send(declared);
  });

  fastify.delete(PATH, async (request) => {
    const ifUnused = flagField(readQuery(request.query, ['ifUnused']), 'ifUnused');
    const { name, act } = exchangeAct(request, 'EXCHANGE_DELETE', [], null);
    return await office.act(request, act, ({ session, request }) => {
      return { type: 'exchange-delete', session, request, name, ifUnused };
    });
  });

  for (const type of ['bind', 'unbind'] as const) {
    fastify.post(`${PATH}/${type}`, async (request) => {
      const { name: exchange } = placeOf(request);
      const binding = parseBinding({ ...map(request.body, 'body'), exchange });
      const op = type === 'bind' ? 'BIND' : 'UNBIND';
      const { act } = exchangeAct(request, op, [binding.name], type === 'bind' ? binding.name : null);
      return await office.act(request, act, ({ session, request }) => ({ type, session, request, binding }));
    });
  }
}

function placeOf(request: FastifyRequest): { readonly namespace: string; readonly name: string } {
  const path = request.params as { readonly namespace: string; readonly name: string };
  return { namespace: checkedName(path.namespace, 'namespace'), name: checkedName(path.name, 'name') };
}

/** The exchange that a request is about, and what its asker needs: to configure it and `others`, and to publish to `writes`. */
function exchangeAct(request: FastifyRequest, op: ClientOp, others: readonly string[], writes: string | null) {
  const { namespace, name } = placeOf(request);
  const allow = (identity: FastifyRequest['identity']): void => {
    identity.assertEnters(namespace);
    for (const needed of [name, ...others]) identity.assertMay('configure', needed, op);
    if (writes !== null) identity.assertMay('write', writes, op);
  };
  return { name, act: { op, namespace, target: name, allow } };
}
