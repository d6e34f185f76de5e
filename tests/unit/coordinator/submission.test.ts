/** What a submission is refused for by the datasets it names, before any run is there. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { prepareSubmission } from '../../../coordinator/api/submission.ts';
import { importDataset, readOrigins, type DatasetPart, type SourceSample } from '../../../dataset/index.ts';
import { paths, type ObjectStore } from '../../../store/index.ts';
import { GRAY, memorySource, picture, temporaryStore } from '../dataset/fixture.ts';

const recipe = 'name: digits\nrounds: 1\ndata: { dataset: set }\nmodels: { ladder: [{ model: cnn, width: 4 }] }\n';

test('a dataset whose manifest was edited by hand is refused with the manifest\'s name', async () => {
  const { store, root } = await temporaryStore();
  const { digest } = await importDataset(store, memorySource({ labeled: 30, test: 6 }), { name: 'set', labeledPerClass: 4, validation: 6 });
  expect((await prepareSubmission(store, recipe)).data.labeled?.manifestSha256).toBe(digest);
  const file = join(root, paths.datasetManifest('set'));
  await writeFile(file, (await readFile(file, 'utf8')).replace('"classes":["a"', '"classes":["z"'));
  await expect(prepareSubmission(store, recipe)).rejects.toMatchObject({ code: 'DIGEST_MISMATCH', where: paths.datasetManifest('set') });
});

describe('comparisons', () => {
  const asking = (comparison: string, data = 'dataset: set'): string => `name: digits\nrounds: 1\ndata: { ${data} }\nmodels: { ladder: [{ model: cnn, width: 4 }] }\ncomparisons: [{ name: a, ${comparison} }]\n`;

  test('of a model that these images cannot be given to are refused, with their place', async () => {
    const { store } = await temporaryStore();
    await importDataset(store, memorySource({ labeled: 30 }), { name: 'set', labeledPerClass: 4, validation: 6 });
    await expect(prepareSubmission(store, asking('model: { model: vit-tiny, patch: 5, width: 12, depth: 1 }'))).rejects.toMatchObject({ code: 'RECIPE_INVALID', where: 'comparisons.0.model', message: expect.stringContaining('patches of 5') as string });
    await expect(prepareSubmission(store, asking('model: { model: cnn, width: 2 }'))).resolves.toBeDefined();
  });

  test('of true labels are refused where nobody knows them', async () => {
    const { store } = await temporaryStore();
    await importDataset(store, memorySource({ labeled: 30 }), { name: 'set', labeledPerClass: 4, validation: 6 });
    // All its images are labeled ones, and so the part has no truth put away.
    const samples = Array.from({ length: 30 }, (_, at): SourceSample => ({ origin: `more[${at}]`, pool: 'train', label: at % 3, image: { pixels: picture(5_000_000 + at), shape: GRAY } }));
    await importDataset(store, memorySource({ labeled: 0, samples }), { name: 'other' });
    expect((await prepareSubmission(store, asking('labels: truth'))).data.truth).toBeDefined();
    // Truth of other classes says nothing of these.
    await importDataset(store, memorySource({ classes: ['x', 'y', 'z'], labeled: 0, samples: samples.map((each, at) => ({ ...each, image: { pixels: picture(6_000_000 + at), shape: GRAY } })) }), { name: 'third', labeledPerClass: 4 });
    await expect(prepareSubmission(store, asking('labels: truth', 'dataset: set, unlabeled: "third#unlabeled"'))).rejects.toMatchObject({ code: 'RECIPE_INVALID', where: 'comparisons.0.labels' });
    await expect(prepareSubmission(store, asking('labels: truth', 'dataset: set, unlabeled: "other#labeled"'))).rejects.toMatchObject({ code: 'RECIPE_INVALID', where: 'comparisons.0.labels' });
    // Nor does that of some of the images: which of them are selected nobody knows yet.
    await importDataset(store, memorySource({ labeled: 30, unlabeled: 5 }), { name: 'partly', labeledPerClass: 4, validation: 6 });
    await expect(prepareSubmission(store, asking('labels: truth', 'dataset: partly'))).rejects.toMatchObject({ code: 'RECIPE_INVALID', where: 'comparisons.0.labels', message: expect.stringContaining('those of 12 of the 17 images of partly#unlabeled') as string });
  });
});

describe('two datasets', () => {
  const mixed = (parts: string): string => `name: digits\nrounds: 1\ndata: { ${parts} }\nmodels: { ladder: [{ model: cnn, width: 4 }] }\n`;
  const originsOf = async (store: ObjectStore, part: DatasetPart | undefined): Promise<Set<string>> => new Set((await readOrigins(store, part?.origins ?? { key: '', sha256: '', bytes: 0 })).values());

  /** The dataset as an earlier release wrote it: without lists of keys. */
  async function age(root: string, name: string): Promise<void> {
    const file = join(root, paths.datasetManifest(name));
    const { sha256: _, ...manifest } = JSON.parse(await readFile(file, 'utf8')) as Record<string, unknown> & { parts: Record<string, { keys?: unknown }> };
    for (const part of Object.values(manifest.parts)) delete part.keys;
    await writeFile(file, JSON.stringify(manifest));
  }

  test('of the same images under two names are refused where what trains holds what judges, and told how many', async () => {
    const { store } = await temporaryStore();
    const one = await importDataset(store, memorySource({ labeled: 60, test: 6 }), { name: 'one', labeledPerClass: 4, validation: 12, seed: 1 });
    const two = await importDataset(store, memorySource({ labeled: 60, test: 6, reversed: true }), { name: 'two', labeledPerClass: 4, validation: 12, seed: 2 });
    // An image's origin is its own in this source: what is shared is known from them, too.
    const judges = await originsOf(store, two.manifest.parts.validation);
    const shared = [...await originsOf(store, one.manifest.parts.unlabeled)].filter((origin) => judges.has(origin)).length;
    expect(shared).toBeGreaterThan(0);
    await expect(prepareSubmission(store, mixed('labeled: "two#labeled", unlabeled: "one#unlabeled", validation: "two#validation"')))
      .rejects.toMatchObject({ code: 'RECIPE_INVALID', where: 'data.unlabeled', message: `it shares ${shared} images with data.validation, under the names of two datasets: a model would be judged on what made it` });
    // The tests' images are in no training part of either.
    await expect(prepareSubmission(store, mixed('dataset: one, test: "two#test"'))).resolves.toMatchObject({ data: { warnings: [] } });
  });

  test('of other images are taken without a word; one of before there were lists of keys with a warning that names it', async () => {
    const { store, root } = await temporaryStore();
    const samples = Array.from({ length: 30 }, (_, at): SourceSample => ({ origin: `more[${at}]`, pool: 'train', label: at % 3, image: { pixels: picture(5_000_000 + at), shape: GRAY } }));
    await importDataset(store, memorySource({ labeled: 30 }), { name: 'one', labeledPerClass: 4 });
    await importDataset(store, memorySource({ labeled: 0, samples }), { name: 'two', validation: 12 });
    const recipeOfBoth = mixed('dataset: one, validation: "two#validation"');
    expect((await prepareSubmission(store, recipeOfBoth)).data.warnings).toEqual([]);
    await age(root, 'two');
    const why = 'two#validation was imported before datasets had lists of their keys; import again under a new name to have them compared';
    expect((await prepareSubmission(store, recipeOfBoth)).data.warnings).toEqual(['labeled', 'unlabeled'].map((part) => `nobody knows whether data.${part} shares images with data.validation: ${why}`));
    await age(root, 'one');
    expect((await prepareSubmission(store, mixed('dataset: one, unlabeled: "two#labeled", validation: "two#validation"'))).data.warnings)
      .toEqual(['nobody knows whether data.labeled shares images with data.validation: one#labeled and two#validation were imported before datasets had lists of their keys; import again under a new name to have them compared']);
  });
});
