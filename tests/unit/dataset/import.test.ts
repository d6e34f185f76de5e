/** Import from every source, what each bad input is told, and that a failed import leaves nothing to be seen. */
import { existsSync } from 'node:fs';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import {
  decodeImage, importDataset, inspectDataset, listDatasets, loadManifest, openSource, readLabels, readOrigins, readShard, verifyDataset,
  type DatasetPart, type Imported, type ImportOptions, type Source,
} from '../../../dataset/index.ts';
import { fetchPackage, type PinnedPackage } from '../../../dataset/sources/packages.ts';
import { Spool, type Spooled } from '../../../dataset/spool.ts';
import { sha256, type ObjectStore, type PartName } from '../../../store/index.ts';
import { collect, GRAY, idxImages, idxLabels, jpeg, memorySource, picture, png, tarOf, temporaryFolder, temporaryStore, writeFiles } from './fixture.ts';

const part = (imported: Imported, name: PartName): DatasetPart => {
  const found = imported.manifest.parts[name];
  if (found === undefined) throw new Error(`no part ${name}`);
  return found;
};

async function samplesOf(store: ObjectStore, of: DatasetPart) {
  return (await Promise.all(of.shards.map((shard) => collect(readShard(store, shard.ref))))).flat();
}

async function sizesOf(store: ObjectStore, name: string): Promise<Record<string, number>> {
  return Object.fromEntries((await inspectDataset(store, name)).parts.map(({ part: each, samples }) => [each, samples]));
}

/** Runs an import that must fail, and checks that no trace of it can be seen. */
async function failure(source: () => Promise<Source> | Source, options: Partial<ImportOptions> = {}): Promise<unknown> {
  const { store } = await temporaryStore();
  const error: unknown = await (async () => importDataset(store, await source(), { name: 'set', ...options }))().then(() => undefined, (thrown: unknown) => thrown);
  expect(await listDatasets(store)).toEqual([]);
  await expect(loadManifest(store, 'set')).rejects.toMatchObject({ code: 'DATASET_NOT_FOUND' });
  return error;
}

const classFolders = (): Record<string, Uint8Array> =>
  Object.fromEntries(['cat', 'dog'].flatMap((label, kind) => Array.from({ length: 12 }, (_, at) => [`${label}/${at}.png`, png(kind * 100 + at)] as const)));

describe('an import', () => {
  it('writes shards, labels, truth and origins that agree with the source', async () => {
    const { store } = await temporaryStore();
    const imported = await importDataset(store, memorySource({ labeled: 60, test: 9, unlabeled: 5 }), { name: 'set', seed: 7, labeledPerClass: 4, validation: 12, shardSamples: 10 });
    expect(await sizesOf(store, 'set')).toEqual({ labeled: 12, validation: 12, unlabeled: 41, test: 9 });
    expect(part(imported, 'unlabeled').shards.map(({ name, samples }) => [name, samples])).toEqual([['unlabeled-000000', 10], ['unlabeled-000001', 10], ['unlabeled-000002', 10], ['unlabeled-000003', 10], ['unlabeled-000004', 1]]);
    for (const name of ['labeled', 'validation', 'test'] as const) {
      const each = part(imported, name);
      const labels = await readLabels(store, each.labels ?? { key: '', sha256: '', bytes: 0 });
      const origins = await readOrigins(store, each.origins ?? { key: '', sha256: '', bytes: 0 });
      const samples = await samplesOf(store, each);
      expect(samples.map((sample) => sample.key)).toEqual(labels.keys);
      for (const [row, sample] of samples.entries()) {
        const number = Number(/\d+/.exec(origins.get(sample.key) ?? '')?.[0]);
        expect(Buffer.from(await decodeImage(sample.bytes, GRAY)).equals(picture(name === 'test' ? 1_000_000 + number : number))).toBe(true);
        expect(labels.classes[row]).toBe(number % 3);
      }
      expect(each.classCounts).toEqual(name === 'labeled' || name === 'validation' ? [4, 4, 4] : [3, 3, 3]);
    }
    expect(await verifyDataset(store, 'set')).toEqual([]);
  });

  it('keeps the truth of unlabeled images apart, and nothing else of theirs tells it', async () => {
    const { store } = await temporaryStore();
    const unlabeled = part(await importDataset(store, memorySource({ labeled: 30, unlabeled: 6 }), { name: 'set', labeledPerClass: 2 }), 'unlabeled');
    expect(Object.keys(unlabeled).sort()).toEqual(['keys', 'origins', 'samples', 'shards', 'truth']);
    for (const ref of [unlabeled.truth, unlabeled.origins]) expect(ref?.key).toMatch(/^datasets\/set\/truth\//);
    for (const shard of unlabeled.shards) expect(shard.ref.key).toMatch(/^datasets\/set\/unlabeled\//);
    const truth = await readLabels(store, unlabeled.truth ?? { key: '', sha256: '', bytes: 0 });
    expect(truth.keys).toHaveLength(24);
    // Neither the key nor the order: keys are of the content's digest, and the order is by a hash of the key.
    for (const { key } of await samplesOf(store, unlabeled)) expect(key).toMatch(/^[0-9a-f]{20}$/);
  });

  it('gives the same digest twice, whatever the order of the source, and another for another seed', async () => {
    const digestOf = async (options: Parameters<typeof memorySource>[0], seed: number): Promise<string> => {
      const { store } = await temporaryStore();
      const source = memorySource(options);
      return (await importDataset(store, source, { name: 'set', seed, labeledPerClass: 3, validation: 6 })).digest;
    };
    const first = await digestOf({ labeled: 40, test: 5 }, 1);
    expect(await digestOf({ labeled: 40, test: 5 }, 1)).toBe(first);
    expect(await digestOf({ labeled: 40, test: 5, reversed: true }, 1)).toBe(first);
    expect(await digestOf({ labeled: 40, test: 5 }, 2)).not.toBe(first);
    expect(await digestOf({ labeled: 41, test: 5 }, 1)).not.toBe(first);
  });

  it('is harmless to repeat, and refuses a name that holds something else', async () => {
    const { store } = await temporaryStore();
    const first = await importDataset(store, memorySource({ labeled: 30 }), { name: 'set' });
    expect((await importDataset(store, memorySource({ labeled: 30 }), { name: 'set' })).digest).toBe(first.digest);
    await expect(importDataset(store, memorySource({ labeled: 31 }), { name: 'set' })).rejects.toMatchObject({ code: 'DATASET_EXISTS', where: 'set' });
    expect((await loadManifest(store, 'set')).digest).toBe(first.digest);
    expect(await listDatasets(store)).toEqual(['set']);
  });

  it('refuses a taken name before it reads an image, where the manifest alone tells that it is another import', async () => {
    const { store } = await temporaryStore();
    await importDataset(store, memorySource({ labeled: 30 }), { name: 'set', labeledPerClass: 5, validation: 6 });
    const unread = { ...memorySource({ labeled: 30 }), samples: () => { throw new Error('an image was read'); } };
    const again = { name: 'set', labeledPerClass: 5, validation: 6 };
    for (const other of [{ seed: 2 }, { labeledPerClass: 4 }, { validation: 7 }, { classes: ['c', 'b', 'a'] }, { image: { ...GRAY, width: 9 } }]) {
      await expect(importDataset(store, unread, { ...again, ...other }), JSON.stringify(other)).rejects.toMatchObject({ code: 'DATASET_EXISTS', where: 'set' });
    }
    await expect(importDataset(store, { ...unread, name: 'elsewhere' }, again)).rejects.toMatchObject({ code: 'DATASET_EXISTS' });
    // What may be the same is read, since it may have to repair the dataset.
    await expect(importDataset(store, unread, again)).rejects.toThrow('an image was read');
  });

  it('refuses to draw test images where the source has its own', async () => {
    const { store } = await temporaryStore();
    await expect(importDataset(store, memorySource({ labeled: 30, test: 5 }), { name: 'set', test: 4 })).rejects.toMatchObject({ code: 'USAGE', message: expect.stringContaining('test split of its own') });
    expect(await listDatasets(store)).toEqual([]);
    expect((await importDataset(store, memorySource({ labeled: 30 }), { name: 'set', test: 4 })).manifest.parts.test?.samples).toBe(4);
  });

  it('counts the copies that it drops and says so', async () => {
    const { store } = await temporaryStore();
    const image = (number: number) => ({ pixels: picture(number), shape: GRAY });
    const source = memorySource({ labeled: 30, test: 3, samples: [
      { origin: 'again', pool: 'train', label: 0, image: image(0) }, { origin: 'leak', pool: 'train', label: 0, image: image(1_000_000) }, { origin: 'contradiction', pool: 'train', label: 2, image: image(1) },
    ] });
    const imported = await importDataset(store, source, { name: 'set', labeledPerClass: 3 });
    expect(imported.manifest.split?.dropped).toEqual({ duplicates: 2, straddling: 1 });
    expect(imported.notes).toEqual(['2 extra exact copies were left out', '1 exact copies of held-out images were left out of the training side', '1 images came under more than one class; each was kept once, under the first of them']);
    expect(await verifyDataset(store, 'set')).toEqual([]);
  });

  it('tells how far it is, never backwards', async () => {
    const { store } = await temporaryStore();
    const said: [number, number, string][] = [];
    await importDataset(store, memorySource({ labeled: 30 }), { name: 'set', shardSamples: 8 }, (done, total, label) => said.push([done, total, label]));
    expect(said.filter(([, , label]) => label === 'reading images')).toHaveLength(30);
    expect(said.filter(([, , label]) => label === 'writing shards').map(([done, total]) => `${done}/${total}`)).toEqual(['8/30', '16/30', '24/30', '30/30']);
  });

  it('stops when it is told to', async () => {
    const abort = new AbortController();
    const { store } = await temporaryStore();
    await expect(importDataset(store, memorySource({ labeled: 30 }), { name: 'set', signal: abort.signal }, (done) => { if (done === 5) abort.abort(); })).rejects.toMatchObject({ code: 'CANCELLED' });
    expect(await listDatasets(store)).toEqual([]);
  });

  it.each([
    [{ name: 'Has Space' }, 'USAGE'], [{ name: '../x' }, 'USAGE'], [{ seed: -1 }, 'USAGE'], [{ shardSamples: 0 }, 'USAGE'], [{ labeledPerClass: 0 }, 'USAGE'], [{ labeled: 3, labeledPerClass: 1 }, 'USAGE'],
    [{ validation: -0.1 }, 'USAGE'], [{ validation: 2.5 }, 'USAGE'], [{ classes: ['a', 'b', 'b'] }, 'USAGE'], [{ classes: ['a', 'b'] }, 'LABEL_OUT_OF_RANGE'], [{ classes: ['a', 'b', 'c', 'd'] }, 'DATASET_CLASS_EMPTY'],
    [{ labeledPerClass: 11 }, 'DATASET_TOO_SMALL'], [{ unlabeled: 1 }, 'DATASET_TOO_SMALL'],
  ] as const)('refuses %j with %s', async (options, code) => {
    expect(await failure(() => memorySource({ labeled: 30 }), options)).toMatchObject({ name: 'AlumnusError', code });
  });

  it('refuses a source without an image, and one with one class', async () => {
    expect(await failure(() => memorySource({ labeled: 0 }))).toMatchObject({ code: 'DATASET_TOO_SMALL' });
    expect(await failure(() => memorySource({ labeled: 5, classes: ['only'] }))).toMatchObject({ code: 'DATASET_CLASS_EMPTY' });
  });

  it('spills what memory should not hold', async () => {
    const spool = new Spool(1000);
    const items = Array.from({ length: 50 }, (_, at) => picture(at, { height: 1, width: 100 + at, channels: 1 }));
    const spooled: Spooled[] = [];
    for (const item of items) spooled.push(await spool.add(item));
    for (const [at, where] of spooled.entries()) expect(Buffer.from(await spool.read(where))).toEqual(Buffer.from(items[at] ?? []));
    // 100 + 101 + ... + 108 bytes are 936.
    expect(spooled.filter(({ offset }) => offset < 1000)).toHaveLength(9);
    await spool.close();
  });
});

describe('a folder', () => {
  it('with class folders is labeled, JPEG beside PNG, and other sizes are resized', async () => {
    const { store } = await temporaryStore();
    const root = temporaryFolder();
    writeFiles(root, { ...classFolders(), 'cat/photo.jpg': await jpeg(1, { height: 20, width: 30, channels: 3 }), 'dog/notes.txt': 'not an image', '.hidden/x.png': png(9) });
    const imported = await importDataset(store, await openSource('folder', { paths: [root] }), { name: 'pets', validation: 0 });
    expect(imported.manifest).toMatchObject({ classes: ['cat', 'dog'], image: GRAY });
    expect(await sizesOf(store, 'pets')).toEqual({ labeled: 25 });
    expect(imported.notes).toEqual([`1 entries of ${join(root, 'dog')} that are neither PNG nor JPEG were passed over`, '1 images of another shape were resized to 5 x 6, gray']);
    expect(await verifyDataset(store, 'pets')).toEqual([]);
  });

  it('that is flat is unlabeled', async () => {
    const { store } = await temporaryStore();
    const root = temporaryFolder();
    writeFiles(root, { 'x.png': png(1), 'y.png': png(2), 'z.png': png(3) });
    const imported = await importDataset(store, await openSource('folder', { paths: [root] }), { name: 'more' });
    expect(await sizesOf(store, 'more')).toEqual({ unlabeled: 3 });
    expect(part(imported, 'unlabeled').truth).toBeUndefined();
    expect([...(await readOrigins(store, part(imported, 'unlabeled').origins ?? { key: '', sha256: '', bytes: 0 })).values()].sort()).toEqual(['x.png', 'y.png', 'z.png']);
    expect(await verifyDataset(store, 'more')).toEqual([]);
  });

  it('takes a test and an unlabeled folder beside it', async () => {
    const { store } = await temporaryStore();
    const root = temporaryFolder();
    writeFiles(root, { ...Object.fromEntries(Object.entries(classFolders()).map(([path, content]) => [`train/${path}`, content])), 'test/cat/t.png': png(500), 'test/dog/t.png': png(501), 'more/u.png': png(600) });
    await importDataset(store, await openSource('folder', { paths: [join(root, 'train')], test: [join(root, 'test')], unlabeled: [join(root, 'more')] }), { name: 'pets', validation: 4 });
    expect(await sizesOf(store, 'pets')).toEqual({ labeled: 20, validation: 4, test: 2, unlabeled: 1 });
  });

  it('is refused with the file that is wrong', async () => {
    const root = temporaryFolder();
    const open = (path = root) => openSource('folder', { paths: [path] });
    expect(await failure(() => open(join(root, 'none')))).toMatchObject({ code: 'DATASET_SOURCE_UNREADABLE', where: join(root, 'none') });
    expect(await failure(() => open())).toMatchObject({ code: 'DATASET_SOURCE_UNREADABLE', message: 'the folder holds neither class folders nor PNG or JPEG images' });
    writeFiles(root, { ...classFolders(), 'cat/broken.png': png(77).subarray(0, 60) });
    expect(await failure(() => open())).toMatchObject({ code: 'IMAGE_CORRUPT', where: 'cat/broken.png' });
    await rm(join(root, 'cat/broken.png'));
    writeFiles(root, { 'bird/readme.md': 'no image here' });
    expect(await failure(() => open())).toMatchObject({ code: 'DATASET_CLASS_EMPTY', message: 'no labeled image of class "bird" was found' });
    writeFiles(root, { 'loose.png': png(78) });
    expect(await failure(() => open())).toMatchObject({ code: 'DATASET_SOURCE_UNREADABLE', message: expect.stringContaining('1 images beside 3 class folders') as string });
  });
});

describe('IDX files', () => {
  const pictures = Array.from({ length: 30 }, (_, at) => picture(at));
  const labels = pictures.map((_, at) => at % 3);

  it('are imported, gzipped or not, with test and unlabeled files beside them', async () => {
    const root = temporaryFolder();
    writeFiles(root, { 'i.idx': idxImages(pictures), 'l.idx': idxLabels(labels), 'i.gz': gzipSync(idxImages(pictures)), 'ti.idx': idxImages([picture(900), picture(901)]), 'tl.idx': idxLabels([0, 1]), 'u.idx': idxImages([picture(902)]) });
    const file = (name: string): string => join(root, name);
    const digests: string[] = [];
    for (const images of ['i.idx', 'i.gz']) {
      const { store } = await temporaryStore();
      const source = await openSource('idx', { paths: [file(images)], labels: file('l.idx'), test: [file('ti.idx')], testLabels: file('tl.idx'), unlabeled: [file('u.idx')] });
      const imported = await importDataset(store, { ...source, name: 'idx' }, { name: 'set', labeledPerClass: 2, validation: 6 });
      expect(imported.manifest).toMatchObject({ classes: ['0', '1', '2'], image: GRAY });
      expect(await sizesOf(store, 'set')).toEqual({ labeled: 6, validation: 6, unlabeled: 19, test: 2 });
      digests.push(sha256(JSON.stringify((await samplesOf(store, part(imported, 'labeled'))).map((sample) => sample.key))));
    }
    expect(digests[0]).toBe(digests[1]);
  });

  it('are refused with the file that is wrong, and the index of a wrong label', async () => {
    const root = temporaryFolder();
    const file = (name: string): string => join(root, name);
    writeFiles(root, { 'images': idxImages(pictures), 'labels': idxLabels(labels), 'short': idxImages(pictures).subarray(0, 500), 'few': idxLabels(labels.slice(1)), 'none': 'hello', 'wrong': idxLabels(labels.with(17, 200)), 'cut.gz': gzipSync(idxImages(pictures)).subarray(0, 100) });
    const open = (images: string, labelsFile = 'labels') => openSource('idx', { paths: [file(images)], labels: file(labelsFile) });
    expect(await failure(() => open('short'))).toMatchObject({ code: 'DATASET_SOURCE_UNREADABLE', where: file('short'), message: expect.stringContaining('484 bytes after its header, which says 900') as string });
    expect(await failure(() => open('images', 'few'))).toMatchObject({ code: 'DATASET_SOURCE_UNREADABLE', where: file('few') });
    expect(await failure(() => open('none'))).toMatchObject({ code: 'DATASET_SOURCE_UNREADABLE', where: file('none') });
    expect(await failure(() => open('cut.gz'))).toMatchObject({ code: 'DATASET_SOURCE_UNREADABLE', where: file('cut.gz') });
    expect(await failure(() => open('missing'))).toMatchObject({ code: 'DATASET_SOURCE_UNREADABLE', where: file('missing') });
    expect(await failure(() => open('images', 'wrong'), { classes: ['x', 'y', 'z'] })).toMatchObject({ code: 'LABEL_OUT_OF_RANGE', where: 'wrong[17]' });
    // Without a class list a label far out leaves gaps, which are told.
    expect(await failure(() => open('images', 'wrong'))).toMatchObject({ code: 'DATASET_CLASS_EMPTY' });
    expect(await failure(() => openSource('idx', { paths: [file('images')], labels: file('labels'), test: [file('images')] }))).toMatchObject({ code: 'DATASET_SOURCE_UNREADABLE' });
  });
});

describe('WebDataset tars', () => {
  const tar = (from: number, to: number, extra: Record<string, Uint8Array | string> = {}) =>
    tarOf({ ...Object.fromEntries(Array.from({ length: to - from }, (_, at) => from + at).flatMap((number) => [[`set/${number}.png`, png(number)], [`set/${number}.cls`, `${number % 3}\n`]])), ...extra });

  it('are imported with .cls or .json labels, indices or names, and without', async () => {
    const { store } = await temporaryStore();
    const root = temporaryFolder();
    writeFiles(root, {
      'a.tar': await tar(0, 12, { 'set/meta.txt': 'passed over' }),
      'b.tar': await tarOf({ 'x.seg.png': png(50), 'x.json': '{"label":1,"who":"me"}', 'y.png': png(51), 'y.cls': 'two', 'z.png': png(52), 'z.json': '{"caption":"none"}' }),
      't.tar': await tar(100, 103), 'u.tar': await tar(200, 204),
    });
    const files = { paths: [join(root, 'a.tar'), join(root, 'b.tar')], test: [join(root, 't.tar')], unlabeled: [join(root, 'u.tar')] };
    const imported = await importDataset(store, await openSource('webdataset', files), { name: 'set', classes: ['zero', 'one', 'two'], validation: 0 });
    expect(await sizesOf(store, 'set')).toEqual({ labeled: 14, unlabeled: 5, test: 3 });
    expect(part(imported, 'labeled').classCounts).toEqual([4, 5, 5]);
    expect(await verifyDataset(store, 'set')).toEqual([]);
  });

  it('larger than the reading window are read whole', async () => {
    const { store } = await temporaryStore();
    const root = temporaryFolder();
    const shape = { height: 700, width: 700, channels: 3 } as const;
    const large = Object.fromEntries(Array.from({ length: 6 }, (_, at) => [[`${at}.png`, png(at, shape)], [`${at}.cls`, String(at % 2)]] as const).flat());
    writeFiles(root, { 'large.tar': await tarOf(large) });
    await importDataset(store, await openSource('webdataset', { paths: [join(root, 'large.tar')] }), { name: 'set', validation: 0 });
    expect(await sizesOf(store, 'set')).toEqual({ labeled: 6 });
    expect(await verifyDataset(store, 'set')).toEqual([]);
  });

  it('are refused with the tar and the byte', async () => {
    const root = temporaryFolder();
    const whole = await tar(0, 6);
    const path = join(root, 'x.tar');
    const open = () => openSource('webdataset', { paths: [path] });
    await writeFile(path, whole.subarray(0, 3000));
    expect(await failure(() => open())).toMatchObject({ code: 'SHARD_CORRUPT', where: path, message: expect.stringMatching(/cut off .* at byte 3000/) as string });
    await writeFile(path, await tarOf({ '../evil.png': png(1) }));
    expect(await failure(() => open())).toMatchObject({ code: 'SHARD_CORRUPT', where: path });
    await writeFile(path, await tar(0, 6, { 'set/7.png': png(7), 'set/7.cls': '12' }));
    expect(await failure(() => open(), { classes: ['a', 'b', 'c'] })).toMatchObject({ code: 'LABEL_OUT_OF_RANGE', where: 'x.tar/set/7' });
    await writeFile(path, await tar(0, 6, { 'set/7.png': png(7), 'set/7.json': '{' }));
    expect(await failure(() => open())).toMatchObject({ code: 'SHARD_CORRUPT', where: path });
    await writeFile(path, await tar(0, 6, { 'set/7.png': png(7).subarray(0, 40), 'set/7.cls': '1' }));
    expect(await failure(() => open())).toMatchObject({ code: 'IMAGE_CORRUPT', where: 'x.tar/set/7' });
    expect(await failure(() => openSource('webdataset', { paths: [] }))).toMatchObject({ code: 'DATASET_SOURCE_UNREADABLE' });
  });
});

describe('a pinned package', () => {
  const pinned: PinnedPackage = { name: 'pictures', version: '1.0.0', files: { 'data/x': sha256('right') } };
  const installing = (content: string, calls: string[] = []) => async (prefix: string, specifier: string): Promise<void> => {
    calls.push(specifier);
    writeFiles(join(prefix, 'node_modules/pictures'), { 'data/x': content });
    return Promise.resolve();
  };

  it('is fetched once, and again when the cache is damaged', async () => {
    const cache = temporaryFolder();
    const calls: string[] = [];
    const folder = await fetchPackage(pinned, { cache, install: installing('right', calls) });
    expect(await readFile(join(folder, 'data/x'), 'utf8')).toBe('right');
    await fetchPackage(pinned, { cache, install: installing('right', calls) });
    expect(calls).toEqual(['pictures@1.0.0']);
    await writeFile(join(folder, 'data/x'), 'damaged');
    await fetchPackage(pinned, { cache, install: installing('right', calls) });
    expect(calls).toHaveLength(2);
    expect(await readFile(join(folder, 'data/x'), 'utf8')).toBe('right');
  });

  it('is not used with other contents than were pinned', async () => {
    const cache = temporaryFolder();
    await expect(fetchPackage(pinned, { cache, install: installing('changed') })).rejects.toMatchObject({ code: 'DIGEST_MISMATCH', where: 'pictures@1.0.0' });
    expect(existsSync(join(cache, 'packages', 'pictures@1.0.0'))).toBe(false);
  });

  it('that cannot be fetched is told in one sentence', async () => {
    const failing = () => Promise.reject(Object.assign(new Error('Command failed'), { stderr: 'npm error code ENOTFOUND\nnpm error network request failed' }));
    await expect(fetchPackage(pinned, { cache: temporaryFolder(), install: failing })).rejects.toMatchObject({ code: 'SOURCE_UNAVAILABLE', message: 'the package pictures@1.0.0 could not be fetched: npm says ENOTFOUND' });
  });
});

describe('a source\'s name', () => {
  it('is one of those there are, with the files that it needs and no others', async () => {
    await expect(openSource('cifar')).rejects.toMatchObject({ code: 'USAGE' });
    await expect(openSource('folder')).rejects.toMatchObject({ code: 'USAGE' });
    await expect(openSource('mnist', { paths: ['x'] })).rejects.toMatchObject({ code: 'USAGE' });
    await expect(openSource('folder', { paths: ['x', 'y'] })).rejects.toMatchObject({ code: 'USAGE' });
  });
});
