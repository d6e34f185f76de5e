/**
 * From what a user submits to what a run needs: the recipe is checked, the datasets it names are looked up, and
 * everything is fixed by digest. Reads manifests and, of parts of different datasets, lists of keys; the coordinator never touches an image or a label.
 */
import { AlumnusError, invariant } from '../../proto/errors.ts';
import type { RunData } from '../../proto/gen/alumnus/v1/events.ts';
import type { CorruptedPart, CorruptedSet, PartRef } from '../../proto/gen/alumnus/v1/task.ts';
import { corruptedName, corruptionNames, countLabels, loadManifest, referenceOf, sequenceNames, sequenceOf, sharedKeys, type DatasetManifest, type DatasetPart } from '../../dataset/index.ts';
import { isImported, ladderStep, modelOfIteration, modelOptions, outputIndices, parameterCount, parseRecipe, resizeProblem, type Recipe } from '../../recipe/index.ts';
import type { ObjectStore, PartName } from '../../store/index.ts';

interface LoadedManifest {
  readonly manifest: DatasetManifest;
  readonly digest: string;
}

export async function prepareSubmission(store: ObjectStore, recipeText: string): Promise<{ recipe: Recipe; data: RunData }> {
  const recipe = parseRecipe(recipeText);
  const manifests = new Map<string, LoadedManifest>();
  const load = async (name: string): Promise<LoadedManifest> => {
    const known = manifests.get(name);
    if (known !== undefined) return known;
    const loaded = await loadManifest(store, name);
    manifests.set(name, loaded);
    return loaded;
  };
  const find = async (wanted: PartName, optional: boolean): Promise<{ loaded: LoadedManifest; part: DatasetPart; ref: PartRef } | undefined> => {
    const written = recipe.data[wanted] ?? recipe.data.dataset;
    if (written === undefined) {
      if (optional) return undefined;
      throw new AlumnusError('RECIPE_INVALID', 'name a dataset here, or one for all parts in data.dataset', { where: `data.${wanted}` });
    }
    const [name = '', partName = wanted] = written.split('#') as [string, PartName?];
    const loaded = await load(name);
    const part = loaded.manifest.parts[partName];
    if (part === undefined) {
      if (optional && recipe.data[wanted] === undefined) return undefined;
      throw new AlumnusError('DATASET_NOT_FOUND', `dataset ${name} has no ${partName} part; it has ${Object.keys(loaded.manifest.parts).join(', ')}`, { where: `data.${wanted}` });
    }
    return { loaded, part, ref: { dataset: `${referenceOf(loaded.manifest)}#${partName}`, manifestSha256: loaded.digest, shards: part.shards, labels: part.labels, samples: part.samples, ...(part.reviewed === undefined ? {} : { reviewed: part.reviewed }) } };
  };
  const labeled = await find('labeled', false);
  const validation = await find('validation', false);
  const unlabeled = await find('unlabeled', recipe.rounds === 0);
  const test = await find('test', true);
  invariant(labeled !== undefined && validation !== undefined, 'required parts are found or refused');

  const { classes, image } = labeled.loaded.manifest;
  for (const [name, each] of Object.entries({ validation, unlabeled, test })) {
    if (each === undefined) continue;
    const other = each.loaded.manifest;
    if (name !== 'unlabeled' && other.classes.join('\n') !== classes.join('\n')) {
      throw new AlumnusError('RECIPE_INVALID', `its classes (${other.classes.join(', ')}) are not those of the labeled data (${classes.join(', ')})`, { where: `data.${name}` });
    }
    if (other.image.height !== image.height || other.image.width !== image.width || other.image.channels !== image.channels) {
      throw new AlumnusError('RECIPE_INVALID', `its images are ${shapeOf(other.image)}, the labeled ones ${shapeOf(image)}; import both with one size`, { where: `data.${name}` });
    }
  }
  for (const [name, each] of Object.entries({ labeled, validation, test })) {
    if (each !== undefined && each.part.labels === undefined) throw new AlumnusError('RECIPE_INVALID', `${each.ref.dataset} has no labels`, { where: `data.${name}` });
  }
  // What trains and what judges must be different images; the import keeps parts of one dataset apart, so only a recipe can mix them:
  // by naming a part twice, or by naming parts of two datasets that were made of the same images.
  const warnings: string[] = [];
  const shardsOf = (part: PartRef): Set<string> => new Set(part.shards.map((shard) => shard.ref?.sha256 ?? ''));
  for (const [judge, judging] of Object.entries({ validation, test })) {
    if (judging === undefined) continue;
    const judged = shardsOf(judging.ref);
    // Validation decides and test only reports: they may not share images either.
    for (const [name, each] of Object.entries({ labeled, unlabeled, ...(judge === 'test' ? { validation } : {}) })) {
      if (each === undefined) continue;
      if ([...shardsOf(each.ref)].some((digest) => judged.has(digest))) {
        throw new AlumnusError('RECIPE_INVALID', `it shares images with data.${judge}: a model would be judged on what made it`, { where: `data.${name}` });
      }
      // Import keeps its own images apart; what was registered nobody has looked at.
      if (each.loaded.digest === judging.loaded.digest && ![each, judging].some(({ part }) => hasRegistered(part))) continue;
      const [keys, judgingKeys] = [each.part.keys, judging.part.keys];
      if (keys === undefined || judgingKeys === undefined) {
        const without = [each, judging].filter(({ part }) => part.keys === undefined);
        const called = without.map(({ ref }) => ref.dataset).join(' and ');
        const [was, it] = without.length === 1 ? ['was', 'it lies'] : ['were', 'they lie'];
        warnings.push(`nobody knows whether data.${name} shares images with data.${judge}: ${called} ${without.some(({ part }) => hasRegistered(part)) ? `${was} registered where ${it}, and images there are not compared` : `${was} imported before datasets had lists of their keys; import again under a new name to have them compared`}`);
        continue;
      }
      const shared = await sharedKeys(store, keys, judgingKeys);
      if (shared > 0) {
        throw new AlumnusError('RECIPE_INVALID', `it shares ${shared} images with data.${judge}, under the names of two datasets: a model would be judged on what made it`, { where: `data.${name}` });
      }
    }
  }
  // Indices of another class list would say nothing about these labels.
  const truth = unlabeled?.loaded.manifest.classes.join('\n') === classes.join('\n') ? unlabeled.part.truth : undefined;
  const truthful = (recipe.comparisons ?? []).findIndex((each) => each.labels === 'truth');
  if (truthful >= 0 && truth === undefined) {
    throw new AlumnusError('RECIPE_INVALID', `true labels are asked for, and nobody knows those of ${unlabeled?.ref.dataset ?? 'data.unlabeled'}: only a dataset that was imported from labeled images, of the same classes as data.labeled, has them`, { where: `comparisons.${truthful}.labels` });
  }
  if (truthful >= 0 && truth !== undefined) {
    const [known, all] = [await countLabels(store, truth), unlabeled?.part.samples ?? 0];
    if (known < all) throw new AlumnusError('RECIPE_INVALID', `true labels are asked for, and those of ${known} of the ${all} images of ${unlabeled?.ref.dataset ?? ''} are known: it was imported from images of which some had none`, { where: `comparisons.${truthful}.labels` });
  }
  if (recipe.models.teacher !== undefined) outputIndices(recipe.models.teacher, classes);
  ladderGrows(recipe, image, classes.length);
  comparisonsFit(recipe, image, classes.length);
  fineTuningFits(recipe, image, classes.length);
  const counts = labeled.part.classCounts ?? [];
  const empty = classes.filter((_, index) => (counts[index] ?? 0) === 0);
  if (counts.length > 0 && empty.length > 0) throw new AlumnusError('DATASET_CLASS_EMPTY', `no labeled image is of class ${empty.join(', ')}`, { where: labeled.ref.dataset });
  const { early_stop: early } = recipe.training;
  if (early !== undefined && counts.length > 0 && counts.every((count) => Math.floor(early.holdout * count) === 0)) {
    throw new AlumnusError('RECIPE_INVALID', `${early.holdout} of the labeled images of each class is less than one image (the largest class has ${Math.max(...counts)}): nothing would be held out`, { where: 'training.early_stop.holdout' });
  }
  const corrupted = recipe.data.corrupted === undefined ? undefined : await findCorrupted(load, recipe.data.corrupted, validation.part, test?.part, warnings);
  const samples = unlabeled?.part.samples ?? 0;
  if (samples < recipe.data.unlabeled_at_least) {
    throw new AlumnusError('DATASET_TOO_SMALL', `${samples} unlabeled samples are there, data.unlabeled_at_least asks for ${recipe.data.unlabeled_at_least}`, { where: unlabeled?.ref.dataset ?? 'data.unlabeled' });
  }
  return {
    recipe,
    data: {
      image, classNames: classes, labeled: labeled.ref, unlabeled: unlabeled?.ref, validation: validation.ref, test: test?.ref,
      truth, warnings,
      ...(corrupted === undefined ? {} : { corrupted }),
    },
  };
}

/**
 * All corruptions, and the perturbation sequences that are there. They must be of the very images that judge: their labels are the same
 * table, by digest.
 * @throws AlumnusError DATASET_NOT_FOUND, RECIPE_INVALID
 */
async function findCorrupted(load: (name: string) => Promise<LoadedManifest>, as: string, validation: DatasetPart, test: DatasetPart | undefined, warnings: string[]): Promise<CorruptedSet> {
  const where = 'data.corrupted';
  const loaded = async (corruption: string): Promise<LoadedManifest | undefined> => {
    try {
      return await load(corruptedName(as, corruption));
    } catch (thrown) {
      if (thrown instanceof AlumnusError && thrown.code === 'DATASET_NOT_FOUND') return undefined;
      throw thrown;
    }
  };
  const sets: { name: string; set: LoadedManifest }[] = [];
  for (const name of [...corruptionNames, ...sequenceNames]) {
    const set = await loaded(name);
    if (set !== undefined) sets.push({ name, set });
    else if (sequenceOf(name) === undefined) throw new AlumnusError('DATASET_NOT_FOUND', `there is no dataset "${corruptedName(as, name)}": \`alumnus dataset corrupt NAME --as ${as}\` makes it and its fellows`, { where });
  }
  const made = sets.map(({ name, set }) => ({ name, corruption: set.manifest.corruption }));
  const odd = made.find(({ name, corruption }) => corruption?.name !== name || corruption.of.sha256 !== made[0]?.corruption?.of.sha256);
  if (odd !== undefined) throw new AlumnusError('RECIPE_INVALID', `${corruptedName(as, odd.name)} was not made of the same dataset as its fellows, or by another corruption than its name says`, { where });
  const single = sets.filter(({ name }) => sequenceOf(name) === undefined);
  const isOf = (part: 'validation' | 'test', of: DatasetPart | undefined): boolean => of?.labels !== undefined && single.every(({ set }) => set.manifest.parts[part]?.labels?.sha256 === of.labels?.sha256);
  if (!isOf('validation', validation)) throw new AlumnusError('RECIPE_INVALID', `${as} was made of ${made[0]?.corruption?.of.name ?? 'another dataset'}, whose validation images are not those of data.validation`, { where });
  const tested = isOf('test', test);
  if (!tested && test !== undefined) warnings.push(`data.corrupted: ${as} was made of other test images than data.test: its test figures are not reported`);
  const partOf = ({ manifest, digest }: LoadedManifest, name: 'validation' | 'test'): PartRef | undefined => {
    const part = manifest.parts[name];
    return part && { dataset: `${referenceOf(manifest)}#${name}`, manifestSha256: digest, shards: part.shards, labels: part.labels, samples: part.samples };
  };
  return {
    parts: sets.map(({ name, set }): CorruptedPart => {
      const { frames = 0, againstFirst = false } = sequenceOf(name) ?? {};
      return { name, validation: partOf(set, 'validation'), test: tested ? partOf(set, 'test') : undefined, frames, againstFirst };
    }),
  };
}

const hasRegistered = (part: DatasetPart): boolean => part.shards.some((shard) => shard.location !== undefined);

const shapeOf = (image: DatasetManifest['image']): string => `${image.height}x${image.width}x${image.channels}`;

/** Whether each model of a comparison can be built for these images. */
function comparisonsFit(recipe: Recipe, input: DatasetManifest['image'], classes: number): void {
  for (const [at, { model }] of (recipe.comparisons ?? []).entries()) {
    if (model === undefined) continue;
    try {
      parameterCount({ model: { name: model.model, options: modelOptions(model) }, input, classes });
    } catch (thrown) {
      throw thrown instanceof AlumnusError ? new AlumnusError(thrown.code, thrown.message, { where: `comparisons.${at}.model`, cause: thrown }) : thrown;
    }
  }
}

/** Whether each model of the ladder, and of the comparisons, can go on with images of the size that fine-tuning wants. */
function fineTuningFits(recipe: Recipe, input: DatasetManifest['image'], classes: number): void {
  const size = recipe.training.fine_tune?.image;
  if (size === undefined) return;
  const iterations = Array.from({ length: recipe.rounds + 1 }, (_, iteration) => iteration).filter((iteration) => !isImported(recipe, iteration));
  const choices = [...iterations.map((iteration) => modelOfIteration(recipe, iteration)), ...(recipe.comparisons ?? []).flatMap(({ model }) => model ?? [])];
  for (const choice of choices) {
    const problem = resizeProblem({ model: { name: choice.model, options: modelOptions(choice) }, input, classes }, { ...input, ...size });
    if (problem !== undefined) throw new AlumnusError('RECIPE_INVALID', problem, { where: 'training.fine_tune.image' });
  }
}

/** The recipe's schema compares options of one model; here the data's shape is known, and parameters are counted. */
function ladderGrows(recipe: Recipe, input: DatasetManifest['image'], classes: number): void {
  const parameters = Array.from({ length: recipe.rounds + 1 }, (_, iteration) => {
    // Of a teacher from elsewhere nobody knows yet how large it is.
    if (isImported(recipe, iteration)) return 0;
    const choice = modelOfIteration(recipe, iteration);
    return parameterCount({ model: { name: choice.model, options: modelOptions(choice) }, input, classes });
  });
  // A teacher may be distilled into a smaller student.
  if (recipe.training.distill !== undefined) return;
  parameters.forEach((count, iteration) => {
    const before = parameters[iteration - 1] ?? 0;
    if (count < before) throw new AlumnusError('RECIPE_LADDER_SHRINKS', `the model has ${count} parameters, the one before it ${before}: a student is equal to its teacher or larger`, { where: `models.ladder[${ladderStep(recipe, iteration)}]` });
  });
}
