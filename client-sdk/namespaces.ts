/** `client.namespaces`: give namespaces bounds, list them, and delete one with everything in it. */
import {
  assertName,
  CLIENT_OPS,
  LIMITS,
  type NamespaceInfo,
  type NamespaceSettings,
  parseNamespaceSettings,
} from '@lovage/protocol';
import { whole } from './options.js';
import type { Requests } from './requests.js';

const PAGE = { min: 1, max: LIMITS.pageMax, fallback: LIMITS.pageMax } as const;

/**
 * Namespaces of the broker, for clients of role admin; others are told FORBIDDEN. A namespace is there as soon as somebody uses it and needs not be set. Every
 * method rejects INVALID_NAME, and REQUEST_TIMEOUT, CONNECTION_LOST or CLIENT_CLOSED when there is no answer.
 */
export class Namespaces {
  readonly #requests: Requests;

  constructor(requests: Requests) {
    this.#requests = requests;
  }

  /**
   * Gives the namespace these bounds and no others: what is left out has none. What is there already stays, also beyond them. What does not fit is refused with
   * QUOTA_EXCEEDED, the name of the bound in `details.quota` or in the message. Rejects INVALID_ARGUMENT. Idempotent.
   */
  async set(name: string, settings: Partial<NamespaceSettings> = {}): Promise<NamespaceInfo> {
    const fields = [checked(name), parseNamespaceSettings(settings)];
    return (await this.#requests.send(
      `set namespace "${name}"`,
      CLIENT_OPS.NAMESPACE_SET,
      fields,
      true,
    )) as NamespaceInfo;
  }

  /** One page of the namespaces that are set or have queues, exchanges or rate limits, by name: at most `limit` (1-1,000, the default) behind `after`. */
  async list(options: { after?: string | undefined; limit?: number | undefined } = {}): Promise<NamespaceInfo[]> {
    const { after = null } = options;
    if (after !== null) assertName(after, 'after');
    const limit = whole('limit', options.limit, PAGE);
    const page = await this.#requests.send('list the namespaces', CLIENT_OPS.NAMESPACE_LIST, [after, limit], true);
    return (page as { namespaces: NamespaceInfo[] }).namespaces;
  }

  /**
   * Deletes the namespace: its queues with their messages, its bounds, and the tokens that are for it alone. Resolves with how many queues and messages went.
   * Rejects NAMESPACE_NOT_FOUND.
   */
  async delete(name: string): Promise<{ queues: number; messages: number }> {
    return (await this.#requests.send(
      `delete namespace "${name}"`,
      CLIENT_OPS.NAMESPACE_DELETE,
      [checked(name)],
      false,
    )) as { queues: number; messages: number };
  }
}

function checked(name: string): string {
  assertName(name, 'namespace');
  return name;
}
