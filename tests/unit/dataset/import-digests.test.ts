/**
 * What an import makes of images that come twice, under two classes, with and without labels: the same manifests, to the
 * byte, as the release that held a whole set in memory made of them. The digests below were recorded with that code.
 */
import { expect, it } from 'vitest';
import { importDataset, type ImportOptions, type SourceSample } from '../../../dataset/index.ts';
import { GRAY, memorySource, picture, temporaryStore } from './fixture.ts';

const again = (number: number, pool: SourceSample['pool'], label?: number | string): SourceSample => ({ origin: `again/${pool}/${number}/${label}`, pool, image: { pixels: picture(number), shape: GRAY }, ...(label === undefined ? {} : { label }) });
const copies: readonly SourceSample[] = [
  again(0, 'train', 0), again(1, 'train', 0), again(2, 'unlabeled'), again(2, 'unlabeled'), again(5, 'train', 1), again(5, 'train', 0), again(2_000_003, 'unlabeled'), again(2_000_003, 'unlabeled'), again(2_000_004, 'train', 2),
];
const ofTest: readonly SourceSample[] = [again(7, 'test', 1), again(7, 'test', 2), again(2_000_009, 'test', 0), again(1_000_001, 'train', 1)];

const withTest = ['7 extra exact copies were left out', '6 exact copies of held-out images were left out of the training side', '3 images came under more than one class; each was kept once, under the first of them'];
const withoutTest = ['6 extra exact copies were left out', '3 exact copies of held-out images were left out of the training side', '2 images came under more than one class; each was kept once, under the first of them'];

it.each<[string, boolean, Partial<ImportOptions>, string, readonly string[]]>([
  ['everything labeled', true, {}, '492ef58dd1ffd7f27cc4449451f7aba16f29627b9d385cc93bf8facb926551c4', withTest],
  ['so many a class, and not all of the rest', true, { labeledPerClass: 20, validation: 100, unlabeled: 300 }, 'ada5aa7f0e2dd1e98bd9e7de10005a8b1cf7d0ef912cb36bd89f1043fad374e7', withTest],
  ['a share to validate', true, { labeled: 50, validation: 0.1, shardSamples: 70 }, '654d82078b18463228d11530ec9ed13a256276eedffe656be0b84a30e7c5088e', withTest],
  ['a test split that is drawn', false, { labeled: 11, validation: 30, test: 0.1, unlabeled: 500, seed: 5 }, '55d04f638c78ea6633cd59ba035cfec81d8f595f972c8f47a078cd1d9cc03497', withoutTest],
  ['a test split that is drawn, and nothing else', false, { test: 40 }, '15efcc828c538ae23cf6b235467fca979cdf4175ec492d9d257b7c8f4b1cf9b7', withoutTest],
])('%s', async (_, test, options, digest, notes) => {
  const { store } = await temporaryStore();
  const source = memorySource({ labeled: 1200, unlabeled: 200, ...(test ? { test: 60 } : {}), samples: [...copies, ...(test ? ofTest : [])] });
  const imported = await importDataset(store, source, { name: 'set', ...options });
  expect([imported.digest, imported.notes]).toEqual([digest, notes]);
  // Nearly nothing of it in memory, nearly all in temporary files.
  const { store: another } = await temporaryStore();
  expect((await importDataset(another, source, { name: 'set', ...options, heldBytesMax: 4_000 })).digest).toBe(digest);
});

it('classes that are found by name', async () => {
  const { store } = await temporaryStore();
  const { classes: _, ...source } = memorySource({ labeled: 0, samples: Array.from({ length: 90 }, (_, at) => again(at, 'train', ['ox', 'cow', '7'][at % 3])) });
  const { digest, manifest } = await importDataset(store, source, { name: 'set', validation: 0.2 });
  expect([digest, manifest.classes]).toEqual(['5308d541ed15f1665b13d33e1a4673ca99bf5c5af998bac2d45da65689f398a1', ['7', 'cow', 'ox']]);
});
