import type { Client } from '@lovage/client';
import type { Target } from '../load/driver.js';
import { onServer } from '../load/on-server.js';
import type { Server } from '../load/server.js';
import { Mishap } from '../run/mishap.js';
import { type TempDirectory, tempDirectory } from '../run/temp-directory.js';
import { BrokerProcess, type Overview } from './broker-process.js';
import { type Build, buildIn, ROOT } from './build.js';

export interface LovageServerOptions {
  /** Where the temporary data directory is made; default: the system's place for them. */
  readonly directory?: string | undefined;
  readonly build?: Build;
  /** Default: `always`. */
  readonly sync?: Sync | undefined;
  readonly flags?: readonly string[];
}

/** When the journal is synced, as `lovage start --sync` takes it. */
export type Sync = 'always' | '50';

/** What stays when the broker is started again. */
interface ServerParts {
  readonly data: TempDirectory;
  readonly build: Build;
  readonly flags: readonly string[];
  readonly mishap: Mishap;
}

/** A Lovage broker with a data directory of its own, which can be killed and started again. */
export class LovageServer implements Server {
  readonly name = 'Lovage';
  readonly version: string;
  readonly #parts: ServerParts;
  #broker: BrokerProcess;

  private constructor(parts: ServerParts, broker: BrokerProcess, version: string) {
    this.#parts = parts;
    this.#broker = broker;
    this.version = version;
  }

  static async start({
    directory,
    build = buildIn(ROOT),
    sync = 'always',
    flags = [],
  }: LovageServerOptions): Promise<LovageServer> {
    const parts = {
      data: await tempDirectory(directory),
      build,
      flags: ['--sync', sync, ...flags],
      mishap: new Mishap(),
    };
    const broker = await startBroker(parts);
    const { version } = await broker.overview();
    return new LovageServer(parts, broker, version);
  }

  get target(): Target {
    return { driver: 'lovage', endpoint: this.#broker.url, settings: { sdk: this.#parts.build.sdk } };
  }

  get died(): Promise<never> {
    return this.#parts.mishap.happened;
  }

  get pids(): readonly number[] {
    return [this.#broker.pid];
  }

  get dataDir(): string {
    return this.#parts.data.path;
  }

  /** A client of this broker in this process, for what is not measured: pausing a queue, declaring some. */
  async connect(): Promise<Client> {
    const { connect } = (await import(this.#parts.build.sdk)) as typeof import('@lovage/client');
    return connect(this.#broker.url);
  }

  overview(): Promise<Overview> {
    return this.#broker.overview();
  }

  /** Kills it with SIGKILL and starts it again; answers how many ms passed from the start of the process to its ready line. */
  async crash(): Promise<number> {
    await this.#broker.kill();
    this.#broker = await startBroker(this.#parts);
    return this.#broker.readyMs;
  }

  async close(): Promise<void> {
    // Its data are thrown away, so there is nothing to end in order.
    await this.#broker.kill();
    await this.#parts.data.remove();
  }
}

function startBroker({ data, build, flags, mishap }: ServerParts): Promise<BrokerProcess> {
  return BrokerProcess.start({ dataDir: data.path, build, flags, onDeath: mishap.tell });
}

/** Works on a new broker and closes it. */
export function withLovage<T>(
  { directory, build, flags }: LovageServerOptions,
  work: (server: LovageServer) => Promise<T>,
): Promise<T> {
  const options = { directory, ...(build && { build }), ...(flags && { flags }) };
  return onServer(() => LovageServer.start(options), work);
}
