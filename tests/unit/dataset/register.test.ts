/** Tars that are registered where they lie, and versions that are appended. Archives are made by tar-stream, digests by Node's own hash. */
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import sharp from 'sharp';
import { beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { prepareSubmission } from '../../../coordinator/api/submission.ts';
import { appendDataset, importDataset, indexTar, inspectDataset, loadManifest, readLabels, registerDataset, samplePixels, shardSamples, verifyDataset, type Registered, type TarReaders } from '../../../dataset/index.ts';
import { DirectoryStore, paths, type ObjectStore } from '../../../store/index.ts';
import { decodedShard } from '../../../worker/data/index.ts';
import { collect, GRAY, jpeg, memorySource, picture, png, tarOf, temporaryFolder, temporaryStore } from './fixture.ts';

let store: ObjectStore;
let place: string;
let location: string;

const digestOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

async function tar(name: string, entries: Readonly<Record<string, Uint8Array | string>>): Promise<Buffer> {
  const bytes = await tarOf(entries);
  mkdirSync(join(place, name, '..'), { recursive: true });
  writeFileSync(join(place, name), bytes);
  return bytes;
}

const register = (more: Partial<Parameters<typeof registerDataset>[1]> = {}): Promise<Registered> => registerDataset(store, { name: 'web', location, part: 'unlabeled', ...more });
const append = (more: Partial<Parameters<typeof appendDataset>[2]> = {}): Promise<Registered> => appendDataset(store, 'web', { location, part: 'unlabeled', ...more });
const keysIn = async (): Promise<string[]> => (await collect(store.list(''))).map(({ key }) => key);

beforeEach(async () => {
  ({ store } = await temporaryStore());
  place = join(temporaryFolder(), 'tars');
  location = pathToFileURL(place).href;
});

describe('registering tars', () => {
  it('makes shards of them where they lie: named by digest, counted, and nothing copied', async () => {
    const second = await tar('b.tar', { '0.png': png(1), '0.json': '{ no label at all', '1.jpg': await jpeg(2, GRAY), 'notes.txt': 'none' });
    const first = await tar('deep/a.tar', { '0.png': png(3) });
    await tar('ignored.tar.gz', { '0.png': png(4) });
    const { manifest, added } = await register();
    expect(added).toBe(2);
    expect(manifest.image).toEqual(GRAY);
    expect(manifest.parts.unlabeled).toEqual({
      samples: 3,
      shards: [
        { name: 'unlabeled-000000', ref: { key: 'b.tar', sha256: digestOf(second), bytes: second.byteLength }, samples: 2, location },
        { name: 'unlabeled-000001', ref: { key: 'deep/a.tar', sha256: digestOf(first), bytes: first.byteLength }, samples: 1, location },
      ],
    });
    const keys = await keysIn();
    expect(keys.filter((key) => !key.startsWith('indexed/'))).toEqual([paths.datasetManifest('web')]);
    // Of each tar, and nothing else.
    expect(keys).toHaveLength(3);
    expect((await inspectDataset(store, 'web')).parts[0]?.registered).toEqual([{ location, shards: 2 }]);
  });

  it('gives each sample a key of the tar\'s digest and its own, and of what cannot be part of a key its digest', async () => {
    const bytes = await tar('a.tar', { '000017.png': png(1), 'dir/odd name.png': png(2) });
    const shard = (await register()).manifest.parts.unlabeled?.shards[0];
    if (shard === undefined) throw new Error('one shard was registered');
    const begin = digestOf(bytes).slice(0, 12);
    expect((await collect(shardSamples(store, shard))).map(({ key }) => key)).toEqual([`${begin}_000017`, `${begin}_${digestOf(Buffer.from('dir/odd name')).slice(0, 20)}`]);
  });

  it('images of any shape have the dataset\'s when workers read them', async () => {
    const large = sharp(picture(9, { height: 40, width: 30, channels: 3 }), { raw: { height: 40, width: 30, channels: 3 } });
    const encoded = await large.png().toBuffer();
    await tar('a.tar', { '0.png': encoded, '1.png': png(1, { height: 8, width: 8, channels: 3 }) });
    const { manifest } = await register({ image: { height: 8, width: 8, channels: 3 } });
    const shard = manifest.parts.unlabeled?.shards[0];
    if (shard === undefined) throw new Error('one shard was registered');
    const { keys, images } = await decodedShard({ store, shape: { height: 8, width: 8, channels: 3 }, cacheFolder: '', signal: new AbortController().signal }, shard);
    expect(keys).toHaveLength(2);
    // By the library alone.
    const expected = await sharp(encoded).resize(8, 8, { fit: 'fill' }).toColorspace('srgb').raw().toBuffer();
    expect(Buffer.from(images.subarray(0, 192))).toEqual(expected);
    expect(Buffer.from(images.subarray(192))).toEqual(Buffer.from(picture(1, { height: 8, width: 8, channels: 3 })));
  });

  it('a tar of ours that somebody registers has other keys in the cache of decoded shards, too', async () => {
    const { manifest } = await importDataset(store, memorySource({ labeled: 6 }), { name: 'own', labeledPerClass: 2 });
    const own = manifest.parts.labeled?.shards[0];
    if (own === undefined) throw new Error('one shard was imported');
    mkdirSync(place);
    writeFileSync(join(place, 'a.tar'), await store.get(own.ref));
    const shard = (await register()).manifest.parts.unlabeled?.shards[0];
    if (shard === undefined) throw new Error('one shard was registered');
    expect(shard.ref.sha256).toBe(own.ref.sha256);
    const cache = temporaryFolder();
    const keys = async (each: typeof shard): Promise<readonly string[]> => (await decodedShard({ store, shape: GRAY, cacheFolder: cache, signal: new AbortController().signal }, each)).keys;
    const [ours, theirs] = [await keys(own), await keys(shard)];
    expect(theirs).toEqual(ours.map((key) => `${own.ref.sha256.slice(0, 12)}_${key}`));
    expect([await keys(own), await keys(shard)]).toEqual([ours, theirs]);
  });

  it('what changed there since is refused when it is read', async () => {
    await tar('a.tar', { '0.png': png(1) });
    const shard = (await register()).manifest.parts.unlabeled?.shards[0];
    if (shard === undefined) throw new Error('one shard was registered');
    const bytes = readFileSync(join(place, 'a.tar'));
    bytes[600] = (bytes[600] ?? 0) ^ 1;
    writeFileSync(join(place, 'a.tar'), bytes);
    await expect(decodedShard({ store, shape: GRAY, cacheFolder: '', signal: new AbortController().signal }, shard)).rejects.toMatchObject({ code: 'DIGEST_MISMATCH', where: `${location}/a.tar` });
    expect((await verifyDataset(store, 'web')).map(({ code, file }) => [code, file])).toEqual([['DIGEST_MISMATCH', `${location}/a.tar`]]);
  });

  it('labels beside the images become the part\'s table', async () => {
    const bytes = await tar('a.tar', { 'x.png': png(1), 'x.cls': 'dog', 'y.png': png(2), 'y.json': '{"label":"cat"}', 'z.png': png(3), 'z.cls': 'dog' });
    const { manifest } = await register({ part: 'labeled' });
    expect(manifest.classes).toEqual(['cat', 'dog']);
    const { labels, classCounts } = manifest.parts.labeled ?? {};
    if (labels === undefined) throw new Error('a labeled part has a table');
    const begin = digestOf(bytes).slice(0, 12);
    const table = await readLabels(store, labels);
    expect([table.keys, [...table.classes]]).toEqual([[`${begin}_x`, `${begin}_y`, `${begin}_z`], [1, 0, 1]]);
    expect(classCounts).toEqual([1, 2]);
    expect(await verifyDataset(store, 'web')).toEqual([]);
  });

  it.each([
    ['an image without a label', { 'x.png': png(1) }, 'labeled', 'DATASET_SOURCE_UNREADABLE', '"x" has no label'],
    ['two images of one name', { 'x.png': png(1), 'y.png': png(2), 'x.jpg': png(3) }, 'unlabeled', 'SHARD_CORRUPT', 'two images called "x"'],
    ['a name that climbs', { '../x.png': png(1) }, 'unlabeled', 'SHARD_CORRUPT', 'leads out'],
    ['no image', { 'x.txt': 'text' }, 'unlabeled', 'DATASET_SOURCE_UNREADABLE', 'no tar there holds'],
  ] as const)('%s is refused with its name', async (_, entries, part, code, sentence) => {
    await tar('a.tar', entries);
    await expect(register({ part, image: GRAY })).rejects.toMatchObject({ code, message: expect.stringContaining(sentence) });
    await expect(loadManifest(store, 'web')).rejects.toMatchObject({ code: 'DATASET_NOT_FOUND' });
  });

  it('each byte is read once, in windows, and no tar as a whole', async () => {
    const blob = Buffer.alloc(4 * 1024 * 1024, 7);
    const sizes = await Promise.all(['a.tar', 'b.tar'].map(async (name, at) => (await tar(name, { 'x.png': png(at), ...Object.fromEntries([0, 1, 2, 3, 4].map((each) => [`${each}.bin`, blob])) })).byteLength));
    const whole = vi.spyOn(DirectoryStore.prototype, 'get');
    const ranges = vi.spyOn(DirectoryStore.prototype, 'getRange');
    onTestFinished(() => void vi.restoreAllMocks());
    await register({ image: GRAY });
    expect(whole).not.toHaveBeenCalled();
    const read = ranges.mock.calls.map(([, start, end]) => end - start);
    expect(read.reduce((sum, bytes) => sum + bytes, 0)).toBe(sizes.reduce((sum, bytes) => sum + bytes, 0));
    expect(Math.max(...read)).toBe(8 * 1024 * 1024);
  });

  it('a place without a tar, and none at all, are refused', async () => {
    await expect(register()).rejects.toMatchObject({ code: 'OBJECT_NOT_FOUND' });
    mkdirSync(place);
    await expect(register()).rejects.toMatchObject({ code: 'DATASET_SOURCE_UNREADABLE' });
  });

  it('a tar that is cut off is refused with the byte at which it ends', async () => {
    const bytes = await tar('a.tar', { '0.png': png(1), '1.png': png(2) });
    writeFileSync(join(place, 'a.tar'), bytes.subarray(0, 1100));
    await expect(register({ image: GRAY })).rejects.toMatchObject({ code: 'SHARD_CORRUPT', where: `${location}/a.tar` });
  });

  it('exact copies and tars without images are left out, and it is said', async () => {
    await tar('a.tar', { '0.png': png(1) });
    writeFileSync(join(place, 'b.tar'), readFileSync(join(place, 'a.tar')));
    await tar('c.tar', { 'readme.txt': 'text' });
    const { manifest, notes } = await register();
    expect(manifest.parts.unlabeled?.shards.map(({ ref }) => ref.key)).toEqual(['a.tar']);
    expect(notes).toEqual(['1 tars that are exact copies of others were left out', '1 tars without an image were left out']);
  });
});

describe('an interrupted registration', () => {
  const names = ['a.tar', 'b.tar', 'c.tar'];
  const WRITTEN_S = 1_700_000_000;
  const written = (name: string, laterS = 0): void => utimesSync(join(place, name), WRITTEN_S, WRITTEN_S + laterS);
  const make = async (): Promise<void> => {
    for (const [at, name] of names.entries()) {
      await tar(name, { '0.png': png(at), '1.png': png(10 + at) });
      written(name);
    }
  };

  /** Other bytes of the same length, as if written at the same time or later. */
  const overwrite = (name: string, laterS: number): void => {
    writeFileSync(join(place, name), Buffer.alloc(statSync(join(place, name)).size, 1));
    written(name, laterS);
  };

  it('goes on with what it had not read, and ends with the same manifest', async () => {
    await make();
    const { store: another } = await temporaryStore();
    const whole = await registerDataset(another, { name: 'web', location, part: 'unlabeled' });
    const stopping = new AbortController();
    let windows = 0;
    const interrupted = registerDataset(store, { name: 'web', location, part: 'unlabeled', atOnce: 1, signal: stopping.signal }, (done) => {
      windows += done > 0 ? 1 : 0;
      if (windows === 2) stopping.abort();
    });
    await expect(interrupted).rejects.toMatchObject({ code: 'CANCELLED' });
    const known = (await keysIn()).length;
    expect(known).toBeGreaterThan(0);
    expect(known).toBeLessThan(3);
    const ranges = vi.spyOn(DirectoryStore.prototype, 'getRange');
    onTestFinished(() => void vi.restoreAllMocks());
    const { digest } = await register({ image: GRAY });
    expect(digest).toBe(whole.digest);
    expect(ranges.mock.calls.map(([ref]) => ref.key)).toEqual(names.slice(known));
  });

  it('takes a tar of the same size that was written anew for another, and one of the same time for what it was', async () => {
    await make();
    await register();
    overwrite('b.tar', 0);
    await register({ name: 'again', image: GRAY });
    overwrite('a.tar', 1);
    await expect(register({ name: 'third', image: GRAY })).rejects.toMatchObject({ code: 'SHARD_CORRUPT', where: `${location}/a.tar` });
  });

  it('by others who keep what they find in another store is told with the first tar', async () => {
    await make();
    const { store: another } = await temporaryStore();
    const readers: TarReaders = async function* (tars) {
      for (const tar of tars) {
        await indexTar(another, tar, () => undefined);
        yield { indexed: [tar], bytes: tar.bytes };
      }
    };
    await expect(register({ readers })).rejects.toMatchObject({ code: 'OBJECT_NOT_FOUND', where: `${location}/a.tar` });
    expect(await collect(another.list('indexed/'))).toHaveLength(1);
    expect((await registerDataset(another, { name: 'web', location, part: 'unlabeled', readers })).added).toBe(3);
  });

  it('what is kept of a tar and is none of ours is named, not believed', async () => {
    await make();
    await register();
    const [key = ''] = (await keysIn()).filter((each) => each.startsWith('indexed/'));
    await store.delete(key);
    await store.putNamed(key, Buffer.from('{"sha256":"short","samples":1}'));
    await expect(register({ name: 'again' })).rejects.toMatchObject({ code: 'SHARD_CORRUPT', where: key });
    await store.delete(key);
    await register({ name: 'again' });
  });

  it('labels count in what is kept: a tar that was read without them is read again with them', async () => {
    const bytes = await tar('a.tar', { 'x.png': png(1), 'x.cls': 'dog', 'y.png': png(2), 'y.json': '{"label":"cat"}' });
    await register();
    const { manifest } = await register({ name: 'labeled', part: 'labeled' });
    expect(manifest.parts.labeled).toMatchObject({ samples: 2, classCounts: [1, 1] });
    const objects = (await collect(store.list('indexed/'))).map(({ key }) => store.getNamed(key));
    const contents = (await Promise.all(objects)).map((object) => JSON.parse(Buffer.from(object?.content ?? []).toString()) as unknown);
    expect(contents).toEqual(expect.arrayContaining([{ sha256: digestOf(bytes), samples: 2 }, { sha256: digestOf(bytes), samples: 2, labels: [['x', 'dog'], ['y', 'cat']] }]));
  });
});

describe('appending', () => {
  beforeEach(async () => {
    await tar('a.tar', { '0.png': png(1) });
    await tar('b.tar', { '0.png': png(2) });
  });

  it('makes a version of which only the new shards are new; the name is the newest, NAME@1 what it was', async () => {
    const first = await register();
    // In the middle by name, at the end by number: shards keep theirs.
    await tar('aa.tar', { '0.png': png(3), '1.png': png(4) });
    const second = await append();
    expect(second.added).toBe(1);
    expect(second.manifest).toMatchObject({ version: 2, previous: first.digest });
    expect(second.manifest.parts.unlabeled?.samples).toBe(4);
    expect(second.manifest.parts.unlabeled?.shards.slice(0, 2)).toEqual(first.manifest.parts.unlabeled?.shards);
    expect(second.manifest.parts.unlabeled?.shards[2]).toMatchObject({ name: 'unlabeled-000002', ref: { key: 'aa.tar' } });
    expect((await loadManifest(store, 'web')).digest).toBe(second.digest);
    expect((await loadManifest(store, 'web@2')).digest).toBe(second.digest);
    expect((await loadManifest(store, 'web@1')).digest).toBe(first.digest);
    await expect(loadManifest(store, 'web@3')).rejects.toMatchObject({ code: 'DATASET_NOT_FOUND' });
    expect(await verifyDataset(store, 'web')).toEqual([]);
  });

  it('nothing new is no new version', async () => {
    const first = await register();
    writeFileSync(join(place, 'copy.tar'), readFileSync(join(place, 'a.tar')));
    const again = await append();
    expect([again.added, again.digest]).toEqual([0, first.digest]);
    await tar('c.tar', { '0.png': png(3) });
    const second = await append();
    const third = await append();
    expect([third.added, third.digest]).toEqual([0, second.digest]);
  });

  it('a tar that has another size than it had is no new one', async () => {
    await register();
    await tar('a.tar', { '0.png': png(1), '1.png': png(8) });
    await expect(append()).rejects.toMatchObject({ code: 'DIGEST_MISMATCH', where: `${location}/a.tar` });
  });

  it('of two that append at once one is told that there is such a version', async () => {
    await register();
    await tar('c.tar', { '0.png': png(3) });
    const other = pathToFileURL(join(place, '..', 'others')).href;
    mkdirSync(join(place, '..', 'others'));
    writeFileSync(join(place, '..', 'others', 'd.tar'), await tarOf({ '0.png': png(4) }));
    const both = await Promise.allSettled([append(), append({ location: other })]);
    // One that reads late finds the other's version, and makes the next.
    const refused = both.flatMap((each) => (each.status === 'rejected' ? [each.reason as { code: string }] : []));
    expect(refused.length).toBeLessThan(2);
    for (const reason of refused) expect(reason.code).toBe('DATASET_EXISTS');
    expect((await loadManifest(store, 'web')).manifest.version).toBe(2 + 1 - refused.length);
  });

  it('labels of new tars are of the dataset\'s classes, behind those that were there', async () => {
    await register();
    await tar('labeled/x.tar', { 'x.png': png(20), 'x.cls': '1', 'y.png': png(21), 'y.cls': '0' });
    const labeled = pathToFileURL(join(place, 'labeled')).href;
    const second = await append({ location: labeled, part: 'labeled', classes: ['cat', 'dog'] });
    expect([second.manifest.classes, second.manifest.parts.labeled?.classCounts]).toEqual([['cat', 'dog'], [1, 1]]);
    await tar('labeled/z.tar', { 'z.png': png(22), 'z.cls': 'dog' });
    const third = await append({ location: labeled, part: 'labeled' });
    const { labels } = third.manifest.parts.labeled ?? {};
    if (labels === undefined) throw new Error('a labeled part has a table');
    expect([...(await readLabels(store, labels)).classes]).toEqual([1, 0, 1]);
    await tar('labeled/zz.tar', { 'z.png': png(23), 'z.cls': 'bird' });
    await expect(append({ location: labeled, part: 'labeled' })).rejects.toMatchObject({ code: 'LABEL_OUT_OF_RANGE', where: `${labeled}/zz.tar/z` });
  });

  it('an imported dataset takes tars, too; a run is given the version that its recipe names, and the place of each shard', async () => {
    await tar('a.tar', { '0.png': png(501) });
    await tar('b.tar', { '0.png': png(502) });
    const imported = await importDataset(store, memorySource({ labeled: 30, unlabeled: 5 }), { name: 'web', labeledPerClass: 4, validation: 6 });
    const { manifest, digest } = await append();
    expect(await verifyDataset(store, 'web')).toEqual([]);
    const recipe = (dataset: string): string => `name: digits\nrounds: 1\ndata: { dataset: ${dataset} }\nmodels: { ladder: [{ model: cnn, width: 4 }] }\n`;
    const { data } = await prepareSubmission(store, recipe('web'));
    expect(data.unlabeled).toMatchObject({ dataset: 'web@2#unlabeled', manifestSha256: digest, samples: manifest.parts.unlabeled?.samples });
    expect(data.unlabeled?.shards.map((shard) => shard.location)).toEqual([undefined, location, location]);
    const before = await prepareSubmission(store, recipe('web@1'));
    expect(before.data.unlabeled).toMatchObject({ dataset: 'web#unlabeled', manifestSha256: imported.digest });
  });

  it('unlabeled images that come twice are no damage; one that is held out, too, is', async () => {
    await tar('c.tar', { '0.png': png(2), '1.png': png(1) });
    await register();
    expect(await verifyDataset(store, 'web')).toEqual([]);
    await tar('held/v.tar', { 'v.png': png(2), 'v.cls': '0', 'w.png': png(30), 'w.cls': '1' });
    await append({ location: pathToFileURL(join(place, 'held')).href, part: 'validation' });
    expect((await verifyDataset(store, 'web')).map(({ problem }) => problem)).toEqual([expect.stringContaining('the same image is also')]);
  });
});

it('a shard of ours has no pixels but those of the dataset\'s shape', async () => {
  await expect(samplePixels({}, png(1, { height: 8, width: 8, channels: 1 }), GRAY, 'x')).rejects.toMatchObject({ code: 'IMAGE_CORRUPT' });
});
