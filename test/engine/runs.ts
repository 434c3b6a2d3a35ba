/** How long random tests go on: LOVAGE_TEST_RUNS, a whole number, multiplies their runs. */
export function runsOf(usual: number): number {
  const given = process.env.LOVAGE_TEST_RUNS;
  const factor = given === undefined ? 1 : Number(given);
  if (!Number.isSafeInteger(factor) || factor < 1)
    throw new Error(`Cannot use LOVAGE_TEST_RUNS "${given}": expected a whole number from 1 on`);
  return usual * factor;
}
