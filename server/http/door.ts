/**
 * What every request passes before its route sees it, in this order: headers that keep browsers careful, the Host allow-list, the token.
 * Routes that say `config: { isOpen: true }` skip the last two, because probes come by address and without a token.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { BrokerView } from '../broker/view.js';
import type { Authority } from '../session/authority.js';
import type { Identity } from '../session/identity.js';
import { isHostAllowed } from '../settings/index.js';
import { HttpError } from './errors.js';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** True for a route that needs neither an allowed Host nor a token. */
    isOpen?: boolean;
  }
  interface FastifyRequest {
    /** Who asks. */
    identity: Identity;
  }
}

export interface DoorOptions {
  readonly authority: Authority;
  readonly view: BrokerView;
  /** Names that the Host header may bear; null for any. */
  readonly allowedHosts: readonly string[] | null;
}

/** Headers of every answer. */
export const SECURITY_HEADERS = {
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
  'cache-control': 'no-store',
} as const;

const BEARER = /^Bearer ([\x21-\x7e]{1,512})$/i;

/** Adds the door to all routes of `fastify`, those that do not exist included. */
export function guardDoor(fastify: FastifyInstance, { authority, view, allowedHosts }: DoorOptions): void {
  // One object for all until each has its own: fastify wants the shape of a request to be known.
  fastify.decorateRequest('identity', null as unknown as Identity);
  fastify.addHook('onRequest', async (request: FastifyRequest, reply: FastifyReply) => {
    reply.headers(SECURITY_HEADERS);
    if (request.routeOptions.config?.isOpen === true) return;
    if (!isHostAllowed(request.headers.host, allowedHosts)) throw new HttpError('HOST_NOT_ALLOWED');
    if (!isSafe(request)) throw new HttpError('FORBIDDEN', 'Cannot change anything for a page of another site');
    const { authorization } = request.headers;
    // What is no Bearer token is a wrong one, and not a missing one.
    const token = authorization === undefined ? null : (BEARER.exec(authorization)?.[1] ?? '');
    // Which tokens there are is known when the journal is read.
    if (view.recoveredShare < 1 && !authority.hasOperator)
      throw new HttpError('NOT_READY', undefined, { recovered: view.recoveredShare });
    request.identity = authority.admit(token, request.ip);
  });
}

/** A page of another site may not change anything through its visitor's browser. Programs that are no browsers send no Origin. */
function isSafe({ method, headers: { origin, host } }: FastifyRequest): boolean {
  if (method === 'GET' || method === 'HEAD' || origin === undefined) return true;
  return URL.canParse(origin) && new URL(origin).host === host;
}
