/** Another commit of this repository, built beside this one. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { type Build, buildIn, ROOT } from '../broker/build.js';
import { atEnd } from '../run/cleanup.js';
import { showProgress } from '../run/progress.js';
import { runCommand } from '../run/run-command.js';
import { tempDirectory } from '../run/temp-directory.js';

export interface Checkout {
  readonly commit: string;
  readonly build: Build;
}

/** Makes a worktree of the commit, installs what it needs and builds broker and SDK. All of it is removed when the program ends. */
export async function checkOut(ref: string, parent: string | undefined): Promise<Checkout> {
  const commit = commitOf(ref);
  const directory = await tempDirectory(parent);
  const tree = join(directory.path, 'tree');
  showProgress(`compare: checking out ${commit}`);
  atEnd(() => git('worktree', 'prune'));
  await runCommand('git', ['-C', ROOT, 'worktree', 'add', '--detach', tree, commit], ROOT);
  atEnd(() => git('worktree', 'remove', '--force', tree));
  showProgress(`compare: installing what ${commit} needs`);
  await runCommand('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund'], tree);
  showProgress(`compare: building ${commit}`);
  await runCommand('npm', ['run', '--silent', 'build'], tree);
  return { commit, build: buildIn(tree) };
}

/** The commit's short hash. Throws for what is not one. */
function commitOf(ref: string): string {
  try {
    return git('rev-parse', '--verify', '--quiet', '--end-of-options', `${ref}^{commit}`).slice(0, 12);
  } catch (error) {
    throw new Error(`Cannot compare with "${ref}": it is no commit of this repository`, { cause: error });
  }
}

function git(...words: readonly string[]): string {
  return execFileSync('git', ['-C', ROOT, ...words], { encoding: 'utf8' }).trim();
}
