/** What a test file has opened is closed when the file is done: brokers, sockets, directories, in the reverse order of their making. */
import { afterAll } from 'vitest';

type Action = () => void | Promise<void>;

const actions: Action[] = [];

/** Runs `action` after the last test of the file. An action must not mind that its work was done already. */
export function atEnd(action: Action): void {
  actions.push(action);
}

/** Called for each file: several may run in one process. */
export function cleanUpAfterFile(): void {
  afterAll(async () => {
    for (const action of actions.splice(0).reverse()) await action();
  });
}
