/** A thread or a process that runs tasks, seen from the worker: it is sent messages, sends some, and ends, by itself or killed. */
import { type ChildProcess, fork } from 'node:child_process';
import { createRequire } from 'node:module';
import { Worker as Thread } from 'node:worker_threads';
import type { FromChild, ToChild } from './child-messages.js';
import { guard, unguard } from './orphan-guard.js';

export type ChildKind = 'threads' | 'processes';

export interface ChildEvents {
  message(message: FromChild): void;
  /** It is gone. `how`: for people, "exit code 1", "signal SIGKILL", and the error that it died of if that is known. */
  ended(how: string): void;
}

export interface ChildHost {
  /** Id of the process or of the thread. */
  readonly pid: number;
  send(message: ToChild): void;
  /** At once, whatever it does. */
  kill(): void;
}

/** The compiled file, also where this one is run from its source. */
const ENTRY = createRequire(import.meta.url).resolve('@lovage/client/tasks/child');

export function startChild(kind: ChildKind, events: ChildEvents): ChildHost {
  return kind === 'threads' ? startThread(events) : startProcess(events);
}

function startThread({ message, ended }: ChildEvents): ChildHost {
  const thread = new Thread(ENTRY);
  let error: string | null = null;
  thread.on('message', message);
  thread.on('error', (thrown: Error) => {
    error = `${thrown.name}: ${thrown.message}`;
  });
  thread.on('exit', (code) => ended(error ?? `exit code ${code}`));
  return {
    pid: thread.threadId,
    send: (sent) => thread.postMessage(sent),
    kill: () => void thread.terminate(),
  };
}

function startProcess({ message, ended }: ChildEvents): ChildHost {
  const child: ChildProcess = fork(ENTRY, [], { serialization: 'advanced' });
  const { pid } = child;
  if (pid !== undefined) guard(pid);
  let isOver = false;
  const over = (how: string): void => {
    if (isOver) return;
    isOver = true;
    if (pid !== undefined) unguard(pid);
    ended(how);
  };
  child.on('message', message as (message: unknown) => void);
  child.on('error', (error) => over(error.message));
  child.on('exit', (code, signal) => over(signal === null ? `exit code ${code}` : `signal ${signal}`));
  return {
    pid: pid ?? 0,
    // One that is dying takes no more; its end says the rest.
    send: (sent) => void child.send(sent, () => undefined),
    kill: () => void child.kill('SIGKILL'),
  };
}
