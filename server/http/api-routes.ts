/** The HTTP API, version 1: what there is to see. */
import { LIMITS, type QueueInfo } from '@lovage/protocol';
import type { FastifyInstance } from 'fastify';
import type { BrokerView } from '../broker/view.js';
import type { Identity } from '../session/identity.js';
import { HttpError } from './errors.js';
import { checkedName, integerField, nameField, readQuery } from './query.js';

const LIMIT = { min: 1, max: LIMITS.pageMax, fallback: 100 } as const;
const QUEUE_FIELDS = ['namespace', 'after', 'limit'] as const;

/**
 * `GET /api/v1/overview`: the `Overview`. `GET /api/v1/queues?namespace=&after=&limit=`: `{queues: QueueInfo[], next: string | null}`, where `next` is the
 * `after` of the next page. `GET /api/v1/queues/:namespace/:name`: the `QueueInfo`; a `/` in a name is written `%2F`.
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
    const queues = view.queues(namespace, after, limit);
    if (queues.length < limit) return { queues, next: null };
    const page = namespace === null ? wholeNames(queues) : queues;
    return { queues: page, next: page.at(-1)?.name ?? null };
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

/**
 * Queues of several namespaces may share a name, and the next page starts behind a name: the last name of a full page waits for the next one, unless
 * the page holds no other.
 */
function wholeNames(queues: readonly QueueInfo[]): readonly QueueInfo[] {
  const last = queues.at(-1)?.name;
  const whole = queues.filter(({ name }) => name !== last);
  return whole.length === 0 ? queues : whole;
}
