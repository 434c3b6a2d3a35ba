/** Sends no-op tasks to Lovage with `sendMany`. Its argument is the broker's URL. */
import { app, noop } from './noop-task.js';
import { LIST_TASKS, serveSending } from './send-loop.js';

const LIST: [][] = Array.from({ length: LIST_TASKS }, () => []);

app.connectTo(process.argv[2]!);
await app.ready(noop.queue);
serveSending((count) => noop.sendMany(count === LIST.length ? LIST : LIST.slice(0, count)));
