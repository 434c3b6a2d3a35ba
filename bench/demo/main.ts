/** `npm run demo`: a broker is killed in the middle of real work, and nothing is lost. */
import { resolve } from 'node:path';
import Table from 'cli-table3';
import { Command, InvalidArgumentError } from 'commander';
import { ROOT } from '../broker/build.js';
import { runProgram } from '../run/cleanup.js';
import { note, showProgress } from '../run/progress.js';
import { tempDirectory } from '../run/temp-directory.js';
import { type CrashRunResult, crashRun } from './crash-run.js';
import { digestOf } from './files.js';
import type { Ledger } from './ledger.js';

interface DemoOptions {
  readonly limit: number;
  readonly keep?: boolean;
}

const program = new Command('npm run demo --')
  .description(
    'Computes the SHA-256 of every file of a folder with two worker processes, kills the broker with kill -9 in the middle, starts it again, and counts what became of every file.',
  )
  .argument('[folder]', 'the files to work on', resolve(ROOT, 'node_modules'))
  .option('--limit <files>', 'at most so many files', wholeNumber, Number.POSITIVE_INFINITY)
  .option('--keep', "keep the broker's data directory")
  .action((folder: string, options: DemoOptions) => runProgram(() => demo(resolve(folder), options)));

await program.parseAsync();

async function demo(folder: string, { limit, keep = false }: DemoOptions): Promise<number> {
  const directory = await tempDirectory();
  const result = await crashRun({ folder, limit, dataDir: directory.path });
  const mismatches = await compareDigests(result.ledger);
  process.stdout.write(`${summary(folder, result, mismatches)}\n`);
  if (keep) {
    directory.keep();
    note(`The data directory stays: ${directory.path}`);
  }
  const { lost } = result.ledger.totals();
  return lost === 0 && mismatches === 0 ? 0 : 1;
}

/** Computes every digest again, without a broker; returns how many differ. */
async function compareDigests(ledger: Ledger): Promise<number> {
  let mismatches = 0;
  let compared = 0;
  for (const [path, digest] of ledger.digests()) {
    if ((await digestOf(path)) !== digest) {
      mismatches++;
      note(`Mismatch: ${path}`);
    }
    showProgress(`compared ${++compared} of ${ledger.done}`);
  }
  return mismatches;
}

function summary(folder: string, result: CrashRunResult, mismatches: number): string {
  const totals = result.ledger.totals();
  const table = new Table({ colAligns: ['left', 'right'] });
  table.push(
    ['Folder', folder],
    ['Files', totals.files],
    ['Bytes', totals.bytes],
    ['Published and confirmed', result.published],
    ['Digests when the broker was killed', result.digestsAtCrash],
    ['Broker ready again after', `${Math.round(result.recoveryMs)} ms`],
    ['Processed once', totals.processedOnce],
    ['Processed again after the crash', totals.processedAgain],
    ['Lost', totals.lost],
    ['Digests that differ from one computed directly', mismatches],
    ['Seconds from first publish to last digest', result.seconds.toFixed(1)],
  );
  return table.toString();
}

function wholeNumber(text: string): number {
  if (/^[1-9][0-9]{0,8}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('Expected a whole number from 1.');
}
