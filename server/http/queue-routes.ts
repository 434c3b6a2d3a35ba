/** Changing queues over HTTP, by the same rights and with the same commands as on the socket. */
import type { ClientOp } from '@lovage/protocol';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { map, parseMode, parseSettings } from '../session/fields.js';
import { HttpError } from './errors.js';
import type { Office } from './office.js';
import { checkedName, flagField, readQuery } from './query.js';

const PATH = '/api/v1/queues/:namespace/:name';
const VERBS = {
  purge: 'QUEUE_PURGE',
  pause: 'QUEUE_PAUSE',
  resume: 'QUEUE_RESUME',
} as const satisfies Record<string, ClientOp>;

/**
 * `PUT .../queues/:namespace/:name` with `{settings?, mode?}` or nothing, as QUEUE_DECLARE: `{created, settings, version}`, 201 when it is made. `DELETE` with
 * `?ifEmpty=&ifUnused=` (true or false): `{messages}` dropped with it. `POST .../purge`: `{purged}`; `POST .../pause` and `.../resume`: `{isPaused}`.
 */
export function addQueueRoutes(fastify: FastifyInstance, office: Office): void {
  fastify.put(PATH, async (request, reply) => {
    const body = map(request.body, 'body');
    const unknown = Object.keys(body).find((key) => key !== 'settings' && key !== 'mode');
    if (unknown !== undefined) throw new HttpError('INVALID_ARGUMENT', undefined, { field: unknown.slice(0, 200) });
    const settings = parseSettings(body.settings);
    const mode = parseMode(body.mode);
    const { name, act } = queueAct(request, 'QUEUE_DECLARE');
    const declared = (await office.act(
      request,
      {
        ...act,
        allow: (identity) => {
          act.allow(identity);
          const { deadLetterQueue = null } = settings ?? {};
          if (deadLetterQueue !== null) identity.assertMay('write', deadLetterQueue, act.op);
        },
      },
      ({ session, request }) => ({ type: 'declare', session, request, name, settings, mode }),
    )) as { readonly created: boolean };
    return reply.code(declared.created ? 201 : 200).send(declared);
  });

  fastify.delete(PATH, async (request) => {
    const fields = readQuery(request.query, ['ifEmpty', 'ifUnused']);
    const ifEmpty = flagField(fields, 'ifEmpty');
    const ifUnused = flagField(fields, 'ifUnused');
    const { name, act } = queueAct(request, 'QUEUE_DELETE');
    return await office.act(request, act, ({ session, request }) => {
      return { type: 'delete', session, request, name, ifEmpty, ifUnused };
    });
  });

  for (const type of Object.keys(VERBS) as (keyof typeof VERBS)[]) {
    fastify.post(`${PATH}/${type}`, async (request) => {
      const { name, act } = queueAct(request, VERBS[type]);
      return await office.act(request, act, ({ session, request }) => ({ type, session, request, name }));
    });
  }
}

/** The queue that a request is about, and what its asker needs. */
function queueAct(request: FastifyRequest, op: ClientOp) {
  const path = request.params as { readonly namespace: string; readonly name: string };
  const namespace = checkedName(path.namespace, 'namespace');
  const name = checkedName(path.name, 'name');
  const allow = (identity: FastifyRequest['identity']): void => {
    identity.assertEnters(namespace);
    identity.assertMay('configure', name, op);
  };
  return { name, act: { op, namespace, target: name, allow } };
}
