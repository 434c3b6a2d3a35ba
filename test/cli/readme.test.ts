/** What the README shows is what happens: its console and its program are run, its commands, metrics and links are compared. */
import { spawn } from 'node:child_process';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { beforeAll, describe, expect, test } from 'vitest';
import { createProgram } from '../../server/cli/program.js';
import { createMetrics } from '../../server/http/metrics.js';
import { FakeView } from '../http/fake-view.js';
import { BrokerProcess } from '../support/broker-process.js';
import { atEnd } from '../support/cleanup.js';
import { command, ended } from './command.js';
import { Running } from './running.js';

const ROOT = new URL('../../', import.meta.url);
const README = readFileSync(new URL('README.md', ROOT), 'utf8').replaceAll('\r\n', '\n');

/** The code block behind `<!-- run: <name> -->`. */
function block(name: string): string {
  const found = new RegExp(`<!-- run: ${name} -->\\n\`\`\`[a-z]*\\n([^]*?)\`\`\``).exec(README)?.[1];
  if (found === undefined) throw new Error(`README.md has no block "${name}"`);
  return found;
}

/** Words of a command line that quotes with '...' only. */
function wordsOf(line: string): string[] {
  return [...line.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? '');
}

/** Full names of the commands that do something: `start`, `queues list`, ... */
function namesOf(program: Command, above = ''): string[] {
  const children = program.commands.filter((child) => child.name() !== 'help');
  if (children.length === 0) return [above.trim()];
  return children.flatMap((child) => namesOf(child, `${above} ${child.name()}`));
}

describe('the first message', () => {
  let broker: BrokerProcess;
  beforeAll(async () => {
    broker = await BrokerProcess.start();
  });

  test('of the console is what the command says', async () => {
    const [, ...steps] = block('console').split(/^\$ npx lovage /m);
    expect(steps.length).toBeGreaterThan(2);
    for (const step of steps) {
      const end = step.indexOf('\n');
      const { code, out, error } = await command(wordsOf(step.slice(0, end)), {
        variables: { LOVAGE_URL: broker.url },
      });
      expect([code, out, error]).toEqual([0, step.slice(end + 1), '']);
    }
  });

  test('of the routing is what the command says', async () => {
    const fresh = await BrokerProcess.start();
    // The first message of the README was number 1.
    await command(['publish', 'first', 'x', '--declare'], { variables: { LOVAGE_URL: fresh.url } });
    const [, ...steps] = block('routing').split(/^\$ npx lovage /m);
    expect(steps.length).toBeGreaterThan(7);
    for (const step of steps) {
      const end = step.indexOf('\n');
      const { code, out, error } = await command(wordsOf(step.slice(0, end)), {
        variables: { LOVAGE_URL: fresh.url },
      });
      expect([code, out, error], step).toEqual([0, step.slice(end + 1), '']);
    }
  });

  test('of the tasks goes through', async () => {
    const [module, sender] = ['tasks', 'sender'].map((name) =>
      fileURLToPath(new URL(`.readme-${name}-${process.pid}.mjs`, ROOT)),
    ) as [string, string];
    atEnd(() => {
      for (const file of [module, sender]) rmSync(file, { force: true });
    });
    writeFileSync(module, block('tasks-module').replace('new TaskApp()', `new TaskApp({ url: '${broker.url}' })`));
    const [, worker, script, output] =
      /^\$ npx lovage (.*) &\n.*\n\$ node -e "(.*)"\n([\s\S]*)$/.exec(block('tasks-console')) ?? [];
    const words = wordsOf(worker!).map((word) => (word === './tasks.mjs' ? module : word));
    const running = new Running(words);
    await running.until(({ out }) => out.endsWith('\n'), 'the ready line');
    expect(running.out).toBe(`${block('tasks-console').split('\n')[1]}\n`);
    writeFileSync(sender, script!.replace('./tasks.mjs', module));
    const child = spawn(process.execPath, [sender]);
    atEnd(() => void child.kill('SIGKILL'));
    expect(await ended(child)).toMatchObject({ code: 0, out: output, error: '' });
  });

  test('of the program goes through', async () => {
    // In the clone, where the README tells to save it: the package is found from there.
    const file = fileURLToPath(new URL(`.readme-program-${process.pid}.mjs`, ROOT));
    atEnd(() => rmSync(file, { force: true }));
    writeFileSync(file, block('program').replace('ws://127.0.0.1:7420', broker.url));
    const child = spawn(process.execPath, [file]);
    atEnd(() => void child.kill('SIGKILL'));
    const { code, out, error } = await ended(child);
    expect([code, error]).toEqual([0, '']);
    expect(out).toMatch(/^published \d+\ngot \{ text: 'hello' \} priority 9 attempt 1\n$/);
  });
});

describe('the README', () => {
  test('names every command', () => {
    const table = README.slice(README.indexOf('## The command'), README.indexOf('## Settings'));
    for (const name of namesOf(createProgram()))
      expect(table, name).toMatch(new RegExp(`\`(lovage )?${name}\\b|, \`${name.split(' ').at(-1)}\``));
  });

  test('names every metric, and no other', async () => {
    const page = await createMetrics(new FakeView()).page();
    const real = [...page.matchAll(/^# TYPE (lovage_\w+) (\w+)$/gm)].map(([, name, type]) => `${name} ${type}`);
    const told = [...README.matchAll(/^\| `(lovage_\w+)[^`]*` \| (\w+) \|/gm)].map(
      ([, name, type]) => `${name} ${type}`,
    );
    expect(told).toEqual(real);
  });

  test('links to files that exist', () => {
    const links = [...README.matchAll(/\]\(([^)#:]+)(?:#[^)]*)?\)/g)].map(([, path]) => path ?? '');
    expect(links.length).toBeGreaterThan(3);
    // Of a folder's README only the folder is looked for: it may be written after this one.
    const places = links.map((path) => new URL(path.replace(/README\.md$/, ''), ROOT));
    expect(places.filter((place) => !existsSync(place)).map(String)).toEqual([]);
  });
});
