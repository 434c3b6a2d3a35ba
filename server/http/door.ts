/**
 * What every request passes before its route sees it, in this order: headers that keep browsers careful, the Host allow-list, the token.
 * Routes that say `config: { isOpen: true }` skip the last two, because probes come by address and without a token.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { isHostAllowed } from '../settings/index.js';
import { HttpError } from './errors.js';
import { TokenGuard } from './token-guard.js';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** True for a route that needs neither an allowed Host nor a token. */
    isOpen?: boolean;
  }
}

export interface DoorOptions {
  readonly token: string | null;
  /** Names that the Host header may bear; null for any. */
  readonly allowedHosts: readonly string[] | null;
  /** ms of a clock that never runs back. */
  readonly nowMs: () => number;
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

/** Adds the door to all routes of `fastify`, those that do not exist included. */
export function guardDoor(fastify: FastifyInstance, { token, allowedHosts, nowMs }: DoorOptions): void {
  const guard = new TokenGuard(token);
  fastify.addHook('onRequest', async (request: FastifyRequest, reply: FastifyReply) => {
    reply.headers(SECURITY_HEADERS);
    if (request.routeOptions.config?.isOpen === true) return;
    if (!isHostAllowed(request.headers.host, allowedHosts)) throw new HttpError('HOST_NOT_ALLOWED');
    guard.check(request.headers.authorization, request.ip, nowMs());
  });
}
