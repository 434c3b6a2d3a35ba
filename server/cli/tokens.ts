/** `lovage tokens`: make, list and revoke tokens. */
import type { Client, TokenInfo } from '@lovage/client';
import { isName, isPattern, LIMITS, RIGHTS, ROLES, type Role, TOKEN_NUMBERS } from '@lovage/protocol';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { withClient } from './client.js';
import { UsageError } from './failure.js';
import { addSettings, integerOption, JSON_OPTION } from './options.js';
import { Output } from './output.js';
import { textTable } from './text-table.js';

type Flags = Readonly<Record<string, unknown>>;

const YEAR_MS = 31_536_000_000;
const RIGHT_TEXTS: Readonly<Record<(typeof RIGHTS)[number], string>> = {
  configure: 'queues that it may make, change and remove',
  write: 'queues that it may publish to',
  read: 'queues that it may consume',
};

export function addTokens(program: Command): void {
  const tokens = program.command('tokens').description('make, list and revoke tokens, with one of role admin');
  addCreate(tokens);
  const list = tokens.command('list').description('show all tokens; secrets are kept nowhere and cannot be shown');
  addSettings(list.option(...JSON_OPTION).action(listTokens), 'client');
  const revoke = tokens.command('revoke').description('end a token at once, and the connections that came in with it');
  revoke.argument('<id>', 'id of the token, as "lovage tokens list" shows it');
  addSettings(revoke.option(...JSON_OPTION).action(revokeToken), 'client');
}

function addCreate(tokens: Command): void {
  const create = tokens
    .command('create')
    .description('make a token and print its secret, this once; the first one ends access without a token')
    .addOption(new Option('--role <role>', 'what it may do').choices(Object.keys(ROLES)).makeOptionMandatory())
    .addOption(nameOption('--name <name>', 'for people and for the log, default the role'))
    .addOption(nameOption('--only <namespace>', 'the only namespace that it may enter, default all'));
  for (const right of RIGHTS)
    create.addOption(patternsOption(`--${right} <patterns>`, `${RIGHT_TEXTS[right]}; default by role`));
  create.addOption(
    integerOption('--expires-in-ms <ms>', 'how long it holds, default for ever', { min: 1, max: 100 * YEAR_MS }),
  );
  create.addOption(
    integerOption(
      '--token-connections-max <number>',
      'connections at a time, default no bound',
      TOKEN_NUMBERS.connectionsMax,
    ),
  );
  create.addOption(
    integerOption('--publish-rate-max <number>', 'messages a second, default no bound', TOKEN_NUMBERS.publishRateMax),
  );
  addSettings(create.option(...JSON_OPTION).action(createToken), 'client');
}

async function createToken(flags: Flags): Promise<void> {
  const role = flags.role as Role;
  const expiresInMs = flags.expiresInMs as number | undefined;
  const options = {
    name: (flags.name as string | undefined) ?? role,
    role,
    namespace: flags.only as string | undefined,
    configure: flags.configure as string[] | undefined,
    write: flags.write as string[] | undefined,
    read: flags.read as string[] | undefined,
    expiresAt: expiresInMs === undefined ? undefined : Date.now() + expiresInMs,
    connectionsMax: flags.tokenConnectionsMax as number | undefined,
    publishRateMax: flags.publishRateMax as number | undefined,
  };
  const made = await withClient(flags, (client) => client.tokens.create(options));
  const note = `Token ${made.token.id} (${made.token.name}, ${role}) is made. Its secret is shown this once:`;
  await new Output(flags.json === true).print(made, `${note}\n${made.secret}`);
}

async function listTokens(flags: Flags): Promise<void> {
  const output = new Output(flags.json === true);
  const rows: string[][] = [];
  await withClient(flags, async (client) => {
    for await (const token of allTokens(client)) {
      if (output.isJson) await output.item(JSON.stringify(token));
      else rows.push(rowOf(token));
    }
  });
  const heads = ['id', 'name', 'role', 'namespace', 'configure', 'write', 'read', 'expires'];
  if (!output.isJson) await output.line(rows.length === 0 ? 'No tokens' : textTable(heads, rows));
  await output.end();
}

async function revokeToken(id: string, flags: Flags): Promise<void> {
  if (!isName(id)) throw new UsageError(`Cannot use ${JSON.stringify(id)} as id: expected the id of a token`);
  await withClient(flags, (client) => client.tokens.revoke(id));
  await new Output(flags.json === true).print({ id, revoked: true }, `Token ${id} is revoked`);
}

async function* allTokens(client: Client): AsyncGenerator<TokenInfo> {
  let after: string | undefined;
  do {
    const page: readonly TokenInfo[] = await client.tokens.list({ after, limit: LIMITS.pageMax });
    yield* page;
    after = page.length < LIMITS.pageMax ? undefined : page.at(-1)?.id;
  } while (after !== undefined);
}

function rowOf({ id, name, role, namespace, configure, write, read, expiresAt }: TokenInfo): string[] {
  const patterns = [configure, write, read].map((list) => (list.length === 0 ? '-' : list.join(',')));
  const expires = expiresAt === null ? 'never' : new Date(expiresAt).toISOString();
  return [id, name, role, namespace ?? '(all)', ...patterns, expires];
}

function nameOption(flags: string, description: string): Option {
  return new Option(flags, description).argParser((text) => {
    if (isName(text)) return text;
    throw new InvalidArgumentError('Expected 1-200 of A-Z a-z 0-9 _ . : / -');
  });
}

/** Patterns separated by commas; an empty text is none. */
function patternsOption(flags: string, description: string): Option {
  return new Option(flags, `${description} (with *, separated by commas)`).argParser((text) => {
    const patterns = text === '' ? [] : text.split(',');
    if (patterns.length <= LIMITS.patternsMax && patterns.every(isPattern)) return patterns;
    throw new InvalidArgumentError(`Expected up to ${LIMITS.patternsMax} patterns of A-Z a-z 0-9 _ . : / - *`);
  });
}
