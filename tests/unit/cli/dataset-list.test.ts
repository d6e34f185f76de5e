/** `dataset list` on stores that are whole, partly damaged, or not there. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { importDataset } from '../../../dataset/index.ts';
import { paths } from '../../../store/index.ts';
import { memorySource, temporaryStore } from '../dataset/fixture.ts';
import { run } from './console.ts';

const list = (root: string, ...flags: string[]) => run(['dataset', 'list', '--store', dirname(root), ...flags]);
const manifestFile = (root: string, name: string): string => join(root, paths.datasetManifest(name));

async function storeWith(...names: string[]): Promise<string> {
  const { store, root } = await temporaryStore();
  for (const name of names) await importDataset(store, memorySource({ labeled: 12 }), { name, validation: 3 });
  return root;
}

test('a manifest that is none and one that was edited are named with their errors, the others are listed, and the command fails', async () => {
  const root = await storeWith('apples', 'bananas', 'cherries', 'dates');
  writeFileSync(manifestFile(root, 'bananas'), 'no JSON');
  const edited = manifestFile(root, 'cherries');
  writeFileSync(edited, readFileSync(edited, 'utf8').replace('"classes":["a"', '"classes":["z"'));
  const ran = await list(root, '-o', 'name');
  expect(ran.out).toBe('apples\ndates\n');
  expect(ran.err.trimEnd().split('\n')).toEqual([
    expect.stringMatching(/^error: datasets\/bananas\/manifest\.json: the manifest is not JSON\. .*\[SHARD_CORRUPT\]$/),
    expect.stringMatching(/^error: datasets\/cherries\/manifest\.json: the manifest was changed after it was written.*\[DIGEST_MISMATCH\]$/),
  ]);
  expect(ran.code).toBe(7);
  const { items } = JSON.parse((await list(root, '-o', 'json')).out) as { items: { name: string }[] };
  expect(items.map(({ name }) => name)).toEqual(['apples', 'dates']);
});

test('a folder whose name is no dataset\'s is named, too; where no dataset can be read nobody is told that there is none', async () => {
  const root = await storeWith();
  mkdirSync(join(root, 'datasets/My Photos'), { recursive: true });
  writeFileSync(join(root, 'datasets/My Photos/manifest.json'), '{}');
  const ran = await list(root);
  expect(ran).toMatchObject({ code: 2, out: '' });
  expect(ran.err).toMatch(/^No dataset of this store can be read\.\nerror: "My Photos": a dataset's name is .*\[USAGE\]\n$/);
});

test('whole datasets are listed, and the command succeeds', async () => {
  expect(await list(await storeWith('apples', 'dates'), '-o', 'name')).toEqual({ code: 0, out: 'apples\ndates\n', err: '' });
});

test('a store that is not there is told, and not made', async () => {
  const root = join(dirname(await storeWith()), 'elsewhere');
  const ran = await run(['dataset', 'list', '--store', root]);
  expect(ran).toMatchObject({ code: 8, out: '' });
  expect(ran.err).toMatch(new RegExp(`^error: ${root}: there is no object store in this folder\\. .*\\[STORE_NOT_FOUND\\]\n$`));
  expect(existsSync(root)).toBe(false);
});
