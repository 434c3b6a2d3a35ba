/** NAMESPACE_SET, NAMESPACE_LIST and NAMESPACE_DELETE. */
import { LIMITS, LovageError, type NamespaceSettings, parseNamespaceSettings } from '@lovage/protocol';
import type { NamespaceDeleteCommand, NamespaceListCommand, NamespaceSetCommand } from '../engine/command.js';
import { type Fields, map, name, whole } from './fields.js';
import type { Identity } from './identity.js';
import type { Session } from './session.js';

/** Who asks, and where the answer goes. */
interface Asker {
  readonly identity: Identity;
  readonly session: number;
  readonly request: number;
}

/** Throws FORBIDDEN for an admin of one namespace: bounds are set from outside. */
export function namespaceSetCommand(
  { identity, session, request }: Asker,
  name: string,
  settings: NamespaceSettings,
): NamespaceSetCommand {
  assertBroad(identity, 'set');
  return { type: 'namespace-set', session, request, name, settings };
}

/** A page of the namespaces that the asker may see: its own, or all. */
export function namespaceListCommand(
  { identity, session, request }: Asker,
  page: { readonly after: string | null; readonly limit: number },
): NamespaceListCommand {
  return { type: 'namespace-list', session, request, only: identity.namespace, ...page };
}

/** Throws FORBIDDEN for an admin of one namespace. */
export function namespaceDeleteCommand({ identity, session, request }: Asker, name: string): NamespaceDeleteCommand {
  assertBroad(identity, 'delete');
  return { type: 'namespace-delete', session, request, name };
}

export function namespaceSet(session: Session, request: number, fields: Fields): void {
  const settings = parseNamespaceSettings(map(fields[1], 'settings'));
  session.context.broker.submit(namespaceSetCommand(asker(session, request), name(fields[0], 'namespace'), settings));
}

export function namespaceList(session: Session, request: number, fields: Fields): void {
  const after = fields[0] === null || fields[0] === undefined ? null : name(fields[0], 'after');
  const limit = whole(fields[1], 'limit', 1, LIMITS.pageMax);
  session.context.broker.submit(namespaceListCommand(asker(session, request), { after, limit }));
}

export function namespaceDelete(session: Session, request: number, fields: Fields): void {
  session.context.broker.submit(namespaceDeleteCommand(asker(session, request), name(fields[0], 'namespace')));
}

function assertBroad({ name, namespace }: Identity, verb: string): void {
  if (namespace === null) return;
  const message = `Cannot ${verb} a namespace: token "${name}" is for "${namespace}", expected one for all namespaces`;
  throw new LovageError('FORBIDDEN', message, { details: { right: 'admin' } });
}

function asker(session: Session, request: number): Asker {
  return { identity: session.identity, session: session.number, request };
}
