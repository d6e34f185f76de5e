/** `alumnus bundle`: one archive for whoever helps, without secrets. */
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { toAlumnusError } from '../../proto/errors.ts';
import { action, connected, declare, homeOption, outputOption, storeOption, wholeNumber, type OutputFlag } from '../command.ts';
import { connectionOf, type ConnectionFlags } from '../connection.ts';
import type { Context } from '../context.ts';

interface Flags extends ConnectionFlags, OutputFlag {
  out?: string;
  run?: string[];
  newest: number;
  home?: string;
  store?: string;
}

const RUNS_MAX = 1_000;
const collect = (value: string, before: string[] = []): string[] => [...before, value];

export function addBundle(program: Command, context: Context): void {
  const command = declare(program, 'bundle', {
    summary: 'Write an archive for whoever helps: releases, status, runs, workers, doctor, logs; no secrets',
    description: 'A tar.gz of text. Left out: images, labels, models. Taken out: tokens, keys, passwords, users in URLs and parameters of URLs, as far as they are known or called so; look into it before you hand it on. Works without a coordinator, too. The file\'s path is printed.',
    examples: ['alumnus bundle', 'alumnus bundle --run mnist-4f2a91 --out mnist.tar.gz', 'tar -xzOf alumnus-bundle-2025-01-02.tar.gz alumnus-bundle/doctor.json'],
  }).option('--out <file>', 'the file to write (alumnus-bundle-TIME.tar.gz)').option('--run <run>', 'this run alone; may be given again', collect)
    .option('--newest <n>', 'else so many of the newest runs', wholeNumber(0, RUNS_MAX), 5).addOption(homeOption()).addOption(storeOption()).addOption(outputOption());
  action(connected(command), context, async (flags: Flags) => {
    const [{ writeBundle }, { outputForm, printSingle }, { plain }] = await Promise.all([import('../bundle.ts'), import('../output.ts'), import('../format.ts')]);
    const form = outputForm(flags.output);
    const connection = await connectionOf(context, flags).catch((thrown: unknown) => toAlumnusError(thrown));
    const to = resolve(flags.out ?? `alumnus-bundle-${new Date().toISOString().slice(0, 19).replace(/[:T]/g, '-')}.tar.gz`);
    const bundled = await writeBundle(context, connection, { to, runs: flags.run ?? [], newest: flags.newest, ...(flags.home === undefined ? {} : { home: flags.home }), ...(flags.store === undefined ? {} : { store: flags.store }) });
    for (const line of bundled.missing) context.note(`not there: ${plain(line)}`);
    await printSingle(context, form, { kind: 'Bundle', name: bundled.file, value: bundled, text: () => bundled.file });
  });
}
