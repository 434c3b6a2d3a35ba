/** How a random test of thousands of steps says what it has found. */
import type { RunDetails } from 'fast-check';

/**
 * A reporter for `fc.assert`. The counterexample stands first and what is short last: of a long report the end is what is kept and looked at.
 */
export function reportFound<T>({ failed, counterexample, numRuns, numShrinks, seed, ...details }: RunDetails<T>): void {
  if (!failed) return;
  const { counterexamplePath, errorInstance } = details;
  const { message = 'nothing was found in the time that there was', stack = '' } = (errorInstance ??
    {}) as Partial<Error>;
  const frames = stack.split('\n').filter((line) => /^ +at .*\/(test|server)\//.test(line));
  const found = new Error(
    [
      `counterexample: ${JSON.stringify(counterexample)}`,
      `found in run ${numRuns}, made smaller ${numShrinks} times, seed ${seed}, path ${counterexamplePath}`,
      message,
      ...frames,
    ].join('\n'),
  );
  // Frames of this file tell nothing.
  found.stack = String(found);
  throw found;
}
