/** Messages of a queue over HTTP, by the same rights and with the same commands as on the socket. */
import { type ClientOp, LIMITS, type MessageOutcome, type MessagePage, type PeekedMessage } from '@lovage/protocol';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { flag, map } from '../session/fields.js';
import { MESSAGE_ACTS, parseSelection, type Selected } from '../session/message-ops.js';
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
} as const satisfies Record<string, keyof typeof MESSAGE_ACTS & ClientOp>;

/**
 * `GET .../queues/:namespace/:name/messages` with a filter (`state`, `priorityMin`, `priorityMax`, `idMin`, `idBelow`, `reason`, `from`), `after` and `limit`:
 * `{messages: MessageInfo[], next: id | null}`; with `contents=true` (right `read`, limit 32) what is in them, too, bodies as base64. `POST .../move`, `/drop`,
 * `/retry`, `/priority`, `/redrive` with a selection (`ids` or a filter) and the act's own fields (`to`, `priority`, `force`, `dryRun`): `{matched, changed, skipped}`.
 * An act by a filter works in steps until it is through, or the broker stops.
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
      const { to, force, priority, dryRun, ...selection } = map(request.body, 'body');
      const selected = parseSelection(selection);
      const what = MESSAGE_ACTS[op]({ to, force, priority });
      const isDryRun = flag(dryRun, 'dryRun');
      const allow = (identity: FastifyRequest['identity']): void => {
        identity.assertEnters(namespace);
        identity.assertMay('configure', queue, op);
        if (what.act === 'move') identity.assertMay('write', what.to, op);
      };
      const act = { op, namespace, target: queue, allow };
      const step = async (after: number): Promise<MessageOutcome> => {
        const make: Parameters<Office['look']>[2] = ({ session, request }) => ({
          type: 'message-act',
          session,
          request,
          queue,
          ...selected,
          after,
          dryRun: isDryRun,
          ...what,
        });
        // One act, one line in the audit log, however many steps it takes.
        const answer = after === 0 ? office.act(request, act, make) : office.look(request, namespace, make);
        return (await answer) as MessageOutcome;
      };
      return await sumOf(step);
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

/** All steps together. */
async function sumOf(step: (after: number) => Promise<MessageOutcome>): Promise<Omit<MessageOutcome, 'next'>> {
  const sum = { matched: 0, changed: 0, skipped: {} as Record<string, number> };
  for (let after: number | null = 0; after !== null; ) {
    const { matched, changed, skipped, next } = await step(after);
    sum.matched += matched;
    sum.changed += changed;
    for (const [why, count] of Object.entries(skipped)) sum.skipped[why] = (sum.skipped[why] ?? 0) + count;
    after = next;
  }
  return sum;
}
