import { freePort } from '../run/free-port.js';
import { tempDirectory } from '../run/temp-directory.js';
import { packageVersion, pathOf } from './installed.js';
import type { Peer } from './peer.js';
import { PeerProcess } from './peer-process.js';
import { PeerServer } from './peer-server.js';

/** BullMQ on Redis. */
export const bullmq: Peer = {
  name: 'bullmq',
  title: 'BullMQ on Redis',
  durability: 'sync before confirm',
  hasPriorities: false,
  program: 'redis-server',
  debianPackage: 'redis-server',
  client: 'bullmq',
  settings:
    'Redis with appendonly and appendfsync always; jobs of one turn are added with addBulk, finished ones are removed, 200 jobs at once in a worker; without priorities, which make it slower.',
  async start(parent) {
    const port = await freePort();
    const directory = await tempDirectory(parent);
    const words = ['--bind', '127.0.0.1', '--port', String(port), '--dir', directory.path];
    const durable = ['--appendonly', 'yes', '--appendfsync', 'always', '--save', ''];
    const program = pathOf(this.program)!;
    const server = new PeerProcess({ program, words: [...words, ...durable], logDirectory: directory.path });
    await server.listensOn(port);
    return new PeerServer(
      {
        name: this.title,
        version: packageVersion(this.debianPackage),
        target: { driver: 'bullmq', endpoint: String(port), settings: {} },
      },
      { process: server, directory },
    );
  },
};
