/** A TCP proxy between a client and its broker whose connections can be cut, and whose broker can be another one. */

import type { AddressInfo } from 'node:net';
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { atEnd } from '../support/cleanup.js';

export class CuttingProxy {
  /** `ws://127.0.0.1:<port>`, for the client. */
  readonly url: string;
  /** Where new connections go. */
  target: string;
  /** Connections that were cut. */
  cuts = 0;
  readonly #sockets = new Set<Socket>();

  private constructor(url: string, target: string) {
    this.url = url;
    this.target = target;
  }

  static async start(target: string): Promise<CuttingProxy> {
    const server: Server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const proxy = new CuttingProxy(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`, target);
    server.on('connection', (client) => proxy.#join(client));
    atEnd(() => {
      proxy.cut();
      server.close();
    });
    return proxy;
  }

  get connections(): number {
    return this.#sockets.size / 2;
  }

  /** Resets every connection: bytes on their way are lost in both directions. */
  cut(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
    if (this.#sockets.size > 0) this.cuts++;
    this.#sockets.clear();
  }

  #join(client: Socket): void {
    const broker = createConnection({ host: '127.0.0.1', port: Number(new URL(this.target).port) });
    const pair = [client, broker];
    for (const socket of pair) {
      socket.setNoDelay(true);
      this.#sockets.add(socket);
      // What ended is told by `close`.
      socket.on('error', () => undefined);
      socket.on('close', () => {
        for (const other of pair) {
          other.destroy();
          this.#sockets.delete(other);
        }
      });
    }
    client.pipe(broker);
    broker.pipe(client);
  }
}
