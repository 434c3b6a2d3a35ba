/** The two queues of the demo, and what is in their messages. */
export const FILES_QUEUE = 'files';
export const DIGESTS_QUEUE = 'digests';

/** A message of the queue of files. */
export interface FileJob {
  readonly path: string;
}

/** A message of the queue of digests. */
export interface DigestReport {
  readonly path: string;
  readonly digest: string;
  /** pid of the worker. */
  readonly worker: number;
  /** 1 for the first handler that worked on the file. */
  readonly attempt: number;
}
