/** Runs the real `lovage` command in a process of its own. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';

/** The command, for Node to run. */
export const BIN = fileURLToPath(new URL('../../server/bin/lovage.js', import.meta.url));

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly out: string;
  readonly error: string;
}

/**
 * The process, its environment cleared of LOVAGE_* but for `variables`. Standard input is a pipe that the caller must end. `wrapper` is what stands before
 * `node`: it must become the command (as `strace -D` does), or signals miss it.
 */
export function spawnCommand(
  words: readonly string[],
  variables: Record<string, string> = {},
  wrapper: readonly string[] = [],
): ChildProcessWithoutNullStreams {
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('LOVAGE_'));
  const [program, ...rest] = [...wrapper, process.execPath, BIN, ...words] as [string, ...string[]];
  return spawn(program, rest, { env: { ...Object.fromEntries(inherited), ...variables } });
}

/** Runs to the end, with `input` as standard input. */
export async function command(
  words: readonly string[],
  {
    input = '',
    variables = {},
  }: { readonly input?: string | Uint8Array; readonly variables?: Record<string, string> } = {},
): Promise<Ended> {
  const child = spawnCommand(words, variables);
  // A command that ends without reading closes the pipe under the writer.
  child.stdin.on('error', () => undefined);
  child.stdin.end(input);
  return await ended(child);
}

export async function ended(child: ChildProcessWithoutNullStreams): Promise<Ended> {
  const [[code, signal], out, error] = await Promise.all([
    once(child, 'close'),
    text(child.stdout),
    text(child.stderr),
  ]);
  return { code: code as number | null, signal: signal as NodeJS.Signals | null, out, error };
}
