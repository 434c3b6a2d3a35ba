/** A system that runs tasks: its broker, one process that sends, and one worker. */

export interface TaskSystem {
  readonly title: string;
  /** What was chosen, in one sentence. */
  readonly settings: string;
  /** Starts broker, worker and producer, in this order; resolves when tasks can be sent. `directory`: as in the options of the bench. */
  start(directory: string | undefined): Promise<RunningTasks>;
}

/** A system at work. Processes are given by their ids, for CPU time and memory. */
export interface RunningTasks {
  readonly version: string;
  readonly brokerPids: readonly number[];
  readonly workerPids: readonly number[];
  readonly producerPids: readonly number[];
  /** Rejects when one of the processes ends without having been asked to. */
  readonly died: Promise<never>;
  /** Has the producer send so many no-op tasks; resolves when all are sent, with the moment of the first call in ms of the clock that all processes share. */
  send(count: number): Promise<number>;
  /** Tasks that were completed since the start. */
  completed(): Promise<number>;
  /** Results that are kept; null where results are ignored. */
  kept(): Promise<number | null>;
  close(): Promise<void>;
}
