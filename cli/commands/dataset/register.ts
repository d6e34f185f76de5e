/** `alumnus dataset register` and `append`: tars become shards of a dataset where they lie. */
import { type Command, Option } from 'commander';
import { AlumnusError } from '../../../proto/errors.ts';
import { action, connected, declare, homeOption, outputOption, storeOption, wholeNumber, type OutputFlag } from '../../command.ts';
import type { PlacedTars, Progress, Registered } from '../../../dataset/index.ts';
import type { ObjectStore, PartName } from '../../../store/index.ts';
import { connectionOf, type ConnectionFlags } from '../../connection.ts';
import type { Context } from '../../context.ts';
import { placeUrl, storeUrl } from '../../home.ts';
import { classList, imageSize } from './values.ts';

interface Flags extends OutputFlag, ConnectionFlags {
  part: PartName;
  classes?: string[];
  size?: { height: number; width: number; channels: 1 | 3 };
  atOnce: number;
  fleet?: boolean;
  home?: string;
  store?: string;
}

/** More connections than this help nobody. */
const AT_ONCE_MAX = 64;
const PARTS: readonly PartName[] = ['unlabeled', 'labeled', 'validation', 'test'];

const withPlace = (command: Command): Command => connected(command)
  .addOption(new Option('--part <part>', 'what the images are; all but unlabeled ones need a .cls or .json beside each').choices(PARTS).default('unlabeled'))
  .option('--classes <names>', 'class names in the order of their indices, with commas', classList)
  .option('--at-once <n>', 'tars that are read at the same time', wholeNumber(1, AT_ONCE_MAX), 4)
  .addOption(new Option('--fleet', 'the coordinator\'s workers read the tars, not this command').conflicts('atOnce'))
  .addOption(homeOption()).addOption(storeOption()).addOption(outputOption());

export function addDatasetRegister(group: Command, context: Context): void {
  const register = withPlace(declare(group, 'register <name> <place>', {
    summary: 'Make a dataset of WebDataset tars where they lie; nothing is copied',
    description: 'Reads every tar below the place once, to hash it and to count its images. Interrupted, the same command goes on where it stopped. With --fleet workers do the reading, beside their runs. Workers read the tars from the same place: its URL must be right for them, and their keys must open it. What changes there afterwards is noticed by its digest.',
    examples: ['alumnus dataset register web s3://crawl/tars', 'alumnus dataset register photos file:///mnt/photos --part labeled --size 224x224x3', 'alumnus dataset register web s3://crawl/tars --fleet --address coordinator:7700'],
  })).option('--size <HxWxC>', 'what images are brought to when they are read (the first image\'s)', imageSize);
  action(register, context, (name: string, place: string, flags: Flags) => run(context, name, place, flags, async (store, tars, progress) => {
    const { registerDataset } = await import('../../../dataset/index.ts');
    return registerDataset(store, { ...tars, name, ...(flags.size === undefined ? {} : { image: flags.size }) }, progress);
  }));

  const append = withPlace(declare(group, 'append <name> <place>', {
    summary: 'Make a new version of a dataset, with the tars that it does not have yet',
    description: 'As `register`, for a dataset that is there, registered or imported. NAME is then its newest version, NAME@1 what it was; runs keep the version they were given.',
    examples: ['alumnus dataset append web s3://crawl/tars', 'alumnus dataset append mnist file:///mnt/digits'],
  }));
  action(append, context, (name: string, place: string, flags: Flags) => run(context, name, place, flags, async (store, tars, progress) => {
    const { appendDataset } = await import('../../../dataset/index.ts');
    return appendDataset(store, name, tars, progress);
  }));
}

async function run(context: Context, name: string, place: string, flags: Flags, make: (store: ObjectStore, tars: PlacedTars, progress: Progress) => Promise<Registered>): Promise<void> {
  const [{ openStore }, { outputForm, printSingle }, { describeDataset }, { inspectDataset, referenceOf }, { transferProgress }, { plural, plain }, { connect }, { fleetReaders }] = await Promise.all([
    import('../../../store/index.ts'), import('../../output.ts'), import('../../dataset-text.ts'), import('../../../dataset/index.ts'), import('../../dataset-import.ts'), import('../../format.ts'), import('../../client.ts'), import('../../fleet-readers.ts'),
  ]);
  const form = outputForm(flags.output);
  if (flags.part === 'unlabeled' && flags.classes !== undefined) throw new AlumnusError('USAGE', 'goes with a part that has labels: --part labeled', { where: '--classes' });
  if (flags.fleet !== true && flags.address !== undefined) throw new AlumnusError('USAGE', 'goes with --fleet', { where: '--address' });
  const ownUrl = storeUrl(context.env, flags);
  const location = placeUrl(place, ownUrl);
  const store = await openStore(ownUrl);
  const progress = transferProgress(context, name);
  const release = context.hold();
  const operator = flags.fleet === true ? connect(await connectionOf(context, flags)) : undefined;
  try {
    const readers = operator && fleetReaders(operator, (line) => {
      progress.end();
      context.note(`${name}: ${line}`);
    });
    const { manifest, added, notes } = await make(store, { location, part: flags.part, atOnce: flags.atOnce, signal: context.signal, ...(readers === undefined ? {} : { readers }), ...(flags.classes === undefined ? {} : { classes: flags.classes }) }, progress.update);
    progress.end();
    for (const note of notes) context.note(`  ${plain(note)}`);
    const reference = referenceOf(manifest);
    const dataset = await inspectDataset(store, reference);
    await printSingle(context, form, { kind: 'Dataset', name: reference, value: { ...dataset, added, notes }, text: () => describeDataset(dataset) });
    context.note(`${reference}: ${added === 0 ? 'nothing new' : `${plural(added, 'shard')} added`}`);
    context.note(`Next:\n  alumnus dataset inspect ${reference}\n  alumnus recipe init photos > recipe.yaml    # and write data.${flags.part === 'unlabeled' ? 'unlabeled' : flags.part}: ${reference}`);
  } finally {
    operator?.close();
    progress.end();
    release();
  }
}
