/** Who may ask, for HTTP sides without a broker behind them. */
import type { Desk } from '../../server/broker/desk.js';
import { TokenTable } from '../../server/engine/access.js';
import { Authority } from '../../server/session/authority.js';

export interface Door {
  readonly authority: Authority;
  readonly desk: Desk;
  readonly onAudit: () => void;
}

/** `token`: that of `--token`; without one everybody is let in. */
export function doorOf(token: string | null = null, nowMs: () => number = () => 1_000_000): Door {
  const clock = { wallMs: nowMs, monotonicMs: nowMs, setTimer: () => () => undefined };
  const authority = new Authority({ tokens: new TokenTable(), token, isOpen: true, clock });
  const ask = (): never => {
    throw new Error('Cannot ask: there is no broker');
  };
  return { authority, desk: { ask } as unknown as Desk, onAudit: () => undefined };
}
