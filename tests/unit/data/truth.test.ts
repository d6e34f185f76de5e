/** True labels in the place of pseudo-labels, and the known share of them that is replaced. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import { importDataset, readLabels } from '../../../dataset/index.ts';
import { openStore } from '../../../store/index.ts';
import { trueLabels } from '../../../worker/data/index.ts';
import { flipped } from '../../../worker/data/truth.ts';
import { memorySource } from '../dataset/fixture.ts';

const folder = mkdtempSync(join(tmpdir(), 'alumnus-truth-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test('which labels are replaced, and by what, is a function of seed and key', () => {
  // Computed in Python: d = sha256(b'label-noise/7/' + key); replaced where int(d[:4]) / 2**32 < noise, by (label + 1 + int(d[4:8]) % (classes - 1)) % classes.
  const keys = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'];
  expect(keys.map((key) => flipped(3, key, { classes: 10, noise: 0.5, seed: 7 }))).toEqual([3, 3, 3, 0, 8, 9, 5, 7]);
  expect(keys.map((key) => flipped(3, key, { classes: 10, noise: 1, seed: 7 }))).toEqual([2, 4, 5, 0, 8, 9, 5, 7]);
  expect(keys.map((key) => flipped(3, key, { classes: 10, noise: 0, seed: 7 }))).toEqual(keys.map(() => 3));
  // Two classes: the other one.
  expect(keys.map((key) => flipped(1, key, { classes: 2, noise: 1, seed: 7 }))).toEqual(keys.map(() => 0));
});

test('the share that is replaced is what was asked for, and the others are evenly drawn', () => {
  const counts = new Array<number>(10).fill(0);
  for (let at = 0; at < 20_000; at += 1) counts[flipped(4, `key ${at}`, { classes: 10, noise: 0.3, seed: 1 })]! += 1;
  // Of 20,000: 6,000 replaced, standard deviation 65; of each other class 667, standard deviation 25. Five of them.
  expect(Math.abs(20_000 - counts[4]! - 6_000)).toBeLessThan(325);
  counts.forEach((count, at) => at !== 4 && expect(Math.abs(count - 667)).toBeLessThan(125));
});

test('an image has its true label, and one that nobody knows is an error that names it', async () => {
  const store = await openStore(pathToFileURL(join(folder, 'store')).href);
  const { manifest } = await importDataset(store, memorySource({ labeled: 60 }), { name: 'set', labeledPerClass: 5, shardSamples: 20 });
  const truth = manifest.parts.unlabeled!.truth!;
  const table = await readLabels(store, truth);
  const of = await trueLabels(store, truth, { classes: 3, noise: 0, seed: 1 });
  expect(table.keys.map(of)).toEqual([...table.classes]);
  expect(() => of('elsewhere')).toThrow('nobody knows the true label of elsewhere');
});
