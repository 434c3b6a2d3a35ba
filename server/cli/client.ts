/** How a command is a client of a broker: connected by its settings, closed when it is done, and telling when the connection comes and goes. */
import type { Client } from '@lovage/client';
import { loadSettings, readClientTls } from '../settings/index.js';
import { importModule } from './imports.js';
import { writeNote } from './notes.js';

/** Connects by the settings among `flags`, runs, and closes. A failure of `run` wins over one of closing. */
export async function withClient<T>(flags: Record<string, unknown>, run: (client: Client) => Promise<T>): Promise<T> {
  const settings = loadSettings('client', { flags, variables: process.env });
  const { url, token, namespace } = settings;
  const tls = readClientTls(settings) ?? undefined;
  const { connect } = await importModule<typeof import('@lovage/client')>('@lovage/client');
  const client = await connect(url, { token, namespace, tls, name: 'lovage-cli' });
  void tellStates(client, url, flags.json === true);
  let result: T;
  try {
    result = await run(client);
  } catch (error) {
    client.terminate();
    throw error;
  }
  await client.close();
  return result;
}

/** A connection that was lost is made again by itself; whoever waits at the terminal should know what for. */
async function tellStates({ status }: Client, url: string, isJson: boolean): Promise<void> {
  let isLost = false;
  for await (const { state, reason } of status) {
    if (state === 'reconnecting') {
      isLost = true;
      const code = reason?.code ?? 'CONNECTION_LOST';
      const text = `${code}: ${reason?.message ?? 'the connection was lost'}. Trying again.`;
      writeNote({ type: 'reconnecting', url, code, message: reason?.message }, text, isJson);
    } else if (state === 'connected' && isLost) {
      isLost = false;
      writeNote({ type: 'connected', url }, `Connected to ${url} again.`, isJson);
    }
  }
}
