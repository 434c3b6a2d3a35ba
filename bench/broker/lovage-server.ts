import type { Client } from '@lovage/client';
import type { Target } from '../load/driver.js';
import type { Server } from '../load/server.js';
import { type TempDirectory, tempDirectory } from '../run/temp-directory.js';
import { BrokerProcess, type Overview } from './broker-process.js';
import { type Build, buildIn, ROOT } from './build.js';

export interface LovageServerOptions {
  /** Where the temporary data directory is made; default: the system's place for them. */
  readonly directory?: string | undefined;
  readonly build?: Build;
  readonly flags?: readonly string[];
}

/** A Lovage broker with a data directory of its own, which can be killed and started again. */
export class LovageServer implements Server {
  readonly name = 'Lovage';
  readonly version: string;
  readonly #build: Build;
  readonly #flags: readonly string[];
  readonly #data: TempDirectory;
  #broker: BrokerProcess;

  private constructor(
    data: TempDirectory,
    build: Build,
    flags: readonly string[],
    broker: BrokerProcess,
    version: string,
  ) {
    this.#data = data;
    this.#build = build;
    this.#flags = flags;
    this.#broker = broker;
    this.version = version;
  }

  static async start({ directory, build = buildIn(ROOT), flags = [] }: LovageServerOptions): Promise<LovageServer> {
    const data = await tempDirectory(directory);
    const allFlags = ['--sync', 'always', ...flags];
    const broker = await BrokerProcess.start({ dataDir: data.path, build, flags: allFlags });
    const { version } = await broker.overview();
    return new LovageServer(data, build, allFlags, broker, version);
  }

  get target(): Target {
    return { driver: 'lovage', endpoint: this.#broker.url, settings: { sdk: this.#build.sdk } };
  }

  get pids(): readonly number[] {
    return [this.#broker.pid];
  }

  get dataDir(): string {
    return this.#data.path;
  }

  /** A client of this broker in this process, for what is not measured: pausing a queue, declaring some. */
  async connect(): Promise<Client> {
    const { connect } = (await import(this.#build.sdk)) as typeof import('@lovage/client');
    return connect(this.#broker.url);
  }

  overview(): Promise<Overview> {
    return this.#broker.overview();
  }

  /** Kills it with SIGKILL and starts it again; answers how many ms passed from the start of the process to its ready line. */
  async crash(): Promise<number> {
    await this.#broker.kill();
    this.#broker = await BrokerProcess.start({ dataDir: this.#data.path, build: this.#build, flags: this.#flags });
    return this.#broker.readyMs;
  }

  async close(): Promise<void> {
    // Its data are thrown away, so there is nothing to end in order.
    await this.#broker.kill();
    await this.#data.remove();
  }
}
