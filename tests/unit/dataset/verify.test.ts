/** Verify finds every kind of damage, names the file, and goes on. */
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { importDataset, loadManifest, verifyDataset, type DatasetManifest, type Imported } from '../../../dataset/index.ts';
import { encodeLabels } from '../../../dataset/tables.ts';
import { writeTar } from '../../../dataset/tar.ts';
import { canonicalJson, paths, sha256, type ObjectRef, type ObjectStore } from '../../../store/index.ts';
import { memorySource, png, temporaryStore } from './fixture.ts';

let store: ObjectStore;
let root: string;
let imported: Imported;
beforeEach(async () => {
  ({ store, root } = await temporaryStore());
  imported = await importDataset(store, memorySource({ labeled: 30, test: 6 }), { name: 'set', labeledPerClass: 4, validation: 6, shardSamples: 4 });
});

const shardRef = (part: 'labeled' | 'unlabeled' | 'validation' | 'test', index = 0): ObjectRef => {
  const ref = imported.manifest.parts[part]?.shards[index]?.ref;
  if (ref === undefined) throw new Error('no such shard');
  return ref;
};

/** Another manifest in place of the set's own, as a program with a defect, or an earlier release, would have written it: without its own digest, unless `sealed`. */
async function replaceManifest(change: (manifest: DatasetManifest) => void, sealed = false): Promise<void> {
  const manifest = structuredClone(imported.manifest);
  change(manifest);
  await writeFile(join(root, paths.datasetManifest('set')), canonicalJson(sealed ? { ...manifest, sha256: sha256(canonicalJson(manifest)) } : manifest));
}

const found = async () => (await verifyDataset(store, 'set')).map(({ code, file, problem }) => [code, file, problem]);
type Part = NonNullable<DatasetManifest['parts']['labeled']>;
const part = (manifest: DatasetManifest, name: 'labeled' | 'unlabeled' | 'validation'): Part => manifest.parts[name] as Part;

describe('verify', () => {
  it('finds nothing in a whole dataset', async () => {
    expect(await found()).toEqual([]);
  });

  it('names every damaged and every missing object, with a remedy', async () => {
    const [changed, missing] = [shardRef('unlabeled', 1), shardRef('test', 1)];
    const content = await readFile(join(root, changed.key));
    content[600] = (content[600] ?? 0) ^ 1;
    await writeFile(join(root, changed.key), content);
    await rm(join(root, missing.key));
    const labels = imported.manifest.parts.validation?.labels;
    await writeFile(join(root, labels?.key ?? ''), 'no table');
    const problems = await verifyDataset(store, 'set');
    expect(problems.map(({ code, file }) => [code, file])).toEqual([['DIGEST_MISMATCH', changed.key], ['DIGEST_MISMATCH', labels?.key], ['OBJECT_NOT_FOUND', missing.key]]);
    for (const { remedy } of problems) expect(remedy).toMatch(/\.$/);
  });

  it('finds a manifest that was edited, and goes on to what it names', async () => {
    const file = join(root, paths.datasetManifest('set'));
    const [shard, test] = [shardRef('unlabeled', 1), shardRef('test')];
    await writeFile(file, (await readFile(file, 'utf8')).replaceAll(shard.sha256, test.sha256));
    const problems = await found();
    expect(problems[0]).toEqual(['DIGEST_MISMATCH', paths.datasetManifest('set'), expect.stringContaining('the manifest was changed after it was written')]);
    expect(problems.slice(1)).toEqual([['OBJECT_NOT_FOUND', expect.stringContaining(test.sha256), expect.any(String)]]);
  });

  it('finds a list of keys that is another part\'s', async () => {
    const other = imported.manifest.parts.labeled?.keys;
    await replaceManifest((manifest) => {
      if (other !== undefined) part(manifest, 'validation').keys = other;
    });
    expect(await found()).toEqual([['SHARD_CORRUPT', other?.key, 'the list of keys is not that of the shards of validation']]);
  });

  it('finds an image that cannot be decoded, a key and an image that come twice, and a wrong count', async () => {
    const copied = png(0);
    const bad = await store.putAddressed('datasets/set/unlabeled', writeTar([{ name: 'x1.png', bytes: copied.subarray(0, 50) }, { name: 'x2.png', bytes: copied }, { name: 'x3.png', bytes: copied }, { name: 'x3.png', bytes: png(555) }]), { extension: '.tar' });
    await replaceManifest((manifest) => {
      part(manifest, 'unlabeled').shards[0] = { name: 'unlabeled-000000', ref: bad, samples: 5 };
    });
    const problems = await found();
    expect(problems).toContainEqual(['IMAGE_CORRUPT', `${bad.key} x1`, expect.stringContaining('ends at byte 50')]);
    expect(problems).toContainEqual(['SHARD_CORRUPT', `${bad.key} x3`, expect.stringContaining('the same image is also')]);
    expect(problems).toContainEqual(['SHARD_CORRUPT', `${bad.key} x3`, `the key is also in ${bad.key}`]);
    expect(problems).toContainEqual(['SHARD_CORRUPT', bad.key, 'the shard holds 4 samples where the manifest says 5']);
  });

  it('finds an image that is in two parts', async () => {
    await replaceManifest((manifest) => {
      const test = manifest.parts.test?.shards[0];
      if (test === undefined) throw new Error('no test');
      part(manifest, 'labeled').shards.push(test);
      part(manifest, 'labeled').samples += test.samples;
    });
    const problems = await found();
    expect(problems.filter(([, , problem]) => String(problem).startsWith('the same image is also'))).toHaveLength(4);
    expect(problems.filter(([, , problem]) => String(problem).startsWith('the key is also in'))).toHaveLength(4);
  });

  it('finds labels that do not fit their shards', async () => {
    const keys = ['unknown', 'unknown'];
    const wrong = await store.putAddressed('datasets/set/validation', encodeLabels({ keys, classes: Int32Array.of(0, 9) }), { extension: '.parquet' });
    await replaceManifest((manifest) => {
      part(manifest, 'validation').labels = wrong;
    });
    expect(await found()).toEqual([
      ['SHARD_CORRUPT', wrong.key, '2 keys of the table are in no shard of validation'],
      ['SHARD_CORRUPT', wrong.key, '1 keys of the table come twice'],
      ['SHARD_CORRUPT', wrong.key, '6 samples of validation are not in the table'],
      ['LABEL_OUT_OF_RANGE', wrong.key, 'the class 9 is none of the dataset\'s 3'],
      ['SHARD_CORRUPT', wrong.key, 'the classes\' counts are not those of the manifest'],
    ]);
  });
});

describe('a manifest', () => {
  it.each([
    ['a class renamed', (text: string) => text.replace('"classes":["a"', '"classes":["z"')],
    ['a count', (text: string) => text.replace('"samples":6', '"samples":7')],
    ['spaces alone', (text: string) => JSON.stringify(JSON.parse(text), null, 2)],
    ['its own digest', (text: string) => text.replace(/("schemaVersion":1,"sha256":)"[0-9a-f]{64}"/, `$1"${'0'.repeat(64)}"`)],
  ])('that was edited (%s) is not taken', async (_, edit) => {
    const file = join(root, paths.datasetManifest('set'));
    const text = await readFile(file, 'utf8');
    const edited = edit(text);
    expect(edited).not.toBe(text);
    await writeFile(file, edited);
    await expect(loadManifest(store, 'set')).rejects.toMatchObject({ code: 'DIGEST_MISMATCH', where: paths.datasetManifest('set') });
  });

  it('of before manifests said their own digest is taken, and the same import again is the same dataset', async () => {
    await replaceManifest(() => undefined);
    const loaded = await loadManifest(store, 'set');
    expect(loaded).toMatchObject({ sealed: false, manifest: imported.manifest });
    const again = await importDataset(store, memorySource({ labeled: 30, test: 6 }), { name: 'set', labeledPerClass: 4, validation: 6, shardSamples: 4 });
    expect(again).toMatchObject({ sealed: false, digest: loaded.digest });
    expect(await found()).toEqual([]);
    expect(imported.sealed).toBe(true);
  });

  it.each([['sealed', true], ['unsealed', false]])('of before there were lists of keys (%s) is taken, and the same import again is the same dataset', async (_, sealed) => {
    await replaceManifest(({ parts }) => {
      for (const part of Object.values(parts)) delete part?.keys;
    }, sealed);
    const loaded = await loadManifest(store, 'set');
    expect(loaded.manifest.parts.labeled?.keys).toBeUndefined();
    const again = await importDataset(store, memorySource({ labeled: 30, test: 6 }), { name: 'set', labeledPerClass: 4, validation: 6, shardSamples: 4 });
    expect(again).toMatchObject({ sealed, digest: loaded.digest, manifest: loaded.manifest });
    await expect(importDataset(store, memorySource({ labeled: 30, test: 6 }), { name: 'set', labeledPerClass: 4, validation: 5, shardSamples: 4 })).rejects.toMatchObject({ code: 'DATASET_EXISTS' });
    expect(await found()).toEqual([]);
  });

  it.each([['not JSON', '{'], ['another shape', '{"schemaVersion":1}'], ['a newer schema', '{"schemaVersion":2}'], ['bytes that are no text', Buffer.from([0xff, 0xfe])]])('that is %s is named as damaged', async (_, content) => {
    await writeFile(join(root, paths.datasetManifest('set')), content);
    await expect(loadManifest(store, 'set')).rejects.toMatchObject({ code: 'SHARD_CORRUPT', where: paths.datasetManifest('set') });
  });

  it('of another name is not taken for this one\'s', async () => {
    await writeFile(join(root, paths.datasetManifest('set')), canonicalJson({ ...imported.manifest, name: 'other' }));
    await expect(loadManifest(store, 'set')).rejects.toThrow('names the dataset "other"');
  });

  it('is not looked for outside of the store', async () => {
    await expect(loadManifest(store, '../../etc')).rejects.toMatchObject({ code: 'USAGE' });
    await expect(loadManifest(store, 'none')).rejects.toMatchObject({ code: 'DATASET_NOT_FOUND', where: 'none' });
  });
});
