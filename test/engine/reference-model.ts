/**
 * What the engine promises, slow and plain: objects in maps, sorted when somebody asks. It decides nothing that the promises leave open (which of
 * several consumers gets a message): there it takes the engine's choice and says whether it was allowed.
 *
 *     a command ─► the model changes ─► it expects answers, exactly
 *                                   ─► it checks every delivery (P3, P4, P5), and asks for more until nobody can be served
 */
import assert from 'node:assert/strict';
import type { Command } from '../../server/engine/command.js';
import { noTotals } from '../../server/engine/queue.js';
import type { EngineOptions, EngineState } from '../../server/engine/state.js';
import { sorted, spread } from './model/answers.js';
import type { CommandOf, ModelQueue } from './model/entities.js';
import { ModelExchanges } from './model/exchanges.js';
import { ModelFlow } from './model/flow.js';
import { ModelMessageActs } from './model/message-acts.js';
import { ModelMessages } from './model/messages.js';
import { isFullOfQueues, ModelNamespaces } from './model/namespaces.js';
import { ModelPublishing } from './model/publishing.js';
import { ModelQueues } from './model/queues.js';
import { ModelRateLimits } from './model/rates.js';
import { ModelResults } from './model/results.js';
import { ModelSessions } from './model/sessions.js';
import { ModelSettling } from './model/settling.js';
import { ModelState } from './model/state.js';
import { ModelTokens } from './model/tokens.js';
import type { Effect } from './recorder.js';

type Handlers = { readonly [T in Command['type']]: (command: CommandOf<T>, tableSize: number) => void };

export class ReferenceModel extends ModelState {
  readonly #messages = new ModelMessages(this);
  readonly #flow = new ModelFlow(this, this.#messages);
  readonly #queues = new ModelQueues(this, this.#messages, this.#flow);
  readonly #sessions = new ModelSessions(this, this.#messages, this.#flow);
  readonly #settling = new ModelSettling(this, this.#messages, this.#flow);
  readonly #publishing = new ModelPublishing(this, this.#messages, this.#flow);
  readonly #results = new ModelResults(this, this.#messages, this.#settling, this.#publishing);
  readonly #messageActs = new ModelMessageActs(this, this.#messages, this.#flow, this.#results);
  readonly #exchanges = new ModelExchanges(this);
  readonly #tokens = new ModelTokens(this);
  readonly #namespaces = new ModelNamespaces(this, this.#queues);
  readonly #rateLimits = new ModelRateLimits(this, this.rates, this.#flow);
  readonly #handlers: Handlers;

  constructor(options: EngineOptions) {
    super(options);
    this.#handlers = this.#table();
  }

  /** Carries out a command and compares. `tableSize`: slots in use before it, which decides whether there is room. */
  apply(command: Command, nowMs: number, effects: readonly Effect[], tableSize: number): void {
    this.begin(nowMs, effects);
    const before = this.#slots();
    this.#time();
    // What ended by its time has made room.
    const left = tableSize - before + this.#slots();
    (this.#handlers[command.type] as (command: Command, tableSize: number) => void)(command, left);
    this.#end(effects);
  }

  tick(nowMs: number, effects: readonly Effect[]): void {
    this.begin(nowMs, effects);
    this.#time();
    this.#sessions.expire();
    this.#checkDenied();
    this.#queues.expire();
    this.#queues.sweep();
    this.#end(effects);
  }

  /** The broker was killed and has replayed its journal. */
  crash(nowMs: number, engine: EngineState): void {
    this.clock(nowMs);
    for (const message of [...this.messages.values()]) {
      if (message.isMemory || message.queue.isDeleted) this.messages.delete(message.id);
      else if (message.state === 'leased') {
        message.state = 'waiting';
        message.lease = null;
      }
      message.redelivered = true;
    }
    for (const session of [...this.sessions.values()]) {
      if (session.isRecorded) this.#sessions.forgetUnwritten(session);
      else this.sessions.delete(session.number);
    }
    for (const queue of this.queues.values()) this.#restart(queue, engine);
    this.rates.crash();
    for (const { totals } of this.exchanges.exchanges) Object.assign(totals, { published: 0, unrouted: 0 });
    for (const producer of this.producers.values())
      for (const [seq, taken] of [...producer.taken]) if (taken.isMemory) producer.taken.delete(seq);
    this.sweeps = [];
    this.watches.clear();
    for (const { leases } of this.sessions.values()) for (const lease of leases.values()) lease.note = null;
    assert.ok(engine.nextId >= this.nextId, 'ids that were given out are not given again');
    this.nextId = engine.nextId;
    for (const { number } of this.sessions.values())
      assert.ok(engine.nextSession > number, 'session numbers are not used twice');
    this.nextSession = engine.nextSession;
    for (const number of engine.sessions.keys()) this.#sessions.awaitResume(this.sessions.get(number)!);
  }

  info(queue: ModelQueue): Record<string, unknown> {
    return this.#queues.info(queue);
  }

  /** ms of the earliest thing that must happen, Infinity if nothing waits. */
  nextDeadline(): number {
    let nextMs = this.sweeps.length > 0 ? this.nowMs : Number.POSITIVE_INFINITY;
    for (const message of this.messages.values()) {
      const { state, dueMs, expiryMs } = message;
      const opensAt = this.rates.opensAt(message) ?? Number.POSITIVE_INFINITY;
      if (state === 'waiting' && opensAt > this.nowMs) nextMs = Math.min(nextMs, opensAt);
      if (state === 'delayed') nextMs = Math.min(nextMs, dueMs);
      if ((state === 'waiting' || state === 'delayed') && expiryMs !== 0) nextMs = Math.min(nextMs, expiryMs);
    }
    for (const session of this.sessions.values())
      if (!session.isAttached) nextMs = Math.min(nextMs, session.graceEndMs);
    for (const queue of this.queues.values()) nextMs = Math.min(nextMs, this.#queues.deadline(queue));
    return nextMs;
  }

  /** The bytes of a delivery have left: of ack mode none, nothing is left to take back. */
  sent(session: number, tag: number): void {
    const lease = this.sessions.get(session)?.leases.get(tag);
    if (lease !== undefined) lease.isUnsent = false;
  }

  /** What is left open to the engine: which index a queue has. */
  follow(engine: EngineState): void {
    for (const queue of this.queues.values()) queue.index = engine.queue(queue.namespace, queue.name)?.index ?? -1;
  }

  #restart(queue: ModelQueue, engine: EngineState): void {
    queue.purgeBelowId = 0;
    queue.active = null;
    queue.usedMs = this.nowMs;
    Object.assign(queue.totals, noTotals());
    for (const [key, entry] of [...queue.dedup]) if (entry.isMemory) queue.dedup.delete(key);
    // Replay delays messages in the order of their records.
    const slots: number[] = [];
    const { table } = engine;
    const { delayedHead } = engine.queue(queue.namespace, queue.name)!;
    for (let slot = delayedHead; slot >= 0; slot = table.next[slot]!) slots.push(slot);
    for (const slot of slots.reverse()) this.messages.get(table.id[slot]!)!.delayTurn = this.nextTurn();
  }

  /** Messages that are there, and those of ack mode none whose bytes have not left. */
  #slots(): number {
    let count = this.messages.size;
    for (const { leases } of this.sessions.values())
      for (const { isUnsent } of leases.values()) count += Number(isUnsent);
    return count;
  }

  /** What is due by now is done before anything else. */
  #time(): void {
    this.#messages.time();
    this.#flow.flow();
    this.#checkDenied();
  }

  /** Asked before queues that nobody uses make room again. */
  #checkDenied(): void {
    if (this.deniedIn !== null) {
      const isFull = this.queues.size >= this.options.queuesMax || isFullOfQueues(this, this.deniedIn);
      assert.ok(isFull, 'a dead letter queue is made if there is room');
    }
    this.deniedIn = null;
  }

  #end(effects: readonly Effect[]): void {
    this.#results.end();
    assert.deepEqual(this.deliveries, [], 'nothing is delivered that should not be');
    this.#checkDenied();
    this.#flow.beginRecalls();
    for (const effect of effects) if (effect.type === 'recall') this.#flow.checkRecall(effect);
    assert.deepEqual([...this.calledBack], [], 'what is taken away is recalled');
    const answers = effects.filter((effect) => effect.type !== 'deliver' && effect.type !== 'recall');
    assert.deepEqual(sorted(answers.flatMap(spread)), sorted(this.answers.flatMap(spread)));
  }

  #table(): Handlers {
    const sessions = this.#sessions;
    const queues = this.#queues;
    const exchange = (command: Parameters<ModelExchanges['apply']>[0]): void => this.#exchanges.apply(command);
    const settle = (command: Parameters<ModelSettling['settle']>[0]): void => this.#settling.settle(command);
    return {
      open: (command) => sessions.open(command),
      detach: ({ session }) => sessions.detach(this.sessions.get(session)!),
      close: ({ session }) => sessions.close(this.sessions.get(session)!),
      publish: (command, tableSize) => this.#publishing.publish(command, tableSize),
      consume: (command) => sessions.consume(command),
      cancel: (command) => sessions.cancel(command),
      prefetch: (command) => sessions.prefetch(command),
      start: settle,
      ack: settle,
      nack: settle,
      release: settle,
      complete: (command, tableSize) => this.#results.complete(command, tableSize),
      'result-watch': (command) => this.#results.watch(command),
      'results-archived': (command) => this.#results.archived(command),
      'result-unwatch': (command) => this.#results.unwatch(command),
      note: (command) => this.#results.note(command),
      'message-state': (command) => this.#results.states(command),
      drained: (command) => sessions.drained(command),
      declare: (command) => queues.declare(command),
      delete: (command) => queues.delete(command),
      purge: (command) => queues.purge(command),
      pause: (command) => queues.pause(command, true),
      resume: (command) => queues.pause(command, false),
      inspect: (command) => queues.inspect(command),
      list: (command) => queues.list(command),
      'message-list': (command) => this.#messageActs.list(command),
      'message-act': (command) => this.#messageActs.act(command),
      'exchange-declare': exchange,
      'exchange-delete': exchange,
      'exchange-list': exchange,
      bind: exchange,
      unbind: exchange,
      'binding-list': exchange,
      'token-create': (command) => this.#tokens.create(command),
      'token-list': (command) => this.#tokens.list(command),
      'token-revoke': (command) => this.#tokens.revoke(command),
      'namespace-set': (command) => this.#namespaces.set(command),
      'namespace-list': (command) => this.#namespaces.list(command),
      'namespace-delete': (command) => this.#namespaces.delete(command),
      'rate-limit-declare': (command) => this.#rateLimits.set(command),
      'rate-limit-override': (command) => this.#rateLimits.set(command),
      'rate-limit-delete': (command) => this.#rateLimits.delete(command),
      'rate-limit-list': (command) => this.#rateLimits.list(command),
    };
  }
}
