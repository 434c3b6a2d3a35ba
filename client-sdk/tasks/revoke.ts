/** Which tasks are to be revoked, when they are not named by their handles. */
import { assertName, type HeaderValue, type MessageFilter } from '@lovage/protocol';
import { invalidArgument } from '../errors.js';
import type { RevokeOptions } from '../messages.js';
import { NAME_HEADER } from './task.js';

/** Everything given must fit; at least `name` or `queue`. */
export interface RevokeSelection
  extends RevokeOptions,
    Pick<MessageFilter, 'state' | 'priorityMin' | 'priorityMax' | 'idMin' | 'idBelow'> {
  /** Name of a task. */
  readonly name?: string | undefined;
  /** Headers that the sender gave, each with just this value: text, a number or a boolean. */
  readonly headers?: Readonly<Record<string, HeaderValue>> | undefined;
  /** Where they wait. Default: the queue of the task of that name. */
  readonly queue?: string | undefined;
}

/** The queue, and the filter of its messages. Throws INVALID_ARGUMENT or INVALID_NAME. */
export function filterOf(
  { name, headers, queue, state, priorityMin, priorityMax, idMin, idBelow }: RevokeSelection,
  queueOf: (name: string) => string,
): { readonly queue: string; readonly filter: MessageFilter } {
  if (name === undefined && queue === undefined) throw invalidArgument('name', name, 'the name of a task, or a queue');
  if (name !== undefined) assertName(name, 'name');
  if (headers !== undefined && (typeof headers !== 'object' || headers === null))
    throw invalidArgument('headers', headers, 'an object');
  const wanted = name === undefined ? headers : { ...headers, [NAME_HEADER]: name };
  return {
    queue: queue ?? queueOf(name!),
    filter: { state, priorityMin, priorityMax, idMin, idBelow, headers: wanted },
  };
}
