// hot path
/** beanstalkd: one connection that puts, several that reserve and delete one job at a time each. */
import type { BodyHandler, ConsumeShape, Driver, DriverSession, Target } from '../load/driver.js';
import { BeanstalkdConnection } from './beanstalkd-connection.js';

/** A connection handles one command at a time, and a `reserve` waits for a job, so jobs at once mean connections. */
const RESERVING_CONNECTIONS = 16;
/** The smallest number is the most urgent. */
const LEAST_URGENT = 255;
/** Seconds that a job may take. */
const TIME_TO_RUN = 600;

export const beanstalkdDriver: Driver = {
  async connect({ endpoint }: Target): Promise<DriverSession> {
    const port = Number(endpoint);
    return new BeanstalkdSession(port, await BeanstalkdConnection.open(port));
  },
};

class BeanstalkdSession implements DriverSession {
  readonly #port: number;
  readonly #putting: BeanstalkdConnection;
  readonly #reserving: BeanstalkdConnection[] = [];
  #used = '';

  constructor(port: number, putting: BeanstalkdConnection) {
    this.#port = port;
    this.#putting = putting;
  }

  /** Tubes come with their first job. */
  async declare(queue: string): Promise<void> {
    await this.#use(queue);
  }

  publish(queue: string, body: Uint8Array, priority: number): Promise<unknown> {
    if (queue !== this.#used) void this.#use(queue);
    return new Promise<void>((resolve, reject) => {
      const command = `put ${LEAST_URGENT - priority} 0 ${TIME_TO_RUN} ${body.length}`;
      this.#putting.send(command, body, ([word]) =>
        word === 'INSERTED' ? resolve() : reject(new Error(`beanstalkd: ${word}`)),
      );
    });
  }

  async consume(queue: string, { prefetch }: ConsumeShape, handle: BodyHandler): Promise<void> {
    for (let i = 0; i < Math.min(prefetch, RESERVING_CONNECTIONS); i++) {
      const connection = await BeanstalkdConnection.open(this.#port);
      await connection.ask(`watch ${queue}`, 'WATCHING');
      this.#reserving.push(connection);
      reserve(connection, handle);
    }
  }

  async close(): Promise<void> {
    for (const connection of [this.#putting, ...this.#reserving]) connection.close();
  }

  #use(queue: string): Promise<void> {
    this.#used = queue;
    return this.#putting.ask(`use ${queue}`, 'USING');
  }
}

/** Takes a job, works, deletes it, and takes the next; the two commands leave together. */
function reserve(connection: BeanstalkdConnection, handle: BodyHandler): void {
  connection.send('reserve', null, ([word, id], body) => {
    if (word !== 'RESERVED') throw new Error(`beanstalkd: ${word}`);
    const done = (): void => {
      connection.send(`delete ${id}`, null, ([answer]) => {
        if (answer !== 'DELETED') throw new Error(`beanstalkd: ${answer}`);
      });
      reserve(connection, handle);
    };
    const working = handle(body);
    if (working === undefined) done();
    else void working.then(done);
  });
}
