/** The other systems that run tasks. */
import { pathOf } from '../peers/installed.js';
import { bullmqTasks } from './bullmq-tasks.js';
import { celeryTasks } from './celery-tasks.js';
import type { TaskSystem } from './task-system.js';

export interface TaskPeer {
  /** For `--only`. */
  readonly name: string;
  readonly system: TaskSystem;
  /** Programs that must be there, each with the Debian package that brings it. */
  readonly needs: readonly { readonly program: string; readonly debianPackage: string }[];
}

export const TASK_PEERS: readonly TaskPeer[] = [
  { name: 'bullmq', system: bullmqTasks, needs: [{ program: 'redis-server', debianPackage: 'redis-server' }] },
  {
    name: 'celery',
    system: celeryTasks,
    needs: [
      { program: '/usr/lib/rabbitmq/bin/rabbitmq-server', debianPackage: 'rabbitmq-server' },
      { program: '/usr/bin/python3', debianPackage: 'python3-celery' },
      { program: '/usr/lib/python3/dist-packages/celery', debianPackage: 'python3-celery' },
    ],
  },
];

/** How to get what a peer lacks on this machine, null if nothing is missing. */
export function missingOf({ system, needs }: TaskPeer): string | null {
  const packages = needs.filter(({ program }) => pathOf(program) === null).map(({ debianPackage }) => debianPackage);
  if (packages.length === 0) return null;
  return `${system.title}: not on this machine; to have it: apt-get install ${[...new Set(packages)].join(' ')}`;
}
