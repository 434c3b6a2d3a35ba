import { freePort } from '../run/free-port.js';
import { tempDirectory } from '../run/temp-directory.js';
import { packageVersion, pathOf } from './installed.js';
import type { Peer } from './peer.js';
import { PeerProcess } from './peer-process.js';
import { PeerServer } from './peer-server.js';

/** NATS with JetStream. */
export const jetstream: Peer = {
  name: 'jetstream',
  title: 'NATS JetStream, work queue',
  durability: 'confirm before sync (every 2 min)',
  hasPriorities: false,
  program: 'nats-server',
  debianPackage: 'nats-server',
  client: '@nats-io/jetstream',
  settings:
    'File storage, work-queue retention, one durable consumer with explicit acknowledgement and max_ack_pending as the prefetch (@nats-io/jetstream).',
  async start(parent) {
    const port = await freePort();
    const directory = await tempDirectory(parent);
    const words = ['-a', '127.0.0.1', '-p', String(port), '-js', '-sd', directory.path];
    const server = new PeerProcess({ program: pathOf(this.program)!, words, logDirectory: directory.path });
    await server.listensOn(port);
    return new PeerServer(
      {
        name: this.title,
        version: packageVersion(this.debianPackage),
        target: { driver: 'jetstream', endpoint: `nats://127.0.0.1:${port}`, settings: {} },
      },
      { process: server, directory },
    );
  },
};
