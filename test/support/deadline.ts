/** Waiting for what has to happen. No test sleeps: it waits for an event, and a deadline that only a failure reaches ends the wait. */

/** ms. Generous, because a loaded machine with two cores may take a hundred times as long as this one. */
export const DEADLINE_MS = 40_000;
/** ms between two questions to something that gives no event (counters over HTTP, files). */
const ASK_MS = 10;

/** The promise's value, or an error that says what did not happen. */
export async function within<T>(promise: Promise<T>, what: string | (() => string), ms = DEADLINE_MS): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new Error(`Waited ${ms} ms for ${typeof what === 'string' ? what : what()}`));
    }, ms);
  });
  try {
    return await Promise.race([promise, deadline]);
  } finally {
    clearTimeout(timer);
  }
}

/** Asks again and again until the answer is as wanted; for what gives no event. Returns that answer. */
export async function eventually<T>(
  ask: () => T | Promise<T>,
  isWanted: (answer: T) => boolean,
  what: string,
  ms = DEADLINE_MS,
): Promise<T> {
  const endsAtMs = performance.now() + ms;
  for (;;) {
    const answer = await ask();
    if (isWanted(answer)) return answer;
    if (performance.now() > endsAtMs)
      throw new Error(`Waited ${ms} ms for ${what}; last seen: ${JSON.stringify(answer)}`);
    await new Promise((resolve) => setTimeout(resolve, ASK_MS));
  }
}
