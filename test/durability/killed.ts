import { BrokerProcess } from '../support/broker-process.js';
import { freePort } from '../support/free-port.js';
import { RawClient } from '../support/raw-client.js';

/** A broker that can be killed and started again at the same address. */
export class Killed {
  readonly flags: readonly string[];
  broker: BrokerProcess;

  private constructor(flags: readonly string[], broker: BrokerProcess) {
    this.flags = flags;
    this.broker = broker;
  }

  static async start(more: readonly string[] = []): Promise<Killed> {
    const flags = ['--port', `${await freePort()}`, ...more];
    return new Killed(flags, await BrokerProcess.start({ flags }));
  }

  async kill(): Promise<void> {
    await this.broker.kill();
    this.broker = await BrokerProcess.start({ dataDir: this.broker.dataDir, flags: this.flags });
  }

  raw(): Promise<RawClient> {
    return RawClient.connect(this.broker.url);
  }
}
