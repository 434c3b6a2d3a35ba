/** The HTTP side of the one port: probes, metrics and the API. The gateway hangs the WebSocket door on the same server. */
import type { Server } from 'node:http';
import type { Server as TlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { LovageError } from '@lovage/protocol';
import {
  fastify as createFastify,
  type FastifyBaseLogger,
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  LogController,
} from 'fastify';
import type { Desk } from '../broker/desk.js';
import type { BrokerView } from '../broker/view.js';
import type { AuditSink } from '../session/audit.js';
import type { Authority } from '../session/authority.js';
import type { TlsFiles } from '../settings/index.js';
import { addApiRoutes, assertSeesAll } from './api-routes.js';
import { guardDoor, SECURITY_HEADERS } from './door.js';
import { asHttpError, HTTP_ERRORS, HttpError, type HttpErrorCode } from './errors.js';
import { addExchangeRoutes } from './exchange-routes.js';
import { addHealthRoutes } from './health-routes.js';
import { addMessageRoutes } from './message-routes.js';
import { createMetrics } from './metrics.js';
import { addNamespaceRoutes } from './namespace-routes.js';
import { Office } from './office.js';
import { addQueueRoutes } from './queue-routes.js';
import { addRateLimitRoutes } from './rate-limit-routes.js';
import { addTokenRoutes } from './token-routes.js';

export interface HttpOptions {
  readonly view: BrokerView;
  /** Who may ask. */
  readonly authority: Authority;
  /** Where what changes something is carried out. */
  readonly desk: Desk;
  /** Is told of every administrative act. */
  readonly onAudit: AuditSink;
  /** Names that the Host header may bear, as `allowedHosts(settings)` gives them; null for any. */
  readonly allowedHosts: readonly string[] | null;
  /** Certificates to listen with; null for plain HTTP. */
  readonly tls: TlsFiles | null;
  /** A pino logger; nothing is logged without one. */
  readonly log?: FastifyBaseLogger;
}

export interface Http {
  readonly fastify: FastifyInstance;
  /** Emits `upgrade` for WebSocket handshakes. */
  readonly server: Server;
  /** Starts to listen and gives the port. Throws ADDRESS_IN_USE, or INVALID_SETTING for an address that is not this machine's. */
  listen(at: { readonly host: string; readonly port: number }): Promise<{ readonly port: number }>;
  /** From now on new connections are made with these certificates; those that stand go on. Only for one that was made with `tls`. */
  renew(files: TlsFiles): void;
  /** Stops listening, lets running requests end and closes idle connections. Idempotent. */
  close(): Promise<void>;
}

/** Bytes of a request's body: the API takes none, so this is only room for a client's mistake. */
const BODY_BYTES_MAX = 65_536;
const HEADER_BYTES_MAX = 16_384;
const REQUEST_TIMEOUT_MS = 10_000;
/** Characters of a name in a path: 200, each of which may be written as three. */
const PARAMETER_LENGTH_MAX = 600;

/** No route has a schema (fields are checked by `query.ts` and the routes), and what compiles them takes 40 ms to load. */
const NO_COMPILERS = { buildValidator: refuseSchema, buildSerializer: refuseSchema };

function refuseSchema(): never {
  throw new Error('Cannot compile a schema: HTTP routes have none');
}

/** Builds the HTTP side; `listen` opens it. */
export function createHttp({ view, authority, desk, onAudit, allowedHosts, tls, log }: HttpOptions): Http {
  const fastify: FastifyInstance = createFastify({
    schemaController: { compilersFactory: NO_COMPILERS },
    ...(log === undefined ? { logger: false } : { loggerInstance: log }),
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: BODY_BYTES_MAX,
    requestTimeout: REQUEST_TIMEOUT_MS,
    routerOptions: { maxParamLength: PARAMETER_LENGTH_MAX },
    ...serverOptions(tls),
    clientErrorHandler: answerMalformed,
    frameworkErrors: (error, _request, reply) => {
      answerError(error, reply as unknown as FastifyReply);
    },
  });
  fastify.setErrorHandler((error: FastifyError, request, reply) => {
    const answer = answerError(error, reply);
    if (answer.code === 'INTERNAL_ERROR') request.log.error({ err: error }, 'request failed');
  });
  fastify.setNotFoundHandler((_request, reply) => {
    answerError(new HttpError('NOT_FOUND'), reply);
  });
  guardDoor(fastify, { authority, view, allowedHosts });
  addHealthRoutes(fastify, view);
  addApiRoutes(fastify, view);
  const office = new Office({ view, desk, onAudit });
  addQueueRoutes(fastify, office);
  addMessageRoutes(fastify, office);
  addExchangeRoutes(fastify, office);
  addRateLimitRoutes(fastify, office);
  addTokenRoutes(fastify, office);
  addNamespaceRoutes(fastify, office);
  const metrics = createMetrics(view);
  fastify.get('/metrics', async (request, reply) => {
    assertSeesAll(request.identity, 'the metrics');
    return reply.type(metrics.contentType).send(await metrics.page());
  });
  return {
    fastify,
    server: fastify.server,
    listen: (at) => listen(fastify, at),
    renew: (files) => (fastify.server as TlsServer).setSecureContext(files),
    close: () => fastify.close(),
  };
}

/** Options of Node's own server: bounds, and certificates. A client that shows none, where one is wanted, does not get past the handshake. */
function serverOptions(tls: TlsFiles | null): object {
  const bounds = { maxHeaderSize: HEADER_BYTES_MAX, headersTimeout: REQUEST_TIMEOUT_MS };
  if (tls === null) return { http: bounds };
  return { https: { ...bounds, ...tls, minVersion: 'TLSv1.2', requestCert: tls.ca !== undefined } };
}

function answerError(error: unknown, reply: FastifyReply): HttpError {
  const answer = asHttpError(error);
  // Once more, because an address that cannot be decoded is answered before any hook runs.
  reply.headers(SECURITY_HEADERS);
  if (answer.code === 'UNAUTHORIZED') reply.header('www-authenticate', 'Bearer');
  const retryAfterMs = answer.details?.retryAfterMs;
  if (typeof retryAfterMs === 'number') reply.header('retry-after', String(Math.ceil(retryAfterMs / 1_000)));
  reply.code(answer.status).send(answer.body);
  return answer;
}

const MALFORMED: ReadonlyMap<string, HttpErrorCode> = new Map<string, HttpErrorCode>([
  ['ERR_HTTP_REQUEST_TIMEOUT', 'REQUEST_TIMEOUT'],
  ['HPE_HEADER_OVERFLOW', 'HEADERS_TOO_LARGE'],
]);

/** Answers what is not HTTP by hand, because no request exists yet, and hangs up. */
function answerMalformed(error: Error & { code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || socket.destroyed) return;
  const answer = new HttpError(MALFORMED.get(error.code ?? '') ?? 'BAD_REQUEST');
  const body = JSON.stringify(answer.body);
  if (socket.writable) {
    const head = `HTTP/1.1 ${HTTP_ERRORS[answer.code].status} ${answer.code}\r\nConnection: close\r\n`;
    socket.write(`${head}Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
  }
  socket.destroySoon();
}

const LISTEN_ERRORS: Readonly<Record<string, (at: string) => LovageError>> = {
  EADDRINUSE: (at) =>
    new LovageError(
      'ADDRESS_IN_USE',
      `Cannot listen on ${at}: another process does, expected a free port (stop that process, or give another --port)`,
    ),
  EADDRNOTAVAIL: (at) => addressRefused(at, 'this machine does not have the address'),
  ENOTFOUND: (at) => addressRefused(at, 'the host name is not known'),
  EACCES: (at) => addressRefused(at, 'the system does not allow this port'),
};

async function listen(fastify: FastifyInstance, { host, port }: { readonly host: string; readonly port: number }) {
  try {
    await fastify.listen({ host, port, listenTextResolver: (address) => `listening at ${address}` });
  } catch (cause) {
    const known = LISTEN_ERRORS[(cause as NodeJS.ErrnoException).code ?? ''];
    throw known === undefined ? cause : known(`${host}:${port}`);
  }
  return { port: (fastify.server.address() as AddressInfo).port };
}

function addressRefused(at: string, state: string): LovageError {
  return new LovageError(
    'INVALID_SETTING',
    `Cannot listen on ${at}: ${state}, expected an address and port to listen on`,
    {
      details: { setting: 'host' },
    },
  );
}
