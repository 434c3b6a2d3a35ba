/** Namespaces over HTTP, for those of role admin. */
import { LIMITS, parseNamespaceSettings } from '@lovage/protocol';
import type { FastifyInstance } from 'fastify';
import { namespaceDeleteCommand, namespaceListCommand, namespaceSetCommand } from '../session/namespace-ops.js';
import type { Office } from './office.js';
import { checkedName, integerField, nameField, readQuery } from './query.js';

const LIMIT = { min: 1, max: LIMITS.pageMax, fallback: 100 } as const;

/**
 * `PUT /api/v1/namespaces/:name` with the settings as JSON: the `NamespaceInfo`. `GET /api/v1/namespaces?after=&limit=`: `{namespaces: NamespaceInfo[], next: name
 * | null}`. `DELETE /api/v1/namespaces/:name`: `{queues, messages}` that went with it.
 */
export function addNamespaceRoutes(fastify: FastifyInstance, office: Office): void {
  fastify.put('/api/v1/namespaces/:name', async (request) => {
    const name = checkedName((request.params as { readonly name: string }).name, 'name');
    const op = 'NAMESPACE_SET';
    return await office.act(
      request,
      { op, namespace: name, target: name, allow: (identity) => identity.assertAdmin(op) },
      (asker) => namespaceSetCommand(asker, name, parseNamespaceSettings(request.body)),
    );
  });

  fastify.get('/api/v1/namespaces', async (request) => {
    request.identity.assertAdmin('NAMESPACE_LIST');
    const fields = readQuery(request.query, ['after', 'limit']);
    const page = { after: nameField(fields, 'after'), limit: integerField(fields, 'limit', LIMIT) };
    return await office.look(request, 'default', (asker) => namespaceListCommand(asker, page));
  });

  fastify.delete('/api/v1/namespaces/:name', async (request) => {
    const name = checkedName((request.params as { readonly name: string }).name, 'name');
    const op = 'NAMESPACE_DELETE';
    return await office.act(
      request,
      { op, namespace: name, target: name, allow: (identity) => identity.assertAdmin(op) },
      (asker) => namespaceDeleteCommand(asker, name),
    );
  });
}
