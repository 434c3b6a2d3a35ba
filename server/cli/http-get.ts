/**
 * One GET to a broker's HTTP API. Not `fetch`, which refuses a list of ports that a broker may well listen on (6000, 6667, 10080) and takes longer to
 * load than the request takes.
 */
import { get as httpGet, type IncomingMessage } from 'node:http';
import { get as httpsGet } from 'node:https';
import { LovageError } from '@lovage/protocol';
import { type ClientSettings, readClientTls, type TlsFiles } from '../settings/index.js';

type GetSettings = Pick<ClientSettings, 'url' | 'token' | 'tlsCert' | 'tlsKey' | 'tlsCa'>;

const TIMEOUT_MS = 10_000;
const ANSWER_BYTES_MAX = 16_777_216;

/**
 * The JSON at `path` of the broker whose socket is at `url`. Throws CONNECT_FAILED, REQUEST_TIMEOUT, UNAUTHORIZED, or INVALID_ARGUMENT for every
 * other refusal.
 */
export async function getJson(settings: GetSettings, path: string): Promise<unknown> {
  const { url, token } = settings;
  const tls = readClientTls(settings);
  const { status, text } = await request(
    new URL(path, `${url.replace(/^ws/, 'http').replace(/\/$/, '')}/`),
    token,
    tls,
  ).catch((cause) => {
    throw unreachable(url, cause);
  });
  const answer = parsed(text);
  if (status === 200 && answer !== undefined) return answer;
  const reason = (answer as { error?: { message?: unknown } } | undefined)?.error?.message;
  const shown = typeof reason === 'string' ? reason : 'and the answer is not that of a Lovage broker';
  const code = status === 401 ? 'UNAUTHORIZED' : 'INVALID_ARGUMENT';
  throw new LovageError(code, `Cannot read from ${url}: HTTP ${status}, ${shown}`, { details: { status } });
}

async function request(
  target: URL,
  token: string | null,
  tls: TlsFiles | null,
): Promise<{ readonly status: number; readonly text: string }> {
  const get = target.protocol === 'https:' ? httpsGet : httpGet;
  const headers: Record<string, string> = token === null ? {} : { authorization: `Bearer ${token}` };
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    get(target, { ...tls, headers, agent: false, signal: AbortSignal.timeout(TIMEOUT_MS) }, resolve).on(
      'error',
      reject,
    );
  });
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > ANSWER_BYTES_MAX) throw new Error('the answer does not end');
    chunks.push(chunk);
  }
  return { status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString() };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function unreachable(url: string, cause: unknown): LovageError {
  const { name, code, message } = cause as { name?: string; code?: string; message?: string };
  if (name === 'AbortError' || name === 'TimeoutError') {
    return new LovageError('REQUEST_TIMEOUT', `Cannot read from ${url}: no answer in ${TIMEOUT_MS} ms`, { cause });
  }
  return new LovageError('CONNECT_FAILED', `Cannot connect to ${url}: ${code ?? message ?? 'no answer'}`, { cause });
}
