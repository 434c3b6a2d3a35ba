/**
 * What must be undone when the program ends, whichever way: processes that it has started, directories that it has made. Undone in reverse order,
 * each once.
 */
type Undo = () => unknown;

const SIGNAL_EXIT_CODES = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

const undos = new Set<Undo>();
let running: Promise<void> | null = null;

/** Registers `undo`. The answer runs it now instead. */
export function atEnd(undo: Undo): () => Promise<void> {
  undos.add(undo);
  return async () => {
    if (undos.delete(undo)) await undo();
  };
}

/** Undoes everything; what fails is told on stderr and does not stop the rest. */
export function cleanUp(): Promise<void> {
  running ??= undoAll().finally(() => {
    running = null;
  });
  return running;
}

/** Runs a program: cleans up behind it and on Ctrl-C, and makes its answer the exit code. */
export async function runProgram(program: () => Promise<number>): Promise<void> {
  for (const [signal, code] of Object.entries(SIGNAL_EXIT_CODES)) {
    process.once(signal, () => {
      process.stderr.write(`\n${signal}: cleaning up\n`);
      void cleanUp().then(() => process.exit(code));
    });
  }
  let code = 1;
  try {
    code = await program();
  } catch (error) {
    process.stderr.write(`\n${error instanceof Error ? error.stack : String(error)}\n`);
  }
  await cleanUp();
  process.exit(code);
}

async function undoAll(): Promise<void> {
  for (const undo of [...undos].reverse()) {
    undos.delete(undo);
    try {
      await undo();
    } catch (error) {
      process.stderr.write(`Cannot clean up: ${String(error)}\n`);
    }
  }
}
