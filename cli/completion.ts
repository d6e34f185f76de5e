/**
 * What may come next on a command line: nouns, verbs, flags and their values from the tree of commands itself; ids of runs and workers, names of datasets and
 * contexts as they are now. The shells' own scripts, and how they ask, are @bomb.sh/tab's.
 * Invariant: whoever presses a key waits no longer than LIVE_MS, and gets no error.
 */
import { readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { RootCommand } from '@bomb.sh/tab';
import type { Command, Option } from 'commander';
import type { ConnectionFlags } from './connection.ts';
import type { Context } from './context.ts';
import { outputForms } from './output.ts';

const LIVE_MS = 1_500;

type Candidates = readonly string[];
type Source = 'runs' | 'workers' | 'datasets' | 'contexts' | 'files' | 'models' | 'recipes' | 'forms';

/** By what an argument or an option's value is called in usage; where commands differ, by command too. */
const sources: Readonly<Record<string, Source>> = {
  run: 'runs', runs: 'runs', 'run diff a': 'runs', 'run diff b': 'runs', 'recipe diff a': 'files', 'recipe diff b': 'files', model: 'runs', worker: 'workers',
  'config use-context name': 'contexts', 'config set-context name': 'contexts', 'config delete-context name': 'contexts', '--context': 'contexts',
  'dataset inspect name': 'datasets', 'dataset verify name': 'datasets', 'dataset corrupt name': 'datasets', 'dataset append name': 'datasets', '--dataset': 'datasets',
  'recipe init name': 'recipes', 'recipe models name': 'models', '--output': 'forms', '--run': 'runs', file: 'files', folder: 'files', place: 'files',
};

const sourceOf = (command: string, name: string): Source | undefined => sources[`${command} ${name}`] ?? sources[name];

/** @param words behind the program's name, the last one as far as it is written */
export async function completed(context: Context, program: Command, words: readonly string[]): Promise<void> {
  const live = await Promise.race([candidatesFor(context, program, words), new Promise<Map<Source, Candidates>>((resolve) => setTimeout(() => resolve(new Map()), LIVE_MS).unref())]);
  const root = new RootCommand();
  const offer = (candidates: Candidates | undefined) => (complete: (value: string, description: string) => void): void => candidates?.forEach((each) => complete(each, ''));
  const add = (command: Command, path: string): void => {
    const known = path === '' ? root : root.command(path, command.summary() || command.description());
    for (const option of visibleOptions(command)) {
      const long = option.long?.slice('--'.length);
      const short = option.short?.slice('-'.length);
      if (long === undefined) continue;
      const source = sourceOf(path, `--${long}`) ?? fileSource(option);
      if (option.required || option.optional) known.option(long, option.description, offer(option.argChoices ?? (source === undefined ? [] : live.get(source))), short);
      else known.option(long, option.description, short);
    }
    for (const argument of command.registeredArguments) {
      const source = sourceOf(path, argument.name());
      known.argument(argument.name(), offer(argument.argChoices ?? (source === undefined ? [] : live.get(source))), argument.variadic);
    }
    for (const each of visibleCommands(command)) add(each, path === '' ? each.name() : `${path} ${each.name()}`);
  };
  add(program, '');
  root.parse([...words]);
}

const visibleOptions = (command: Command): Option[] => command.createHelp().visibleOptions(command);
const visibleCommands = (command: Command): Command[] => command.createHelp().visibleCommands(command);

const fileSource = ({ flags }: Option): Source | undefined => (/<(file|folder)>/.test(flags) ? 'files' : undefined);

/** What this very command line may want of what is there now; the rest is not asked for. */
async function candidatesFor(context: Context, program: Command, words: readonly string[]): Promise<Map<Source, Candidates>> {
  const { command, path } = commandOf(program, words);
  const wanted = new Set<Source>();
  for (const argument of command.registeredArguments) wanted.add(sourceOf(path, argument.name()) ?? 'forms');
  for (const option of visibleOptions(command)) wanted.add(sourceOf(path, option.long ?? '') ?? fileSource(option) ?? 'forms');
  const told = await Promise.all([...wanted].map(async (source) => [source, await candidates(context, source, words).catch((): Candidates => [])] as const));
  return new Map(told);
}

function commandOf(program: Command, words: readonly string[]): { command: Command; path: string } {
  let command = program;
  const path: string[] = [];
  for (const word of words) {
    const next = command.commands.find((each) => each.name() === word);
    if (next === undefined) continue;
    command = next;
    path.push(word);
  }
  return { command, path: path.join(' ') };
}

async function candidates(context: Context, source: Source, words: readonly string[]): Promise<Candidates> {
  switch (source) {
    case 'forms': return outputForms;
    case 'recipes': return (await import('../recipe/index.ts')).readyRecipeNames();
    case 'models': return (await import('../recipe/index.ts')).modelNames;
    case 'files': return entriesBeside(words.at(-1) ?? '');
    case 'contexts': {
      const { configFile, loadConfig } = await import('./config.ts');
      return Object.keys((await loadConfig(configFile(context.env))).contexts);
    }
    case 'datasets': {
      const [{ openStore }, { listDatasets }, { storeUrl }] = await Promise.all([import('../store/index.ts'), import('../dataset/index.ts'), import('./home.ts')]);
      const [store, home] = [flagIn(words, '--store'), flagIn(words, '--home')];
      return listDatasets(await openStore(storeUrl(context.env, { ...(store === undefined ? {} : { store }), ...(home === undefined ? {} : { home }) }), { create: false }));
    }
    case 'runs':
    case 'workers': {
      const [{ withOperator }, { connectionOf }] = await Promise.all([import('./client.ts'), import('./connection.ts')]);
      return withOperator(await connectionOf(context, connectionIn(words)), async (operator) => (source === 'runs'
        ? (await operator.runs()).runs.sort((a, b) => b.submittedAtMs - a.submittedAtMs).map(({ runId }) => runId)
        : (await operator.workers()).workers.map(({ workerId }) => workerId)));
    }
  }
}

/** A flag's value among words of which the last is not written to its end. */
function flagIn(words: readonly string[], flag: string): string | undefined {
  const at = words.lastIndexOf(flag, -2);
  return at < 0 ? words.slice(0, -1).find((word) => word.startsWith(`${flag}=`))?.slice(flag.length + 1) : words[at + 1];
}

function connectionIn(words: readonly string[]): ConnectionFlags {
  const [address, context, tlsCa, tokenFile] = ['--address', '--context', '--tls-ca', '--token-file'].map((flag) => flagIn(words, flag));
  return {
    ...(address === undefined ? {} : { address }), ...(context === undefined ? {} : { context }), ...(tlsCa === undefined ? {} : { tlsCa }), ...(tokenFile === undefined ? {} : { tokenFile }),
    ...(words.includes('--tls') ? { tls: true as const } : {}), ...(words.includes('--insecure-token') ? { insecureToken: true as const } : {}),
  };
}

async function entriesBeside(prefix: string): Promise<string[]> {
  const folder = prefix.endsWith('/') ? prefix : dirname(prefix);
  const entries = await readdir(folder === '' ? '.' : folder, { withFileTypes: true });
  const beside = prefix.includes('/') ? folder : '';
  return entries.map((entry) => `${beside === '' ? '' : join(beside, '/')}${entry.name}${entry.isDirectory() ? '/' : ''}`);
}
