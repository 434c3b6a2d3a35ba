/** The HTTP API, version 1: what there is to see. */
import { LIMITS } from '@lovage/protocol';
import type { FastifyInstance } from 'fastify';
import type { BrokerView } from '../broker/view.js';
import type { Identity } from '../session/identity.js';
import { HttpError } from './errors.js';
import { checkedName, integerField, nameField, readQuery } from './query.js';

const LIMIT = { min: 1, max: LIMITS.pageMax, fallback: 100 } as const;
const QUEUE_FIELDS = ['namespace', 'after', 'limit'] as const;
const BINDING_FIELDS = ['namespace', 'exchange', 'after', 'limit'] as const;
const BINDING_AFTER = { min: 0, max: 999_999_999_999_999, fallback: 0 } as const;

/**
 * `GET /api/v1/overview`: the `Overview`. `GET /api/v1/queues?namespace=&after=&limit=`: `{queues: QueueInfo[], next: string | null}`, where `next` is the
 * `after` of the next page. `GET /api/v1/queues/:namespace/:name`: the `QueueInfo`; a `/` in a name is written `%2F`. `GET /api/v1/exchanges` and `GET
 * /api/v1/bindings`, which also takes `exchange=`, in the same way: `{exchanges, next}` and `{bindings, next}`, where a binding's `id` is the `after`.
 */
export function addApiRoutes(fastify: FastifyInstance, view: BrokerView): void {
  fastify.get('/api/v1/overview', async (request) => {
    assertSeesAll(request.identity, 'the overview');
    return view.overview();
  });

  fastify.get('/api/v1/queues', async (request) => {
    const fields = readQuery(request.query, QUEUE_FIELDS);
    const namespace = nameField(fields, 'namespace') ?? request.identity.namespace;
    if (namespace !== null) request.identity.assertEnters(namespace);
    const after = nameField(fields, 'after');
    const limit = integerField(fields, 'limit', LIMIT);
    assertReady(view);
    const { page, next } = pageOf(view.queues(namespace, after, limit), namespace, limit);
    return { queues: page, next };
  });

  fastify.get('/api/v1/exchanges', async (request) => {
    const fields = readQuery(request.query, QUEUE_FIELDS);
    const namespace = nameField(fields, 'namespace') ?? request.identity.namespace;
    if (namespace !== null) request.identity.assertEnters(namespace);
    const after = nameField(fields, 'after');
    const limit = integerField(fields, 'limit', LIMIT);
    assertReady(view);
    const { page, next } = pageOf(view.exchanges(namespace, after, limit), namespace, limit);
    return { exchanges: page, next };
  });

  fastify.get('/api/v1/bindings', async (request) => {
    const fields = readQuery(request.query, BINDING_FIELDS);
    const namespace = nameField(fields, 'namespace') ?? request.identity.namespace;
    if (namespace !== null) request.identity.assertEnters(namespace);
    const exchange = nameField(fields, 'exchange');
    const after = integerField(fields, 'after', BINDING_AFTER);
    const limit = integerField(fields, 'limit', LIMIT);
    assertReady(view);
    const bindings = view.bindings(namespace, exchange, after, limit);
    return { bindings, next: bindings.length < limit ? null : (bindings.at(-1)?.id ?? null) };
  });

  fastify.get('/api/v1/workers', async (request) => {
    const fields = readQuery(request.query, ['namespace']);
    const namespace = nameField(fields, 'namespace') ?? request.identity.namespace ?? 'default';
    request.identity.assertEnters(namespace);
    return view.workers(namespace);
  });

  fastify.get('/api/v1/queues/:namespace/:name', async (request) => {
    const path = request.params as { readonly namespace: string; readonly name: string };
    const namespace = checkedName(path.namespace, 'namespace');
    const name = checkedName(path.name, 'name');
    request.identity.assertEnters(namespace);
    assertReady(view);
    const queue = view.queue(namespace, name);
    if (queue === null) throw new HttpError('QUEUE_NOT_FOUND', undefined, { namespace, name });
    return queue;
  });
}

/** Numbers of the whole broker are for tokens of all namespaces. */
export function assertSeesAll({ name, namespace }: Identity, what: string): void {
  if (namespace === null) return;
  const message = `Cannot show ${what}: token "${name}" is for namespace "${namespace}", expected one for all`;
  throw new HttpError('FORBIDDEN', message, { namespace });
}

/** While the journal is read, a queue that is not there yet is not a queue that does not exist. */
export function assertReady(view: BrokerView): void {
  if (!view.isReady) throw new HttpError('NOT_READY', undefined, { recovered: view.recoveredShare });
}

/** A page by name, and the name behind which the next one starts. */
function pageOf<T extends { readonly name: string }>(
  found: readonly T[],
  namespace: string | null,
  limit: number,
): { readonly page: readonly T[]; readonly next: string | null } {
  if (found.length < limit) return { page: found, next: null };
  const page = namespace === null ? wholeNames(found) : found;
  return { page, next: page.at(-1)?.name ?? null };
}

/**
 * Queues of several namespaces may share a name, and the next page starts behind a name: the last name of a full page waits for the next one, unless
 * the page holds no other.
 */
function wholeNames<T extends { readonly name: string }>(found: readonly T[]): readonly T[] {
  const last = found.at(-1)?.name;
  const whole = found.filter(({ name }) => name !== last);
  return whole.length === 0 ? found : whole;
}
