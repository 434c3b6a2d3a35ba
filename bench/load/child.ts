/**
 * The main program of a load process. Its parent sends the role, then calls, each with a number; it answers with the number and what came out.
 *
 *     parent ── { role, target, options }          once
 *            ── { number, call: 'sample' } ──►
 *            ◄── { number, result } or { number, error }
 */
import { type RawClientOptions, RawConsumer, RawProducer } from '../limit/raw-clients.js';
import { Relay, type RelayOptions } from '../limit/relay.js';
import { monotonicMs } from '../run/monotonic-clock.js';
import { Consumer, type ConsumerOptions } from './consumer.js';
import type { DriverSession, Target } from './driver.js';
import { DRIVERS } from './drivers.js';
import { countFrames } from './frame-counter.js';
import { Idlers, type IdlersOptions } from './idlers.js';
import { PacedProducer, type PacedProducerOptions } from './paced-producer.js';
import { Producer, type ProducerOptions } from './producer.js';
import type { Calls, Role, Sample } from './role.js';

/** Options of each role. */
export interface RoleOptions {
  producer: ProducerOptions;
  paced: PacedProducerOptions;
  consumer: ConsumerOptions;
  idlers: IdlersOptions;
  relay: RelayOptions;
  rawProducer: RawClientOptions;
  rawConsumer: RawClientOptions;
}

export type RoleName = keyof RoleOptions;

/** The first message of the parent. */
export interface Assignment<R extends RoleName = RoleName> {
  readonly role: R;
  readonly target: Target;
  readonly options: RoleOptions[R];
}

export interface Call {
  readonly number: number;
  readonly call: keyof Calls;
}

type Connect = () => Promise<DriverSession>;

const ROLES: { readonly [R in RoleName]: (connect: Connect, options: RoleOptions[R]) => Promise<Role> } = {
  producer: async (connect, options) => new Producer(await connect(), options),
  paced: async (connect, options) => new PacedProducer(await connect(), options),
  consumer: async (connect, options) => new Consumer(connect, options),
  idlers: async (connect, options) => new Idlers(connect, options),
  relay: async (_, options) => new Relay(options),
  rawProducer: async (_, options) => new RawProducer(options),
  rawConsumer: async (_, options) => new RawConsumer(options),
};

const frames = countFrames();
let role: Promise<Role> | null = null;

process.on('message', (message: Assignment | Call) => {
  if ('role' in message) role = build(message);
  else void answer(message);
});
// A load process whose parent is gone has nobody to tell.
process.on('disconnect', () => process.exit());
// Ctrl-C reaches the whole group; the parent decides.
process.on('SIGINT', () => undefined);

async function build({ role: name, target, options }: Assignment): Promise<Role> {
  const make = ROLES[name] as (connect: Connect, options: RoleOptions[RoleName]) => Promise<Role>;
  return make(async () => (await DRIVERS[target.driver]!()).connect(target), options);
}

async function answer({ number, call }: Call): Promise<void> {
  try {
    process.send!({ number, result: await CALLS[call](await role!) });
  } catch (error) {
    process.send!({ number, error: error instanceof Error ? error.stack : String(error) });
  }
}

const CALLS: { readonly [C in keyof Calls]: (role: Role) => Calls[C] | Promise<Calls[C]> } = {
  open: (role) => role.open().then(() => null),
  start: (role) => {
    role.start?.();
    return null;
  },
  stop: async (role) => {
    await role.stop?.();
    return null;
  },
  close: (role) => role.close().then(() => null),
  clear: (role) => {
    role.clear?.();
    return null;
  },
  sample,
  histograms: (role) => role.histograms?.() ?? {},
};

function sample({ count, failed }: Role): Sample {
  const { user, system } = process.cpuUsage();
  return { timeMs: monotonicMs(), cpuSeconds: (user + system) / 1e6, count, failed, frames };
}
