/** Where the bodies of `lovage publish` come from: arguments, standard input, or a file of lines. Yields many at a time. */
import { fstatSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { buffer } from 'node:stream/consumers';
import { UsageError } from './failure.js';
import { linesOf } from './lines.js';

/** Text of an argument, or bytes as they were read. */
export type Body = string | Buffer;

export interface BodySource {
  /** Body arguments; "-" stands for standard input. */
  readonly words: readonly string[];
  /** Standard input holds a message a line. */
  readonly lines: boolean;
  /** File that holds a message a line. */
  readonly file: string | undefined;
  /** Bytes of the longest line. */
  readonly lineBytesMax: number;
}

const CHUNK_BYTES = 262_144;

/** The bodies in order. Throws a UsageError when there is no source or more than one kind. */
export function bodiesFrom(source: BodySource): AsyncGenerator<Body[]> {
  const { words, lines, file } = source;
  const usesInput = words.includes('-') || (words.length === 0 && file === undefined);
  if (file !== undefined && words.length > 0) throw new UsageError('Cannot publish bodies and a --file at once');
  if (file !== undefined) return fileLines(file, source.lineBytesMax);
  if (words.length > 1 && usesInput) throw new UsageError('Cannot publish "-" (standard input) next to other bodies');
  if (!usesInput && lines)
    throw new UsageError('Cannot use --lines with bodies given as arguments: it is for standard input');
  if (!usesInput) return given(words);
  if (words.length === 0 && !isPiped()) {
    throw new UsageError('Cannot publish without a body: give bodies, "-" for standard input, or --file <path>');
  }
  return lines ? linesOf(process.stdin as AsyncIterable<Buffer>, source.lineBytesMax) : wholeInput();
}

async function* given(words: readonly string[]): AsyncGenerator<Body[]> {
  yield [...words];
}

async function* wholeInput(): AsyncGenerator<Body[]> {
  yield [await buffer(process.stdin)];
}

async function* fileLines(path: string, lineBytesMax: number): AsyncGenerator<Body[]> {
  await using file = await open(path);
  yield* linesOf(
    file.createReadStream({ highWaterMark: CHUNK_BYTES, autoClose: false }) as AsyncIterable<Buffer>,
    lineBytesMax,
  );
}

/** True if something was put there to be read: a pipe, a file, a socket, but not a terminal and not /dev/null. */
function isPiped(): boolean {
  const input = fstatSync(0);
  return input.isFIFO() || input.isFile() || input.isSocket();
}
