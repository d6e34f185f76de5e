/** `alumnus config`: names for coordinators, so that no command need say address, TLS files and token again. */
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { AlumnusError } from '../../proto/errors.ts';
import { action, declare, declareGroup, outputOption, type OutputFlag } from '../command.ts';
import type { Config, NamedContext } from '../config.ts';
import type { Context } from '../context.ts';
import { coordinatorAddress } from '../home.ts';

interface SetFlags extends OutputFlag {
  address?: string;
  /** `--tls` and `--no-tls`. */
  tls?: boolean;
  tlsCa?: string;
  tlsCert?: string;
  tlsKey?: string;
  tlsServerName?: string;
  /** `--no-token`: false. */
  token?: string | false;
  tokenFile?: string;
}

/** No blanks, nothing that a shell or a table would take for something else. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9._@-]{0,62}$/;

/** What is not told of stays as it was. */
function changed(before: NamedContext, flags: SetFlags): NamedContext {
  const { tls, tlsCa, tlsCert, tlsKey, tlsServerName, token, tokenFile } = flags;
  const files = { ...(tlsCa === undefined ? {} : { ca: resolve(tlsCa) }), ...(tlsCert === undefined ? {} : { cert: resolve(tlsCert) }), ...(tlsKey === undefined ? {} : { key: resolve(tlsKey) }), ...(tlsServerName === undefined ? {} : { serverName: tlsServerName }) };
  const { tls: tlsBefore, token: tokenBefore, tokenFile: tokenFileBefore, ...rest } = before;
  const given = typeof token === 'string' ? { token } : tokenFile !== undefined ? { tokenFile: resolve(tokenFile) } : undefined;
  const kept = token === false ? {} : { ...(tokenBefore === undefined ? {} : { token: tokenBefore }), ...(tokenFileBefore === undefined ? {} : { tokenFile: tokenFileBefore }) };
  return {
    ...rest, ...(flags.address === undefined ? {} : { address: coordinatorAddress({}, flags.address) }),
    ...(tls === false ? {} : tls === true || tlsBefore !== undefined || Object.keys(files).length > 0 ? { tls: { ...tlsBefore, ...files } } : {}),
    ...(given ?? kept),
  };
}

const tlsText = ({ tls }: NamedContext): string => (tls === undefined ? 'no' : tls.cert === undefined ? 'yes' : 'mutual');
const tokenText = ({ token, tokenFile }: NamedContext): string => (token !== undefined ? 'kept here' : tokenFile ?? 'none');

export function addConfig(program: Command, context: Context): void {
  const group = declareGroup(program, 'config', {
    summary: 'Name coordinators, and choose which is meant',
    description: 'A context is a coordinator\'s address with TLS files and token. They are kept in config.yaml of the folder alumnus in $XDG_CONFIG_HOME (~/.config), which only you can read. Flags and environment go before a context; a token of a context that a command does not name goes to that context\'s address alone.',
    examples: ['alumnus config set-context prod --address coordinator-1:7700,coordinator-2:7700 --tls-ca ca.pem --token-file token', 'alumnus config use-context prod', 'alumnus run list --context prod'],
  });
  const read = async (): Promise<{ file: string; config: Config }> => {
    const { configFile, loadConfig } = await import('../config.ts');
    const file = configFile(context.env);
    return { file, config: await loadConfig(file) };
  };
  const save = async (file: string, config: Config): Promise<void> => (await import('../config.ts')).saveConfig(file, config);

  const list = declare(group, 'get-contexts', { summary: 'List the contexts; the current one has a star', examples: ['alumnus config get-contexts', 'alumnus config get-contexts -o name'] }).addOption(outputOption());
  action(list, context, async (flags: OutputFlag) => {
    const [{ config }, { outputForm, printListing }, { redactedContext }, { none }] = await Promise.all([read(), import('../output.ts'), import('../config.ts'), import('../format.ts')]);
    await printListing(context, outputForm(flags.output), {
      kind: 'Context', rows: Object.entries(config.contexts).map(([name, each]) => ({ name, current: name === config.currentContext, ...redactedContext(each) })), name: ({ name }) => name,
      head: ['', 'name', 'address', 'tls', 'token'],
      cells: (row) => [row.current ? '*' : '', row.name, row.address ?? none, tlsText(row), tokenText(row)],
      wide: { head: ['authority', 'own certificate', 'own key', 'name'], cells: ({ tls }) => [tls?.ca ?? none, tls?.cert ?? none, tls?.key ?? none, tls?.serverName ?? none] },
      empty: 'There are no contexts. Next:\n  alumnus config set-context NAME --address HOST:PORT',
    });
  });

  const current = declare(group, 'current-context', { summary: 'Print which context is meant when none is named', examples: ['alumnus config current-context'] }).addOption(outputOption());
  action(current, context, async (flags: OutputFlag) => {
    const [{ config }, { outputForm, printSingle }, { contextNamed, redactedContext }] = await Promise.all([read(), import('../output.ts'), import('../config.ts')]);
    const name = config.currentContext;
    if (name === undefined) throw new AlumnusError('USAGE', 'no context is chosen: `alumnus config use-context NAME` chooses one', { where: 'current-context' });
    await printSingle(context, outputForm(flags.output), { kind: 'Context', name, value: { name, current: true, ...redactedContext(contextNamed(config, name)) }, text: () => name });
  });

  const use = declare(group, 'use-context <name>', { summary: 'Choose the context that is meant when none is named', examples: ['alumnus config use-context prod'] }).addOption(outputOption());
  action(use, context, async (name: string, flags: OutputFlag) => {
    const [{ file, config }, { outputForm, printSingle }, { contextNamed, redactedContext }] = await Promise.all([read(), import('../output.ts'), import('../config.ts')]);
    const form = outputForm(flags.output);
    const named = contextNamed(config, name);
    await save(file, { ...config, currentContext: name });
    await printSingle(context, form, { kind: 'Context', name, value: { name, current: true, ...redactedContext(named) }, text: () => `Commands now mean ${name}.` });
    context.note('Next:\n  alumnus status\n  alumnus run list');
  });

  const set = declare(group, 'set-context <name>', {
    summary: 'Make a context, or change what is told of one',
    description: 'The first context that is made is the current one. --token puts the token on the command line, where other users of this machine may see it: --token-file is better, and is read anew each time.',
    examples: ['alumnus config set-context prod --address coordinator-1:7700,coordinator-2:7700 --tls-ca ca.pem --token-file ~/.secrets/alumnus', 'alumnus config set-context prod --tls-server-name coordinator', 'alumnus config set-context prod --no-token'],
  })
    .option('--address <host:port,...>', 'the coordinator, or each of several')
    .option('--tls', 'TLS by the authorities that Node.js trusts').option('--no-tls', 'no TLS from now on')
    .option('--tls-ca <file>', 'the authority that signed the coordinator\'s certificate (PEM)')
    .option('--tls-cert <file>', 'a certificate of your own, where the coordinator asks for one (PEM)').option('--tls-key <file>', 'and its key (PEM)')
    .option('--tls-server-name <name>', 'the name in the coordinator\'s certificate, where it is not the address\'s')
    .option('--token <token>', 'what each call carries').option('--no-token', 'no token from now on')
    .option('--token-file <file>', 'the file that holds it').addOption(outputOption());
  action(set, context, async (name: string, flags: SetFlags) => {
    const [{ file, config }, { outputForm, printSingle }, { redactedContext }, { checkedToken }] = await Promise.all([read(), import('../output.ts'), import('../config.ts'), import('../../proto/credentials.ts')]);
    const form = outputForm(flags.output);
    if (!NAME.test(name)) throw new AlumnusError('USAGE', 'a name is made of letters, digits and . _ @ -, 63 at most', { where: name });
    if (typeof flags.token === 'string') checkedToken(flags.token, '--token');
    if (typeof flags.token === 'string' && flags.tokenFile !== undefined) throw new AlumnusError('USAGE', 'says the token a second time', { where: '--token-file' });
    const before = Object.hasOwn(config.contexts, name) ? config.contexts[name] : undefined;
    const after = changed(before ?? {}, flags);
    if ((after.tls?.cert === undefined) !== (after.tls?.key === undefined)) throw new AlumnusError('USAGE', 'a certificate and its key come together: --tls-cert FILE --tls-key FILE', { where: name });
    const currentContext = config.currentContext ?? (Object.keys(config.contexts).length === 0 ? name : undefined);
    await save(file, { ...config, ...(currentContext === undefined ? {} : { currentContext }), contexts: { ...config.contexts, [name]: after } });
    await printSingle(context, form, { kind: 'Context', name, value: { name, current: currentContext === name, ...redactedContext(after) }, text: () => `Context ${name} is ${before === undefined ? 'made' : 'changed'}.` });
    context.note(`Next:\n${currentContext === name ? '' : `  alumnus config use-context ${name}\n`}  alumnus status --context ${name}`);
  });

  const remove = declare(group, 'delete-context <name>', { summary: 'Forget a context', examples: ['alumnus config delete-context trial'] }).addOption(outputOption());
  action(remove, context, async (name: string, flags: OutputFlag) => {
    const [{ file, config }, { outputForm, printSingle }, { contextNamed, redactedContext }] = await Promise.all([read(), import('../output.ts'), import('../config.ts')]);
    const form = outputForm(flags.output);
    const named = contextNamed(config, name);
    const { [name]: _, ...contexts } = config.contexts;
    const { currentContext, ...rest } = config;
    await save(file, { ...rest, ...(currentContext === undefined || currentContext === name ? {} : { currentContext }), contexts });
    await printSingle(context, form, { kind: 'Context', name, value: { name, current: false, ...redactedContext(named) }, text: () => `Context ${name} is forgotten.` });
    if (currentContext === name) context.note('It was the one that is meant when none is named. Next:\n  alumnus config use-context NAME');
  });

  const view = declare(group, 'view', { summary: 'Print the whole file, without tokens', examples: ['alumnus config view', 'alumnus config view -o json'] }).addOption(outputOption());
  action(view, context, async (flags: OutputFlag) => {
    const [{ file, config }, { outputForm, printSingle }, { redactedConfig }, { stringify }] = await Promise.all([read(), import('../output.ts'), import('../config.ts'), import('yaml')]);
    const { apiVersion: _, kind, ...value } = redactedConfig(config);
    await printSingle(context, outputForm(flags.output), { kind, name: file, value, text: () => `# ${file}\n${stringify(redactedConfig(config)).trimEnd()}` });
  });
}
