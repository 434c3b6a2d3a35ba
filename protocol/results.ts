// hot path
/**
 * What came of messages: results that the broker keeps, and RESULT, which tells them to whoever watches.
 *
 *     [77, [[id, status, ...]...]]
 *     status 0 done           contentType|nil, headers|nil, body
 *            1 not there      nothing: there is no message and no result of this id
 *            2 dead letter    reason: text
 */
import type { FrameReader } from './frame-reader.js';
import { LIMITS } from './limits.js';
import type { MessageInfo } from './messages.js';

/** The queue of each namespace in which results stand. What its settings keep, and how long, is kept; nobody is delivered any. */
export const RESULTS_QUEUE = 'lovage.results';

export const RESULT_STATUS = { DONE: 0, NOT_THERE: 1, DEAD: 2 } as const;

/** A message or result by its id, as MESSAGE_STATE tells it. */
export interface MessageWhereabouts extends MessageInfo {
  /** Where it stands; `lovage.results` for a result. */
  readonly queue: string;
  /** What its handler has told of it, if it has told anything: only where a single id is asked for, by whoever may read results. */
  readonly note?: Note;
}

/** How far a handler is, as it stands on the wire. */
export type Progress = readonly [contentType: string | null, body: Uint8Array];

/** What a handler tells of a message before it is done. */
export interface Note {
  /** Null for none. */
  readonly progress: Progress | null;
  /** Lines for people, the oldest first. */
  readonly log: readonly string[];
}

/** One result of a RESULT frame; the body is a view of it. */
export interface WireResult {
  readonly id: number;
  readonly status: number;
  readonly contentType: string | null;
  readonly body: Uint8Array | null;
  /** Of a dead letter. */
  readonly reason: string | null;
}

/** Reads a RESULT and hands over each entry. Throws BAD_FRAME. */
export function readResults(reader: FrameReader, visit: (result: WireResult) => void): void {
  const fields = reader.arrayHeader('RESULT', 64);
  if (fields < 2) throw reader.bad('RESULT with 2 fields');
  reader.uint('op');
  const count = reader.arrayHeader('results', 0xffff_ffff);
  for (let i = 0; i < count; i++) visit(readResult(reader));
  for (let extra = 2; extra < fields; extra++) reader.skip('an unknown field');
  reader.end();
}

function readResult(reader: FrameReader): WireResult {
  const fields = reader.arrayHeader('result', 64);
  if (fields < 2) throw reader.bad('a result of 2 fields');
  const id = reader.uint('id');
  const status = reader.uint('status');
  if (status === RESULT_STATUS.DONE && fields >= 5) {
    const contentType = reader.strOrNil('contentType', LIMITS.contentTypeLengthMax);
    reader.skipHeaders();
    const body = reader.bin('body');
    for (let extra = 5; extra < fields; extra++) reader.skip('an unknown field');
    return { id, status, contentType, body, reason: null };
  }
  const reason = status === RESULT_STATUS.DEAD && fields >= 3 ? reader.str('reason', 100) : null;
  for (let extra = reason === null ? 2 : 3; extra < fields; extra++) reader.skip('an unknown field');
  return { id, status, contentType: null, body: null, reason };
}
