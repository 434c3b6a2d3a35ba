/** Runs the command line. Every way a command can fail ends here. */
import { EXIT, failureOf, failureText } from './failure.js';
import { type Import, importWith } from './imports.js';
import { writeError } from './notes.js';
import { createProgram } from './program.js';

process.on('uncaughtException', fail);

/** `words` are those behind `lovage`; `importModule` is for modules from outside of the bundle. */
export async function run(words: readonly string[], importModule: Import): Promise<void> {
  importWith(importModule);
  const program = createProgram();
  if (words.length === 0) {
    writeError(program.helpInformation());
    process.exitCode = EXIT.usage;
    return;
  }
  try {
    await program.parseAsync(words, { from: 'user' });
  } catch (error) {
    fail(error);
  }
}

function fail(error: unknown): never {
  const failure = failureOf(error);
  if (failure.exitCode !== EXIT.done) writeError(failureText(failure, isJson(process.argv.slice(2))));
  process.exit(failure.exitCode);
}

/** Also true when the rest of the command line makes no sense. */
function isJson(words: readonly string[]): boolean {
  const end = words.indexOf('--');
  return words.slice(0, end < 0 ? undefined : end).includes('--json');
}
