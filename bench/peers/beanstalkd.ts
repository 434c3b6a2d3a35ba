import { freePort } from '../run/free-port.js';
import { tempDirectory } from '../run/temp-directory.js';
import { packageVersion, pathOf } from './installed.js';
import type { Peer } from './peer.js';
import { PeerProcess } from './peer-process.js';
import { PeerServer } from './peer-server.js';

export const beanstalkd: Peer = {
  name: 'beanstalkd',
  title: 'beanstalkd',
  durability: 'sync before confirm',
  hasPriorities: true,
  program: 'beanstalkd',
  debianPackage: 'beanstalkd',
  client: null,
  settings:
    'Binlog with -f 0; puts are pipelined on one connection, 16 connections reserve and delete (a driver of 100 lines).',
  async start(parent) {
    const port = await freePort();
    const directory = await tempDirectory(parent);
    const words = ['-l', '127.0.0.1', '-p', String(port), '-b', directory.path, '-f', '0'];
    const server = new PeerProcess({ program: pathOf(this.program)!, words, logDirectory: directory.path });
    await server.listensOn(port);
    return new PeerServer(
      {
        name: this.title,
        version: packageVersion(this.debianPackage),
        target: { driver: 'beanstalkd', endpoint: String(port), settings: {} },
      },
      { process: server, directory },
    );
  },
};
