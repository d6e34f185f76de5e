/** `alumnus review`: the labels most worth a person's look as a file, and what a person wrote there as labeled images. */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { AlumnusError, invariant, toAlumnusError } from '../../proto/errors.ts';
import type { ReviewLabelsRequest, RunView } from '../../proto/gen/alumnus/v1/operator.ts';
import type { ReviewRow } from '../../proto/told.ts';
import { action, connected, declare, declareGroup, homeOption, outputOption, storeOption, wholeNumber, type OutputFlag } from '../command.ts';
import { connectionAgain, connectionOf, type ConnectionFlags } from '../connection.ts';
import type { Context } from '../context.ts';
import { storeUrl } from '../home.ts';

/** A morning's work. */
const MOST_DEFAULT = 200;
/** They are held while they are ranked. */
const MOST_MAX = 100_000;

interface StoreFlags {
  home?: string;
  store?: string;
}

interface ExportFlags extends StoreFlags {
  iteration?: number;
  most: number;
  out?: string;
  images?: string;
}

interface ImportFlags extends StoreFlags, ConnectionFlags, OutputFlag {
  run: string;
  dataset?: string;
}

export function addReview(program: Command, context: Context): void {
  const group = declareGroup(program, 'review', {
    summary: 'Have a person look at the labels that are most worth it',
    examples: ['alumnus review export mnist-4f2a91 --out review.csv --images review', 'alumnus review import review.csv --run mnist-4f2a91'],
  });
  const exporting = declare(group, 'export <run>', {
    summary: 'Write the labels most worth a look as CSV, with an empty column for a person\'s label',
    description: 'By score, the highest first: how near the two most probable classes are, how many earlier teachers named another class, and how near the confidence is to the threshold (docs/review.md). '
      + 'Everything is read from the object store: no coordinator need run, and a run under way is told as of its last manifest.',
    examples: ['alumnus review export mnist-4f2a91 --out review.csv', 'alumnus review export mnist-4f2a91 --iteration 1 --most 50 --images review --out review.csv'],
  })
    .option('--iteration <number>', 'whose labels (the newest that were selected from)', wholeNumber(1))
    .option('--most <count>', 'lines at most', wholeNumber(1, MOST_MAX), MOST_DEFAULT)
    .option('--out <file>', 'the file to write (standard output)').option('--images <folder>', 'write the image files there, and name them in the column image')
    .addOption(homeOption()).addOption(storeOption());
  action(exporting, context, async (run: string, flags: ExportFlags) => {
    const { reviewFile } = await import('../review-file.ts');
    // A person may have worked in it.
    if (flags.out !== undefined && existsSync(flags.out)) throw new AlumnusError('USAGE', 'is there already and is not overwritten', { where: flags.out });
    const rows: ReviewRow[] = [];
    const { iteration, most, images = '' } = flags;
    await askReview(context, run, flags, { queue: { ...(iteration === undefined ? {} : { iteration }), most, images: images === '' ? '' : resolve(images) } }, (line) => {
      if ('row' in line) rows.push(line['row'] as ReviewRow);
    });
    const file = reviewFile(rows);
    if (flags.out === undefined) {
      context.out.write(file);
      return;
    }
    const [{ writeWhole }, { plural }] = await Promise.all([import('../write-file.ts'), import('../format.ts')]);
    await writeWhole(flags.out, file);
    context.note(`${plural(rows.length, 'label')} to look at: write a class into the column label where you know it, then \`alumnus review import ${flags.out} --run ${run}${storeAgain(flags)}\`; for a run that has ended, with \`--dataset NAME\``);
    context.out.write(`${flags.out}\n`);
  });

  const importing = declare(group, 'import <file>', {
    summary: 'Take a person\'s labels as labeled images',
    description: 'Lines with an empty label are passed over. For the run, if it is under way: from its next iteration on, students learn the images as labeled ones, and no pseudo-label of them is selected. '
      + 'With --dataset: a new version of that dataset, for runs to come; the run only says which images these are, and may have ended. Where one line cannot be taken, none is.',
    examples: ['alumnus review import review.csv --run mnist-4f2a91', 'alumnus review import review.csv --run mnist-4f2a91 --dataset mnist'],
  })
    .requiredOption('--run <run>', 'the run that the labels were exported from').option('--dataset <name>', 'make a new version of this dataset instead')
    .addOption(homeOption()).addOption(storeOption()).addOption(outputOption());
  action(connected(importing), context, async (file: string, flags: ImportFlags) => {
    const [{ readReviewFile, reviewInvalid }, { facts, outputForm, printSingle }, { integer }] = await Promise.all([import('../review-file.ts'), import('../output.ts'), import('../format.ts')]);
    const form = outputForm(flags.output);
    const answers = readReviewFile(await readFile(file, 'utf8').catch((thrown: unknown) => {
      throw missing(thrown) ? new AlumnusError('USAGE', 'there is no such file', { where: file }) : toAlumnusError(thrown, file);
    }), file);
    if (answers.length === 0) throw new AlumnusError('REVIEW_INVALID', 'no line has a label: write a class into the column label', { where: file });
    let told: Told | undefined;
    await askReview(context, flags.run, flags, { answers, ...(flags.dataset === undefined ? {} : { dataset: flags.dataset }) }, (line) => {
      if ('reviewed' in line) told = line['reviewed'] as Told;
    });
    invariant(told !== undefined, 'the program told what it did before it ended well');
    const { problems, review, dataset, manifest, images = 0, changed = 0 } = told;
    if (problems !== undefined) throw reviewInvalid(problems, file);
    // What the run knows already is no fact of it.
    const view = review === undefined || images + changed === 0 ? undefined : await toRun(context, flags, review);
    const fromIteration = view?.reviews.at(-1)?.fromIteration;
    const value = { run: flags.run, images, changed, ...(dataset === undefined ? {} : { dataset, manifest }), ...(fromIteration === undefined ? {} : { fromIteration }) };
    await printSingle(context, form, {
      kind: 'ReviewImported', name: dataset ?? flags.run, value,
      text: () => facts([
        ['Labels', images + changed === 0 ? 'all of them are known already' : `${integer(images)} new, ${integer(changed)} changed`],
        ['Run', fromIteration === undefined ? '' : `${flags.run}: its students learn them from iteration ${fromIteration} on`],
        ['Dataset', dataset ?? ''], ['Manifest', manifest ?? ''],
      ]),
    });
    if (view !== undefined) context.note(`Next:\n  alumnus run watch ${flags.run}${connectionAgain(flags)}`);
    if (dataset !== undefined) context.note(`Next:\n  alumnus dataset inspect ${dataset}${storeAgain(flags)}\n  alumnus run resubmit ${flags.run}${connectionAgain(flags)} --set data.dataset=${dataset}`);
  });
}

interface Told {
  readonly problems?: readonly string[];
  readonly review?: Omit<ReviewLabelsRequest, 'runId'>;
  readonly dataset?: string;
  readonly manifest?: string;
  readonly images?: number;
  readonly changed?: number;
}

/** For the command that is told next. */
const storeAgain = ({ home, store }: StoreFlags): string => `${home === undefined ? '' : ` --home ${home}`}${store === undefined ? '' : ` --store ${store}`}`;

const missing = (thrown: unknown): boolean => typeof thrown === 'object' && thrown !== null && 'code' in thrown && thrown.code === 'ENOENT';

async function toRun(context: Context, flags: ImportFlags, review: Omit<ReviewLabelsRequest, 'runId'>): Promise<RunView> {
  const { withOperator } = await import('../client.ts');
  return withOperator(await connectionOf(context, flags), (operator) => operator.review({ ...review, runId: flags.run }));
}

async function askReview(context: Context, run: string, flags: StoreFlags, request: object, onLine: (line: Readonly<Record<string, unknown>>) => void): Promise<void> {
  const { askOfRun } = await import('../ask-of-run.ts');
  await askOfRun(context, { run, storeUrl: storeUrl(context.env, flags), file: 'review', request, onLine });
}
