/** MESSAGE_LIST to MESSAGE_REDRIVE, and MESSAGE_REVOKE: messages of a queue by their ids or by a filter. */
import {
  CompleteBatch,
  DEAD_LETTER_REASONS,
  FrameReader,
  FrameWriter,
  LIMITS,
  LovageError,
  MESSAGE_STATES,
  type MessageFilter,
  type PayloadLimits,
  TagRanges,
  writeComplete,
} from '@lovage/protocol';
import type { MessageAct, MessageActCommand, MessageListCommand } from '../engine/command.js';
import { bytes, type Fields, flag, invalid, list, map, name, oneOf, parseHeaders, text, whole } from './fields.js';
import type { Session } from './session.js';

const ID_MAX = Number.MAX_SAFE_INTEGER;

/** Which messages of a queue: those of `ids`, or if that is null those that fit `filter`. */
export interface Selected {
  readonly ids: readonly number[] | null;
  readonly filter: MessageFilter;
}

const FILTER_FIELDS = {
  state: (value: unknown) => oneOf(value, 'state', MESSAGE_STATES),
  priorityMin: (value: unknown) => whole(value, 'priorityMin', 0, LIMITS.priorityMax),
  priorityMax: (value: unknown) => whole(value, 'priorityMax', 0, LIMITS.priorityMax),
  idMin: (value: unknown) => whole(value, 'idMin', 0, ID_MAX),
  idBelow: (value: unknown) => whole(value, 'idBelow', 0, ID_MAX),
  reason: (value: unknown) => oneOf(value, 'reason', DEAD_LETTER_REASONS),
  from: (value: unknown) => name(value, 'from'),
  headers: parseHeaders,
} as const satisfies { readonly [K in keyof MessageFilter]-?: (value: unknown) => MessageFilter[K] };

/** A selection as it stands in a frame or in the body of a request. Throws INVALID_ARGUMENT with `details.field`. */
export function parseSelection(value: unknown): Selected {
  const given = map(value, 'selection');
  const filter: Record<string, unknown> = {};
  let ids: number[] | null = null;
  for (const [field, wanted] of Object.entries(given)) {
    // Whoever gives ids that are none wants no filter, and not everything.
    if (field === 'ids') {
      if (wanted === null || wanted === undefined) throw invalid('ids', wanted, `1 to ${LIMITS.messageIdsMax} ids`);
      ids = list(wanted, 'ids', LIMITS.messageIdsMax).map((id) => whole(id, 'ids', 1, ID_MAX));
      if (ids.length === 0) throw invalid('ids', 'an empty list', `1 to ${LIMITS.messageIdsMax} ids`);
    } else if (Object.hasOwn(FILTER_FIELDS, field)) {
      if (wanted === null || wanted === undefined) continue;
      filter[field] = FILTER_FIELDS[field as keyof typeof FILTER_FIELDS](wanted);
    } else {
      throw invalid(field.slice(0, 200), 'an unknown field', `one of ids, ${Object.keys(FILTER_FIELDS).join(', ')}`);
    }
  }
  if (ids !== null && Object.keys(filter).length > 0) throw invalid('ids', 'given with a filter', 'ids or a filter');
  return { ids, filter };
}

export type MessageActOp = keyof typeof MESSAGE_ACTS;

/** What a request about messages begins with: its number, the queue, the selection, and where a step or a page begins. */
function start(
  session: Session,
  request: number,
  fields: Fields,
): Omit<MessageActCommand, 'act' | 'type' | 'dryRun'> & { readonly queue: string } {
  return {
    session: session.number,
    request,
    queue: name(fields[0], 'queue'),
    ...parseSelection(fields[1]),
    after: fields[2] === null || fields[2] === undefined ? 0 : whole(fields[2], 'after', 0, ID_MAX),
  };
}

function show(withBodies: boolean, limitMax: number) {
  return (session: Session, request: number, fields: Fields): void => {
    const limit = whole(fields[3], 'limit', 1, limitMax);
    const command: MessageListCommand = { type: 'message-list', ...start(session, request, fields), limit, withBodies };
    if (command.ids !== null && command.ids.length > limitMax)
      throw invalid('ids', command.ids.length, `at most ${limitMax} ids`);
    session.context.broker.submit(command);
  };
}

function act(op: MessageActOp) {
  return (session: Session, request: number, fields: Fields): void => {
    const options = map(fields[3], 'options');
    const given = parseAct(op, options, session.context.settings);
    const dryRun = flag(options.dryRun, 'dryRun');
    if (options.to !== undefined && options.to === fields[0]) throw invalid('to', options.to, 'another queue');
    session.context.broker.submit({
      type: 'message-act',
      ...start(session, request, fields),
      dryRun,
      ...given,
    });
  };
}

/** MESSAGE_REVOKE names a queue, or ids of messages in whichever queues, of which each has to be allowed. */
export function messageRevoke(session: Session, request: number, fields: Fields): void {
  if (fields[0] !== null && fields[0] !== undefined) return revokeIn(session, request, fields);
  const options = map(fields[3], 'options');
  const given = parseAct('MESSAGE_REVOKE', options, session.context.settings);
  const { ids, filter } = parseSelection(fields[1]);
  if (ids === null) throw invalid('ids', ids, 'ids, or a queue');
  const { broker } = session.context;
  for (const id of ids) {
    const queue = broker.queueOf(session.namespace, id);
    if (queue !== null) session.identity.assertMay('configure', queue, 'MESSAGE_REVOKE');
  }
  const dryRun = flag(options.dryRun, 'dryRun');
  const common = { type: 'message-act', session: session.number, request, queue: null, after: 0 } as const;
  broker.submit({ ...common, ids, filter, dryRun, ...given });
}

/**
 * What is done, from the options of a request. Throws INVALID_ARGUMENT with `details.field`, also for an option that the act does not have; for a result
 * beyond `limits` BODY_TOO_LARGE.
 */
export function parseAct(
  op: MessageActOp,
  options: Readonly<Record<string, unknown>>,
  limits: PayloadLimits,
): MessageAct {
  const known = OPTIONS[op];
  for (const [option, value] of Object.entries(options))
    if (value !== undefined && value !== false && value !== null && !known.includes(option))
      throw invalid(option.slice(0, 200), 'an option that it does not have', `one of ${known.join(', ')}`);
  return MESSAGE_ACTS[op](options, limits);
}

const OPTIONS: Readonly<Record<MessageActOp, readonly string[]>> = {
  MESSAGE_MOVE: ['to', 'force', 'dryRun'],
  MESSAGE_DROP: ['force', 'dryRun'],
  MESSAGE_RETRY: ['dryRun'],
  MESSAGE_PRIORITY: ['priority', 'dryRun'],
  MESSAGE_REDRIVE: ['dryRun'],
  MESSAGE_REVOKE: ['contentType', 'body', 'terminate', 'dryRun'],
};

const MESSAGE_ACTS = {
  MESSAGE_MOVE: (options) => ({ act: 'move', to: name(options.to, 'to'), force: flag(options.force, 'force') }),
  MESSAGE_DROP: (options) => ({ act: 'drop', force: flag(options.force, 'force') }),
  MESSAGE_RETRY: () => ({ act: 'retry' }),
  MESSAGE_PRIORITY: (options) => ({
    act: 'priority',
    priority: whole(options.priority, 'priority', 0, LIMITS.priorityMax),
  }),
  MESSAGE_REDRIVE: () => ({ act: 'redrive' }),
  MESSAGE_REVOKE: (options, limits) => ({
    act: 'revoke',
    terminate: flag(options.terminate, 'terminate'),
    result: resultOf(options, limits),
  }),
} as const satisfies Record<string, (options: Readonly<Record<string, unknown>>, limits: PayloadLimits) => MessageAct>;

/** The result of whatever is revoked, as a frame with one result: that is how results stand in the journal. */
function resultOf({ contentType, body }: Readonly<Record<string, unknown>>, limits: PayloadLimits): CompleteBatch {
  const writer = new FrameWriter(256);
  const ranges = new TagRanges();
  ranges.add(1);
  const given = contentType === null || contentType === undefined ? null : text(contentType, 'contentType');
  writeComplete(writer, 1, ranges, [{ ttlMs: 0, contentType: given, body: bytes(body, 'body') }]);
  const result = new CompleteBatch().scan(new FrameReader().open(writer.copy()), limits);
  const { problem } = result;
  if (problem === null) return result;
  throw new LovageError(problem.code, `Cannot revoke with this result: its ${problem.field} is out of range`, {
    details: { field: problem.field },
  });
}

export const messageList = show(false, LIMITS.pageMax);
export const messagePeek = show(true, LIMITS.peekMax);
export const messageMove = act('MESSAGE_MOVE');
export const messageDrop = act('MESSAGE_DROP');
export const messageRetry = act('MESSAGE_RETRY');
export const messagePriority = act('MESSAGE_PRIORITY');
export const messageRedrive = act('MESSAGE_REDRIVE');
const revokeIn = act('MESSAGE_REVOKE');
