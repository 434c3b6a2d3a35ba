import type { Server } from './server.js';

/** Starts a server, works with it and closes it. Rejects as soon as the server ends by itself, whatever the work waits for. */
export async function onServer<S extends Server, T>(
  start: () => Promise<S>,
  work: (server: S) => Promise<T>,
): Promise<T> {
  const server = await start();
  const result = await Promise.race([work(server), server.died]);
  await server.close();
  return result;
}
