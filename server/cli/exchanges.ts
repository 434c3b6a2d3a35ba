/** `lovage exchanges`: exchanges and their bindings. */
import type { Client, ExchangeBinding, ExchangeType, HeaderMatch } from '@lovage/client';
import { type BindingInfo, EXCHANGE_TYPES, HEADER_MATCHES, isName, LIMITS } from '@lovage/protocol';
import { type Command, Option } from 'commander';
import { withClient } from './client.js';
import { UsageError } from './failure.js';
import { addSettings, JSON_OPTION, pairsOption } from './options.js';
import { Output } from './output.js';
import { pagesOf } from './pages.js';
import { textTable } from './text-table.js';

type Flags = Readonly<Record<string, unknown>>;

interface Answer {
  readonly value: unknown;
  readonly text: string;
}

interface ExchangeVerb {
  readonly description: string;
  /** Adds the verb's own options. */
  readonly options?: (command: Command) => void;
  /** Checks the flags before anything is connected; what it returns does the work. */
  readonly run: (exchange: string, flags: Flags) => (client: Client) => Promise<Answer>;
}

/** Verbs that take one exchange and print one answer. */
const VERBS = {
  declare: {
    description: 'make an exchange; if there is one, check that it is the same',
    options: (command) => {
      command
        .addOption(
          new Option('--type <type>', 'which bindings a message follows').choices(EXCHANGE_TYPES).makeOptionMandatory(),
        )
        .option('--alternate <exchange>', 'exchange that gets what no binding matches');
    },
    run:
      (exchange, { type, alternate }) =>
      async (client) => {
        const options = { type: type as ExchangeType, alternate: (alternate as string | undefined) ?? null };
        const declared = await client.exchanges.declare(exchange, options);
        return {
          value: { exchange, ...declared },
          text: `Exchange ${exchange} ${declared.created ? 'is made' : 'was there'}`,
        };
      },
  },
  delete: {
    description: 'delete an exchange with the bindings from it and to it',
    options: (command) => {
      command.option('--if-unused', 'only if it has no bindings and is no alternate');
    },
    run:
      (exchange, { ifUnused }) =>
      async (client) => {
        const { bindings } = await client.exchanges.delete(exchange, { ifUnused: ifUnused === true });
        const text = `Deleted ${exchange} with ${bindings} ${bindings === 1 ? 'binding' : 'bindings'}`;
        return { value: { exchange, bindings }, text };
      },
  },
  bind: {
    description: 'lead messages from an exchange to a queue, or to another exchange',
    options: addBinding,
    run: (exchange, flags) => {
      const binding = bindingOf(exchange, flags);
      return async (client) => {
        const { created } = await client.exchanges.bind(binding);
        const text = `The binding of ${exchange} ${created ? 'is made' : 'was there'}`;
        return { value: { exchange, created }, text };
      };
    },
  },
  unbind: {
    description: 'remove a binding that was made with the same options',
    options: addBinding,
    run: (exchange, flags) => {
      const binding = bindingOf(exchange, flags);
      return async (client) => {
        const { removed } = await client.exchanges.unbind(binding);
        const text = `The binding of ${exchange} ${removed ? 'is removed' : 'was not there'}`;
        return { value: { exchange, removed }, text };
      };
    },
  },
} as const satisfies Record<string, ExchangeVerb>;

export function addExchanges(program: Command): void {
  const exchanges = program.command('exchanges').description('list, make, bind, unbind and delete exchanges');
  const list = exchanges.command('list').description('show all exchanges of the namespace');
  list.option(...JSON_OPTION).action(listExchanges);
  addSettings(list, 'client');
  for (const [name, verb] of Object.entries<ExchangeVerb>(VERBS)) {
    const command = exchanges
      .command(name)
      .description(verb.description)
      .argument('<exchange>', 'name of the exchange');
    verb.options?.(command);
    command.option(...JSON_OPTION).action((exchange: string, flags: Flags) => runVerb(verb, exchange, flags));
    addSettings(command, 'client');
  }
  const bindings = exchanges.command('bindings').description('show the bindings from an exchange');
  bindings.argument('<exchange>', 'name of the exchange').option(...JSON_OPTION);
  bindings.action(listBindings);
  addSettings(bindings, 'client');
}

function addBinding(command: Command): void {
  command
    .option('--queue <queue>', 'queue to lead to')
    .option('--to-exchange <exchange>', 'exchange to lead to')
    .option('--key <key>', 'routing key of a direct exchange, pattern of a topic exchange')
    .addOption(pairsOption('--header <name=value>', 'text that a message must have as a header; may be repeated'))
    .addOption(
      new Option('--match <match>', 'whether all of the headers or any (default all)').choices(HEADER_MATCHES),
    );
}

function bindingOf(exchange: string, flags: Flags): ExchangeBinding {
  const { queue, toExchange, key, header, match } = flags as {
    readonly queue?: string;
    readonly toExchange?: string;
    readonly key?: string;
    readonly header?: Record<string, string>;
    readonly match?: HeaderMatch;
  };
  if ((queue === undefined) === (toExchange === undefined))
    throw new UsageError('Cannot bind: expected one of --queue and --to-exchange');
  // Without a header nothing has to match, which only a headers exchange may be told.
  return { exchange, queue, toExchange, key, headers: header ?? (match === undefined ? undefined : {}), match };
}

async function runVerb(verb: ExchangeVerb, exchange: string, flags: Flags): Promise<void> {
  checkName(exchange);
  const { value, text } = await withClient(flags, verb.run(exchange, flags));
  await new Output(flags.json === true).print(value, text);
}

function checkName(exchange: string): void {
  if (!isName(exchange))
    throw new UsageError(`Cannot use ${JSON.stringify(exchange)} as exchange: expected 1-200 of A-Z a-z 0-9 _ . : / -`);
}

/** One JSON line an exchange as the pages come, or a table when all are there. */
async function listExchanges(flags: Flags): Promise<void> {
  const output = new Output(flags.json === true);
  const rows: (string | number | boolean)[][] = [];
  await withClient(flags, async (client) => {
    const pages = pagesOf(
      (after?: string) => client.exchanges.list({ after, limit: LIMITS.pageMax }),
      ({ name }) => name,
    );
    for await (const info of pages) {
      const { name, type, alternate, bindings, totals } = info;
      if (output.isJson) await output.item(JSON.stringify(info));
      else rows.push([name, type, alternate ?? '-', bindings, totals.published, totals.unrouted]);
    }
  });
  const heads = ['exchange', 'type', 'alternate', 'bindings', 'published', 'unrouted'];
  if (!output.isJson) await output.line(rows.length === 0 ? 'No exchanges' : textTable(heads, rows));
  await output.end();
}

async function listBindings(exchange: string, flags: Flags): Promise<void> {
  checkName(exchange);
  const output = new Output(flags.json === true);
  const rows: (string | number | boolean)[][] = [];
  await withClient(flags, async (client) => {
    const page = (after?: number) => client.exchanges.bindings(exchange, { after, limit: LIMITS.pageMax });
    for await (const info of pagesOf(page, ({ id }) => id)) {
      if (output.isJson) await output.item(JSON.stringify(info));
      else rows.push([info.queue ?? `exchange ${info.toExchange}`, whenText(info)]);
    }
  });
  if (!output.isJson) await output.line(rows.length === 0 ? 'No bindings' : textTable(['to', 'when'], rows));
  await output.end();
}

function whenText({ key, headers, match }: BindingInfo): string {
  if (headers === null) return key === '' ? '-' : key;
  return `${match} of ${JSON.stringify(headers)}`;
}
