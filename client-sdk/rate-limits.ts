/** `client.rateLimits`: say how many messages of a name may be given out in a time, and change it while they wait. */
import { assertName, CLIENT_OPS, LIMITS, parseRate, type RateInput, type RateLimitInfo } from '@lovage/protocol';
import { whole } from './options.js';
import type { Requests } from './requests.js';

const PAGE = { min: 1, max: LIMITS.pageMax, fallback: LIMITS.pageMax } as const;

/**
 * Rate limits of the client's namespace. Messages come under one by the option `rateLimit` of `publish`, and with `rateKey` each key has the whole rate for
 * itself. A limit counts deliveries, of all consumers and queues together; what it holds back waits in the broker, in nobody's prefetch. A rate is `'100/s'`
 * (also per `m`, `h`, `d`) or `{ count, perMs, burst }`. Every method rejects INVALID_NAME, INVALID_ARGUMENT with `details.field`, FORBIDDEN, and
 * REQUEST_TIMEOUT, CONNECTION_LOST or CLIENT_CLOSED when there is no answer.
 */
export class RateLimits {
  readonly #requests: Requests;

  constructor(requests: Requests) {
    this.#requests = requests;
  }

  /** Says what the limit is; it outlives a restart of the broker. Idempotent; an override stays in force. Rejects TOO_MANY_RATE_LIMITS. */
  async declare(name: string, rate: RateInput): Promise<RateLimitInfo> {
    const fields = [checked(name), parseRate(rate)];
    return (await this.#send('declare', name, CLIENT_OPS.RATE_LIMIT_DECLARE, fields, true)) as RateLimitInfo;
  }

  /**
   * Puts another rate in its place, at once and for what waits already, until `null` ends that; the next `declare` of a program does not undo it. Idempotent.
   * Rejects TOO_MANY_RATE_LIMITS; with `null` RATE_LIMIT_NOT_FOUND.
   */
  async override(name: string, rate: RateInput | null): Promise<RateLimitInfo> {
    const fields = [checked(name), rate === null ? null : parseRate(rate)];
    return (await this.#send('override', name, CLIENT_OPS.RATE_LIMIT_OVERRIDE, fields, true)) as RateLimitInfo;
  }

  /** Takes the limit away, with its override; resolves with how many messages it held back, which may go now. Rejects RATE_LIMIT_NOT_FOUND. */
  async delete(name: string): Promise<{ waiting: number }> {
    const fields = [checked(name)];
    return (await this.#send('delete', name, CLIENT_OPS.RATE_LIMIT_DELETE, fields, false)) as { waiting: number };
  }

  /** One page of the limits, by name: at most `limit` (1-1,000, the default) behind `after`, the last name of the page before. */
  async list(options: { after?: string | undefined; limit?: number | undefined } = {}): Promise<RateLimitInfo[]> {
    const { after = null } = options;
    if (after !== null) assertName(after, 'after');
    const limit = whole('limit', options.limit, PAGE);
    const page = await this.#requests.send('list the rate limits', CLIENT_OPS.RATE_LIMIT_LIST, [after, limit], true);
    return (page as { rateLimits: RateLimitInfo[] }).rateLimits;
  }

  #send(verb: string, name: string, op: number, fields: readonly unknown[], isRepeatable: boolean): Promise<unknown> {
    return this.#requests.send(`${verb} rate limit "${name}"`, op, [...fields], isRepeatable);
  }
}

function checked(name: string): string {
  assertName(name, 'rateLimit');
  return name;
}
