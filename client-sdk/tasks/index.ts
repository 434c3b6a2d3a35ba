/** `@lovage/client/tasks`: functions that run elsewhere. */
export { LovageError } from '@lovage/protocol';
export { type CloseOptions, TaskApp, type TaskAppOptions } from './app.js';
export type { TaskCodec } from './codec.js';
export type { RetryOptions, TaskContext } from './context.js';
export type { ResultOptions, TaskHandle, TaskState, TaskStatus } from './handle.js';
export type { TaskHooks } from './hooks.js';
export type { PoolKind, RunningTask } from './pool.js';
export type { RevokeSelection } from './revoke.js';
export type { ArgumentSchema } from './schema.js';
export type { BoundTask, SendOptions, Task, TaskFunction } from './task.js';
export type { ResultMode, RetryPolicy, TaskOptions } from './task-options.js';
export type { StopOptions, Worker, WorkerStats } from './worker.js';
export type { WorkerOptions } from './worker-options.js';
