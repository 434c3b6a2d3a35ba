import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { atEnd } from './cleanup.js';

const OUTPUT_CHARACTERS_MAX = 4_000;

/** Runs a program to its end. Rejects with what it said last when it fails. */
export async function runCommand(program: string, words: readonly string[], directory: string): Promise<void> {
  const child = spawn(program, words, { cwd: directory, stdio: ['ignore', 'pipe', 'pipe'] });
  const forget = atEnd(() => child.kill('SIGKILL'));
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-OUTPUT_CHARACTERS_MAX);
    });
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
  await forget();
  if (code !== 0) throw new Error(`Cannot run "${program} ${words.join(' ')}" (${code ?? signal}):\n${said}`);
}
