/** The task that is measured: it does nothing, and its result is kept. `lovage worker` and the children of its pools load this file, too. */
import { TaskApp } from '@lovage/client/tasks';

export const app = new TaskApp();
export const noop = app.task('noop', () => null, { result: 'keep', queue: 'noop' });
