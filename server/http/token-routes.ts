/** Tokens over HTTP, for those of role admin. */
import { LIMITS } from '@lovage/protocol';
import type { FastifyInstance } from 'fastify';
import { tokenCreateCommand, tokenListCommand, tokenRevokeCommand } from '../session/token-ops.js';
import type { Office } from './office.js';
import { checkedName, integerField, nameField, readQuery } from './query.js';

const LIMIT = { min: 1, max: LIMITS.pageMax, fallback: 100 } as const;
/** Tokens stand beside the namespaces; the session of a request has to be in one. */
const namespace = 'default';

/**
 * `POST /api/v1/tokens` with the options as JSON: 201 and `{token: TokenInfo, secret}`, the only time that the secret is told. `GET
 * /api/v1/tokens?after=&limit=`: `{tokens: TokenInfo[], next: id | null}`. `DELETE /api/v1/tokens/:id`: `{id}`.
 */
export function addTokenRoutes(fastify: FastifyInstance, office: Office): void {
  fastify.post('/api/v1/tokens', async (request, reply) => {
    const { body } = request;
    const target = (body as { readonly name?: unknown } | null | undefined)?.name;
    const op = 'TOKEN_CREATE';
    const made = await office.act(
      request,
      { op, namespace, target, allow: (identity) => identity.assertAdmin(op) },
      (asker) => tokenCreateCommand(asker, body),
    );
    return reply.code(201).send(made);
  });

  fastify.get('/api/v1/tokens', async (request) => {
    request.identity.assertAdmin('TOKEN_LIST');
    const fields = readQuery(request.query, ['after', 'limit']);
    const page = { after: nameField(fields, 'after'), limit: integerField(fields, 'limit', LIMIT) };
    return await office.look(request, namespace, (asker) => tokenListCommand(asker, page));
  });

  fastify.delete('/api/v1/tokens/:id', async (request) => {
    const id = checkedName((request.params as { readonly id: string }).id, 'id');
    const op = 'TOKEN_REVOKE';
    return await office.act(
      request,
      { op, namespace, target: id, allow: (identity) => identity.assertAdmin(op) },
      (asker) => tokenRevokeCommand(asker, id),
    );
  });
}
