/** One line on stderr that is written over while something takes its time; on a pipe, a line now and then. */
const PIPE_INTERVAL_MS = 5_000;
const TERMINAL_INTERVAL_MS = 100;

let lastMs = 0;
let isShown = false;

/** Shows how far something is. Cheap: most calls write nothing. */
export function showProgress(text: string): void {
  const { isTTY } = process.stderr;
  const nowMs = performance.now();
  if (nowMs - lastMs < (isTTY ? TERMINAL_INTERVAL_MS : PIPE_INTERVAL_MS)) return;
  lastMs = nowMs;
  isShown = isTTY === true;
  process.stderr.write(isShown ? `\r\x1b[K${text.slice(0, (process.stderr.columns ?? 80) - 1)}` : `${text}\n`);
}

/** Writes a line that stays. */
export function note(text: string): void {
  process.stderr.write(`${isShown ? '\r\x1b[K' : ''}${text}\n`);
  isShown = false;
}
