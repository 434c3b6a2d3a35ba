import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import { describe, expect, test } from 'vitest';
import { addCompare } from '../../bench/commands/compare.js';
import { addMicro } from '../../bench/commands/micro.js';
import { addPeers } from '../../bench/commands/peers.js';
import { addScenarios } from '../../bench/commands/scenarios.js';
import { addTaskPeers } from '../../bench/commands/task-peers.js';
import { MEASURES } from '../../bench/compare/measures.js';
import { STANDARD } from '../../bench/load/standard.js';
import { PEERS } from '../../bench/peers/index.js';
import { SCENARIOS } from '../../bench/scenarios/index.js';
import { TASK_PEERS } from '../../bench/tasks/task-peers.js';

const README = readFileSync(new URL('../../bench/README.md', import.meta.url), 'utf8');

/** The program and its commands, as `main.ts` builds them. */
function commands(): Command[] {
  const program = new Command('bench');
  addScenarios(program);
  addPeers(program);
  addTaskPeers(program);
  addMicro(program);
  addCompare(program);
  return [program, ...program.commands];
}

describe("the bench's README", () => {
  test('has a row with the question of every scenario, in the order in which they run', () => {
    const rows = [...README.matchAll(/^\| `([a-z]+)` \| ([^|]*\?)/gm)].map(([, name, question]) => [name, question]);
    expect(rows).toEqual(SCENARIOS.map(({ name, question }) => [name, question]));
  });

  test('names every option of every command, and no other', () => {
    const all = commands().flatMap(({ options }) => options.map(({ flags }) => flags));
    const documented = README.match(/`--[a-z-]+ ?(<[a-z.]+>)?`(?=[, ].*\|)/g)!.map((flags) => flags.slice(1, -1));
    for (const flags of all) expect(README).toContain(`\`${flags}\``);
    for (const flags of documented.filter((text) => !text.startsWith('--sync'))) expect(all).toContain(flags);
  });

  test('names every command', () => {
    for (const command of commands().slice(1)) expect(README).toContain(`npm run bench -- ${command.name()}`);
  });

  test('names every peer, its Debian package, and every measure of a comparison', () => {
    for (const { name, debianPackage } of PEERS) {
      expect(README).toContain(`\`${name}\``);
      expect(README).toMatch(new RegExp(`apt-get install .*${debianPackage}`));
    }
    for (const { name, needs } of TASK_PEERS) {
      expect(README).toContain(`\`${name}\``);
      for (const { debianPackage } of needs) expect(README).toMatch(new RegExp(`apt-get install .*${debianPackage}`));
    }
    for (const { name } of MEASURES) expect(README).toContain(`\`${name}\``);
  });

  test('tells the standard set-up as it is', () => {
    const { bytes, window, prefetch, priorities } = STANDARD;
    const [windowText, prefetchText] = [window, prefetch].map((value) => value.toLocaleString('en-US'));
    expect(README).toContain(
      `bodies of ${bytes} bytes, at most ${windowText} unconfirmed publishes for each producer (the *window*), prefetch ${prefetchText}, random priorities 0-${priorities - 1}`,
    );
  });
});
