/** START, ACK, NACK and RELEASE. */
import type { ErrorCode, FailureCause } from '@lovage/protocol';
import type { NackCommand, SettleCommand } from '../../../server/engine/command.js';
import type { ModelConsumer, ModelLease, ModelMessage, ModelSession } from './entities.js';
import type { ModelFlow } from './flow.js';
import type { ModelMessages } from './messages.js';
import type { ModelState } from './state.js';

type Settlement =
  | SettleCommand
  | NackCommand
  | {
      readonly type: 'complete';
      readonly session: number;
      readonly settleSeq: number;
      readonly ranges: readonly number[];
    };

export class ModelSettling {
  readonly #state: ModelState;
  readonly #messages: ModelMessages;
  readonly #flow: ModelFlow;
  /** Old tags of the frame at hand that were asked for: a second time they are settled. */
  readonly #forgiven = new Set<number>();

  constructor(state: ModelState, messages: ModelMessages, flow: ModelFlow) {
    this.#state = state;
    this.#messages = messages;
    this.#flow = flow;
  }

  /** `keep` is told the messages of a COMPLETE, each with its place among the tags; `admit` says why a delivery may not be settled. */
  settle(
    command: Settlement,
    keep: (done: readonly (readonly [ModelMessage, number])[]) => void = () => undefined,
    admit: (message: ModelMessage | null) => ErrorCode | null = () => null,
  ): void {
    const done: [ModelMessage, number][] = [];
    let before = 0;
    this.#forgiven.clear();
    const session = this.#state.sessions.get(command.session)!;
    const { settleSeq, ranges } = command;
    const released = new Set<ModelConsumer>();
    if (session.settleSeq === null || settleSeq > session.settleSeq) {
      for (let i = 0, count = 0; i < ranges.length; i += 2, before += count) {
        const first = ranges[i]!;
        count = ranges[i + 1]!;
        if (first + count - 1 > session.lastTag) {
          this.#state.answer({
            type: 'refused',
            session: session.number,
            settleSeq,
            firstTag: first,
            count,
            code: 'UNKNOWN_TAG',
          });
          continue;
        }
        for (let tag = first; tag < first + count; tag++) {
          const message = this.#settleTag(session, command, tag, released, admit);
          if (message !== null) done.push([message, before + tag - first]);
        }
      }
      session.settleSeq = settleSeq;
    }
    keep(done);
    this.#state.answer({ type: 'settled', session: session.number, settleSeq });
    this.#state.yielding = released;
    this.#flow.flow();
    this.#state.yielding = new Set();
    this.#flow.flow();
  }

  /** Returns a message that has its result now. */
  #settleTag(
    session: ModelSession,
    command: Settlement,
    tag: number,
    released: Set<ModelConsumer>,
    admit: (message: ModelMessage | null) => ErrorCode | null,
  ): ModelMessage | null {
    const lease = session.leases.get(tag);
    const refuse = (code: ErrorCode): void =>
      this.#state.answer({
        type: 'refused',
        session: session.number,
        settleSeq: command.settleSeq,
        firstTag: tag,
        count: 1,
        code,
      });
    if (lease === undefined) {
      const isKnown = session.revoked.delete(tag);
      session.calledOff.delete(tag);
      const isSuperseded = isKnown || this.#isToldSuperseded(session, tag);
      if (isKnown) this.#forgiven.add(tag);
      refuse(isSuperseded ? 'SUPERSEDED' : 'ALREADY_SETTLED');
      return null;
    }
    const { message, consumer } = lease;
    if (command.type === 'start') {
      this.#start(lease);
      return null;
    }
    if (command.type === 'release' && message?.state === 'started') {
      refuse('INVALID_ARGUMENT');
      return null;
    }
    const code = admit(message);
    if (code !== null) {
      refuse(code);
      return null;
    }
    this.#messages.endLease(lease);
    if (command.type === 'release') released.add(consumer);
    if (message === null) return null;
    if (command.type === 'release') this.#messages.giveBack(message, command.delayMs ?? 0);
    else if (command.type === 'nack') this.#nack(message, command);
    else if (command.type === 'complete') return message;
    else this.#messages.acked(message);
    return null;
  }

  #isToldSuperseded(session: ModelSession, tag: number): boolean {
    if (tag > session.forgottenTag || this.#forgiven.has(tag)) return false;
    this.#forgiven.add(tag);
    return this.#state.told.some(
      (effect) =>
        effect.type === 'refused' &&
        effect.code === 'SUPERSEDED' &&
        effect.firstTag <= tag &&
        tag < effect.firstTag + effect.count,
    );
  }

  #start(lease: ModelLease): void {
    const { message, consumer, session } = lease;
    if (message === null || message.state !== 'leased') return;
    message.state = 'started';
    lease.hasStarted = true;
    message.attempts++;
    if (consumer.ack === 'early') {
      this.#messages.acked(message);
      lease.message = null;
    } else if (!message.isMemory) {
      session.isRecorded = true;
    }
  }

  #nack(message: ModelMessage, { requeue, delayMs, reason, cause }: NackCommand): void {
    if (reason !== null) this.#log(message, cause, reason);
    if (!requeue) return this.#messages.giveUp(message, 'rejected');
    if (message.state === 'leased') {
      message.state = 'started';
      message.attempts++;
    }
    const { backoffMsMin, backoffMsMax } = message.queue.settings;
    const backoffMs = Math.min(backoffMsMax, backoffMsMin * 2 ** (message.attempts - 1));
    this.#messages.giveBack(message, delayMs >= 0 ? delayMs : backoffMs);
  }

  /** The last five, their reasons cut at 200 characters, a character of two halves never in the middle. */
  #log(message: ModelMessage, cause: FailureCause, reason: string): void {
    const { crashes, failures } = message.attemptLog;
    let kept = '';
    for (const character of reason) {
      if (kept.length + character.length > 200) break;
      kept += character;
    }
    const attempt = message.attempts + (message.state === 'leased' ? 1 : 0);
    const failure = { attempt, cause, timeMs: this.#state.nowMs, reason: kept };
    message.attemptLog = {
      crashes: cause === 'crashed' ? crashes + 1 : crashes,
      failures: [...failures, failure].slice(-5),
    };
  }
}
