/** Tokens over HTTP, for those of role admin. */
import { LIMITS } from '@lovage/protocol';
import type { FastifyInstance } from 'fastify';
import type { Desk } from '../broker/desk.js';
import type { BrokerView } from '../broker/view.js';
import { tokenCreateCommand, tokenListCommand, tokenRevokeCommand } from '../session/token-ops.js';
import { assertReady } from './api-routes.js';
import { checkedName, integerField, nameField, readQuery } from './query.js';

const LIMIT = { min: 1, max: LIMITS.pageMax, fallback: 100 } as const;
const NAMESPACE = 'default';

/**
 * `POST /api/v1/tokens` with the options as JSON: 201 and `{token: TokenInfo, secret}`, the only time that the secret is told. `GET
 * /api/v1/tokens?after=&limit=`: `{tokens: TokenInfo[], next: id | null}`. `DELETE /api/v1/tokens/:id`: `{id}`.
 */
export function addTokenRoutes(fastify: FastifyInstance, view: BrokerView, desk: Desk): void {
  fastify.post('/api/v1/tokens', async ({ identity, body }, reply) => {
    identity.assertAdmin('TOKEN_CREATE');
    assertReady(view);
    const made = await desk.ask(NAMESPACE, (session, request) =>
      tokenCreateCommand({ identity, session, request }, body),
    );
    return reply.code(201).send(made);
  });

  fastify.get('/api/v1/tokens', async ({ identity, query }) => {
    identity.assertAdmin('TOKEN_LIST');
    const fields = readQuery(query, ['after', 'limit']);
    const page = { after: nameField(fields, 'after'), limit: integerField(fields, 'limit', LIMIT) };
    assertReady(view);
    return desk.ask(NAMESPACE, (session, request) => tokenListCommand({ identity, session, request }, page));
  });

  fastify.delete('/api/v1/tokens/:id', async ({ identity, params }) => {
    identity.assertAdmin('TOKEN_REVOKE');
    const id = checkedName((params as { readonly id: string }).id, 'id');
    assertReady(view);
    return desk.ask(NAMESPACE, (session, request) => tokenRevokeCommand({ identity, session, request }, id));
  });
}
