/**
 * How a command is declared: every one has a summary, at least one example, and an action that gets the context and
 * answers with its exit code or nothing. Heavy parts are imported by the action, so that help and errors come at once.
 */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { distance } from 'fastest-levenshtein';
import { AlumnusError } from '../proto/errors.ts';
import type { Context } from './context.ts';
import { DEFAULT_ADDRESS } from './home.ts';

export interface CommandText {
  readonly summary: string;
  /** Paragraphs after the summary, in --help only. */
  readonly description?: string;
  readonly examples: readonly [string, ...string[]];
}

export function declare(parent: Command, usage: string, text: CommandText): Command {
  return parent
    .command(usage)
    .summary(text.summary)
    .description(text.description === undefined ? `${text.summary}.` : `${text.summary}.\n\n${text.description}`)
    .addHelpText('after', `\n${text.examples.length === 1 ? 'Example' : 'Examples'}:\n${text.examples.map((example) => `  ${example}`).join('\n')}`);
}

/** A group of commands: shows its help when no command is named. */
export function declareGroup(parent: Command, name: string, text: CommandText): Command {
  return declare(parent, name, text);
}

/** Of a group that does something by itself: what stands where a verb would be is one that is misspelt. @throws AlumnusError USAGE */
export function mustKnow(group: Command): void {
  const [word] = group.args;
  if (word === undefined) return;
  const near = group.commands.map((each) => each.name()).filter((name) => distance(word, name) <= Math.ceil(name.length / 2)).sort((a, b) => distance(word, a) - distance(word, b))[0];
  throw new AlumnusError('USAGE', `unknown command '${word}'${near === undefined ? '' : ` (did you mean ${near}?)`}`);
}

/** Binds an action to the context; what it answers becomes the exit code. */
export function action<Arguments extends unknown[]>(command: Command, context: Context, body: (...values: Arguments) => Promise<number | void>): Command {
  return command.action(async (...values: unknown[]) => {
    const code = await body(...(values as Arguments));
    if (typeof code === 'number') context.exitCode = code;
  });
}

/** For a command that talks to a coordinator: which one, and how. */
export const connected = (command: Command): Command => [
  new Option('--context <name>', 'a coordinator of `alumnus config` (ALUMNUS_CONTEXT; the one of `config use-context`)'),
  new Option('--address <host:port,...>', `the coordinator, or each of several (ALUMNUS_ADDRESS; the context's; ${DEFAULT_ADDRESS})`),
  new Option('--tls', 'over TLS, by the authorities that Node.js trusts'),
  new Option('--tls-ca <file>', 'over TLS, by this authority (ALUMNUS_TLS_CA; the context\'s)'),
  new Option('--token-file <file>', 'the file with the token that each call carries (ALUMNUS_TOKEN is the token itself; the context\'s)'),
  new Option('--insecure-token', 'the token may go over the network without TLS'),
].reduce((each, option) => each.addOption(option.helpGroup('Coordinator:')), command);
export const outputOption = (): Option => new Option('-o, --output <form>', 'table, wide, json, jsonl, yaml or name').default('table');
export const homeOption = (): Option => new Option('--home <folder>', 'where everything is kept (ALUMNUS_HOME; ~/.local/share/alumnus)');
export const storeOption = (): Option => new Option('--store <url>', 'the object store (ALUMNUS_STORE; the one in the home folder)');

export const journalOption = (): Option => new Option('--journal <url>', 'the journal, nats://host:port,host:port/NAME (ALUMNUS_JOURNAL; the one in the home folder)');

export interface OutputFlag {
  output: string;
}

/** A whole number within bounds, as an argument's parser. */
export const wholeNumber = (min: number, max = Number.MAX_SAFE_INTEGER) => (text: string): number => {
  const value = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value) || value < min || value > max) {
    throw new InvalidArgumentError(max === Number.MAX_SAFE_INTEGER ? `A whole number from ${min} on is expected.` : `A whole number from ${min} to ${max} is expected.`);
  }
  return value;
};

/** Hours, broken ones too, as an argument's parser; the coordinator knows how many are too many. */
export const hours = (text: string): number => {
  if (!/^\d+(\.\d+)?$/.test(text)) throw new InvalidArgumentError('Hours are expected, such as 40 or 1.5; 0 is no limit.');
  return Number(text);
};
