/** `client.tokens`: make, list and revoke tokens. */
import { assertName, CLIENT_OPS, LIMITS, parseTokenOptions, type TokenInfo, type TokenOptions } from '@lovage/protocol';
import { whole } from './options.js';
import type { Requests } from './requests.js';

/** What `create` tells. */
export interface CreatedToken {
  readonly token: TokenInfo;
  /** What a client gives as `token` to `connect`. The broker keeps only its hash: this is the only time that it is told. */
  readonly secret: string;
}

const PAGE = { min: 1, max: LIMITS.pageMax, fallback: LIMITS.pageMax } as const;

/**
 * Tokens of the broker, for clients of role admin; others are told FORBIDDEN. An admin of one namespace sees and makes those of this namespace. Every method rejects
 * REQUEST_TIMEOUT, CONNECTION_LOST or CLIENT_CLOSED when there is no answer.
 */
export class Tokens {
  readonly #requests: Requests;

  constructor(requests: Requests) {
    this.#requests = requests;
  }

  /**
   * Makes a token. The first one of a broker has to be of role admin for all namespaces, and ends open access: clients without a token are closed with
   * UNAUTHORIZED, but for the one that made it. Rejects INVALID_NAME, INVALID_ARGUMENT, and QUOTA_EXCEEDED when there are 10,000.
   */
  async create(options: TokenOptions): Promise<CreatedToken> {
    const fields = parseTokenOptions(options);
    return (await this.#requests.send(
      `make token "${fields.name}"`,
      CLIENT_OPS.TOKEN_CREATE,
      [fields],
      false,
    )) as CreatedToken;
  }

  /** One page of the tokens, by id: at most `limit` (1-1,000, the default) behind `after`, the last id of the page before. */
  async list(options: { after?: string | undefined; limit?: number | undefined } = {}): Promise<TokenInfo[]> {
    const { after = null } = options;
    if (after !== null) assertName(after, 'after');
    const limit = whole('limit', options.limit, PAGE);
    const page = await this.#requests.send('list the tokens', CLIENT_OPS.TOKEN_LIST, [after, limit], true);
    return (page as { tokens: TokenInfo[] }).tokens;
  }

  /**
   * Ends a token at once: clients that came in with it are closed with UNAUTHORIZED. Rejects TOKEN_NOT_FOUND, and INVALID_ARGUMENT for the last
   * one of role admin for all namespaces.
   */
  async revoke(id: string): Promise<void> {
    assertName(id, 'id');
    await this.#requests.send(`revoke token "${id}"`, CLIENT_OPS.TOKEN_REVOKE, [id], false);
  }
}
