/** Messages of a queue over HTTP, by the same rights and with the same commands as on the socket. */
import { FAILURE_TYPE, LIMITS, type MessagePage, type PeekedMessage, revokedFailure } from '@lovage/protocol';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { flag, map, whole } from '../session/fields.js';
import { type MessageActOp, parseAct, parseSelection, type Selected } from '../session/message-ops.js';
import type { Office } from './office.js';
import { checkedName, flagField, integerField, readQuery } from './query.js';

const PATH = '/api/v1/queues/:namespace/:name/messages';
const LIST_LIMIT = { min: 1, max: LIMITS.pageMax, fallback: 100 } as const;
const PEEK_LIMIT = { min: 1, max: LIMITS.peekMax, fallback: LIMITS.peekMax } as const;
const AFTER = { min: 0, max: 999_999_999_999_999, fallback: 0 } as const;
const NUMBERS = ['priorityMin', 'priorityMax', 'idMin', 'idBelow'] as const;
const WORDS = ['state', 'reason', 'from'] as const;
const FIELDS = [...NUMBERS, ...WORDS, 'after', 'limit', 'contents'] as const;

const ACTS = {
  move: 'MESSAGE_MOVE',
  drop: 'MESSAGE_DROP',
  retry: 'MESSAGE_RETRY',
  priority: 'MESSAGE_PRIORITY',
  redrive: 'MESSAGE_REDRIVE',
  revoke: 'MESSAGE_REVOKE',
} as const satisfies Record<string, MessageActOp>;

/**
 * `GET .../queues/:namespace/:name/messages` with a filter (`state`, `priorityMin`, `priorityMax`, `idMin`, `idBelow`, `reason`, `from`), `after` and `limit`:
 * `{messages: MessageInfo[], next: id | null}`; with `contents=true` (right `read`, limit 32) what is in them, too, bodies as base64. `POST .../move`, `/drop`,
 * `/retry`, `/priority`, `/redrive`, `/revoke` with a selection (`ids` or a filter) and the act's own fields (`to`, `priority`, `force`, `terminate`, `dryRun`):
 * `{matched, changed, skipped, next}`.
 * By a filter an act does one step, and `next` is the `after` of the request that goes on, null at the end.
 */
export function addMessageRoutes(fastify: FastifyInstance, office: Office): void {
  fastify.get(PATH, async (request) => {
    const { namespace, queue } = placeOf(request);
    const fields = readQuery(request.query, FIELDS);
    const withBodies = flagField(fields, 'contents');
    request.identity.assertEnters(namespace);
    if (withBodies) request.identity.assertMay('read', queue, 'MESSAGE_PEEK');
    const limit = integerField(fields, 'limit', withBodies ? PEEK_LIMIT : LIST_LIMIT);
    const page = (await office.look(request, namespace, ({ session, request }) => ({
      type: 'message-list',
      session,
      request,
      queue,
      ...filterOf(fields),
      after: integerField(fields, 'after', AFTER),
      limit,
      withBodies,
    }))) as MessagePage;
    return withBodies ? shown(page as MessagePage<PeekedMessage>) : page;
  });

  for (const [verb, op] of Object.entries(ACTS)) {
    fastify.post(`${PATH}/${verb}`, async (request) => {
      const { namespace, queue } = placeOf(request);
      const { to, force, priority, terminate, dryRun, after = 0, ...selection } = map(request.body, 'body');
      const selected = parseSelection(selection);
      // What the SDK gives as the result of whatever it revokes.
      const result = verb === 'revoke' ? { contentType: FAILURE_TYPE, body: revokedFailure() } : {};
      const what = parseAct(op, { to, force, priority, terminate, dryRun, ...result }, LIMITS);
      const isDryRun = flag(dryRun, 'dryRun');
      const from = whole(after, 'after', 0, Number.MAX_SAFE_INTEGER);
      const allow = (identity: FastifyRequest['identity']): void => {
        identity.assertEnters(namespace);
        identity.assertMay('configure', queue, op);
        if (what.act === 'move') identity.assertMay('write', what.to, op);
      };
      return await office.act(request, { op, namespace, target: queue, allow }, ({ session, request }) => ({
        type: 'message-act',
        session,
        request,
        queue,
        ...selected,
        after: from,
        dryRun: isDryRun,
        ...what,
      }));
    });
  }
}

function placeOf(request: FastifyRequest): { readonly namespace: string; readonly queue: string } {
  const path = request.params as { readonly namespace: string; readonly name: string };
  return { namespace: checkedName(path.namespace, 'namespace'), queue: checkedName(path.name, 'name') };
}

function filterOf(fields: ReadonlyMap<string, string>): Selected {
  const given: Record<string, unknown> = {};
  for (const field of WORDS) given[field] = fields.get(field);
  for (const field of NUMBERS) if (fields.has(field)) given[field] = integerField(fields, field, AFTER);
  return parseSelection(given);
}

function shown({ messages, next }: MessagePage<PeekedMessage>): unknown {
  return {
    messages: messages.map((message) => ({ ...message, body: Buffer.from(message.body).toString('base64') })),
    next,
  };
}
