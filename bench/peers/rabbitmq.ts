/** RabbitMQ: a node of its own, with a port mapper (epmd) of its own, so that it meets no other RabbitMQ of this machine. */
import { execFileSync } from 'node:child_process';
import { chownSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Server } from '../load/server.js';
import { freePort } from '../run/free-port.js';
import { type TempDirectory, tempDirectory } from '../run/temp-directory.js';
import { packageVersion, pathOf } from './installed.js';
import type { Peer } from './peer.js';
import { PeerProcess } from './peer-process.js';
import { PeerServer } from './peer-server.js';

/** The script behind Debian's wrapper, which would change the user by itself and log to the system's directory. */
const SCRIPT = '/usr/lib/rabbitmq/bin/rabbitmq-server';
const USER = 'rabbitmq';

type QueueKind = 'classic' | 'quorum';

const COMMON = { program: SCRIPT, debianPackage: 'rabbitmq-server', client: 'amqplib' } as const;

export const rabbitmqClassic: Peer = {
  ...COMMON,
  name: 'rabbitmq-classic',
  title: 'RabbitMQ classic queue, 10 priorities',
  durability: 'confirm before sync',
  hasPriorities: true,
  settings:
    'Durable classic queue with x-max-priority 10, persistent messages, publisher confirms, prefetch as given (amqplib).',
  start: (directory) => start(rabbitmqClassic, 'classic', directory),
};

export const rabbitmqQuorum: Peer = {
  ...COMMON,
  name: 'rabbitmq-quorum',
  title: 'RabbitMQ quorum queue',
  durability: 'sync before confirm',
  hasPriorities: false,
  settings: 'Quorum queue on one node, publisher confirms, prefetch as given (amqplib).',
  start: (directory) => start(rabbitmqQuorum, 'quorum', directory),
};

async function start({ title, debianPackage }: Peer, kind: QueueKind, parent: string | undefined): Promise<Server> {
  const [port, mapperPort, nodePort] = [await freePort(), await freePort(), await freePort()];
  const directory = await tempDirectory(parent);
  const variables = nodeVariables(directory, { mapperPort, nodePort, port });
  if (process.getuid?.() === 0) ownBy(USER, directory.path);
  const mapper = new PeerProcess({
    ...asUser('epmd', ['-port', String(mapperPort), '-address', '127.0.0.1']),
    logDirectory: directory.path,
    variables,
  });
  await mapper.listensOn(mapperPort);
  const server = new PeerProcess({ ...asUser(SCRIPT, []), logDirectory: directory.path, variables });
  await server.listensOn(port);
  return new PeerServer(
    {
      name: title,
      version: packageVersion(debianPackage),
      target: { driver: 'rabbitmq', endpoint: `amqp://127.0.0.1:${port}`, settings: { kind } },
    },
    { process: server, directory, afterwards: () => mapper.stop() },
  );
}

interface Ports {
  readonly port: number;
  readonly mapperPort: number;
  readonly nodePort: number;
}

function nodeVariables({ path }: TempDirectory, { port, mapperPort, nodePort }: Ports): Record<string, string> {
  const configFile = join(path, 'rabbitmq.conf');
  const pluginsFile = join(path, 'enabled_plugins');
  writeFileSync(configFile, `listeners.tcp.default = 127.0.0.1:${port}\nlog.console = false\n`);
  writeFileSync(pluginsFile, '[].\n');
  return {
    HOME: path,
    ERL_EPMD_PORT: String(mapperPort),
    ERL_EPMD_ADDRESS: '127.0.0.1',
    RABBITMQ_NODENAME: `lovage-bench-${port}@localhost`,
    RABBITMQ_DIST_PORT: String(nodePort),
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: '-kernel inet_dist_use_interface {127,0,0,1}',
    RABBITMQ_CONF_ENV_FILE: '/dev/null',
    RABBITMQ_CONFIG_FILE: configFile,
    RABBITMQ_ENABLED_PLUGINS_FILE: pluginsFile,
    RABBITMQ_MNESIA_BASE: join(path, 'mnesia'),
    RABBITMQ_LOG_BASE: join(path, 'log'),
    RABBITMQ_PID_FILE: join(path, 'pid'),
  };
}

/** RabbitMQ refuses to run as root. */
function asUser(
  program: string,
  words: readonly string[],
): { readonly program: string; readonly words: readonly string[] } {
  if (process.getuid?.() !== 0) return { program, words };
  return {
    program: pathOf('setpriv') ?? 'setpriv',
    words: [`--reuid=${USER}`, `--regid=${USER}`, '--clear-groups', program, ...words],
  };
}

function ownBy(user: string, path: string): void {
  const [uid, gid] = ['-u', '-g'].map((flag) => Number(execFileSync('id', [flag, user], { encoding: 'utf8' })));
  chownSync(path, uid!, gid!);
}
