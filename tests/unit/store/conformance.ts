/**
 * What every ObjectStore does, whatever engine is below: the sentences of store/object-store.ts as tests. A store's own test
 * calls this with a way to open an empty one, and with the two acts of an adversary that only the engine can do.
 */
import { createHash } from 'node:crypto';
import { beforeEach, describe, expect, it } from 'vitest';
import type { ObjectRef, ObjectStore } from '../../../store/index.ts';

export interface ConformanceFixture {
  readonly store: ObjectStore;
  /** Changes stored bytes behind the store's back. */
  tamper(key: string, content: Uint8Array): Promise<void>;
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const sha256 = (content: Uint8Array): string => createHash('sha256').update(content).digest('hex');

export async function collect<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const all: Item[] = [];
  for await (const item of items) all.push(item);
  return all;
}

async function* pieces(content: Uint8Array, size: number): AsyncIterable<Uint8Array> {
  for (let at = 0; at < content.length; at += size) yield await Promise.resolve(content.slice(at, at + size));
}

export function describeObjectStore(engine: string, open: () => Promise<ConformanceFixture>): void {
  describe(`an object store: ${engine}`, () => {
    let fixture: ConformanceFixture;
    let store: ObjectStore;
    beforeEach(async () => {
      fixture = await open();
      store = fixture.store;
    });

    it('keeps bytes under their digest and gives them back', async () => {
      const content = bytes('a shard');
      const ref = await store.putAddressed('datasets/a/labeled', content, { extension: '.tar' });
      expect(ref).toEqual({ key: `datasets/a/labeled/${sha256(content)}.tar`, sha256: sha256(content), bytes: 7 });
      expect(Buffer.from(await store.get(ref)).toString()).toBe('a shard');
    });

    it('takes and gives streams, an empty one too', async () => {
      const content = Uint8Array.from({ length: 3_000_000 }, (_, at) => (at * 31) % 251);
      const ref = await store.putAddressed('p', pieces(content, 100_001));
      expect(ref).toEqual({ key: `p/${sha256(content)}`, sha256: sha256(content), bytes: content.length });
      expect(sha256(Buffer.concat(await collect(store.stream(ref))))).toBe(ref.sha256);
      const empty = await store.putAddressed('p', pieces(new Uint8Array(0), 1));
      expect(empty.bytes).toBe(0);
      expect(await store.get(empty)).toHaveLength(0);
      expect(Buffer.concat(await collect(store.stream(empty)))).toHaveLength(0);
    });

    it('holds the same bytes once, and the first metadata', async () => {
      const first = await store.putAddressed('p', bytes('same'), { metadata: { run: 'one' } });
      const second = await store.putAddressed('p', bytes('same'), { metadata: { run: 'two' } });
      expect(second).toEqual(first);
      expect(await collect(store.list('p/'))).toMatchObject([{ key: first.key, bytes: 4 }]);
      expect(await store.metadata(first.key)).toEqual({ run: 'one' });
    });

    it('holds the same bytes once when many put them at the same time', async () => {
      const refs = await Promise.all(Array.from({ length: 16 }, () => store.putAddressed('p', bytes('same'))));
      expect(new Set(refs.map((ref) => ref.key)).size).toBe(1);
      expect(await collect(store.list(''))).toHaveLength(1);
    });

    it('says what an object says of itself, and nothing for one that says nothing', async () => {
      const ref = await store.putAddressed('p', bytes('x'), { metadata: { 'alumnus.run': 'r-1', 'alumnus.task': 'ü' } });
      expect(await store.metadata(ref.key)).toEqual({ 'alumnus.run': 'r-1', 'alumnus.task': 'ü' });
      const silent = await store.putAddressed('p', bytes('y'));
      expect(await store.metadata(silent.key)).toEqual({});
      expect(await store.metadata('p/none')).toEqual({});
    });

    it('takes no metadata that some engine could not keep', async () => {
      for (const metadata of [{ Run: 'upper case' }, { 'a b': 'x' }, { a_b: 'x' }, { '': 'x' }, { run: 'half of \ud83d' }, { run: 'x'.repeat(2100) }, { run: 'é'.repeat(400) }]) {
        await expect(store.putAddressed('p', bytes('x'), { metadata }), JSON.stringify(metadata)).rejects.toMatchObject({ code: 'USAGE', where: 'p' });
      }
      expect(await collect(store.list(''))).toEqual([]);
      const metadata = { 'alumnus.note': ' 100 % of  "it"\n', 'alumnus.empty': '', 'alumnus.long': 'y'.repeat(1800) };
      const ref = await store.putAddressed('p', bytes('x'), { metadata });
      expect(await store.metadata(ref.key)).toEqual(metadata);
    });

    it('creates a name once', async () => {
      const first = await store.putNamed('datasets/a/manifest.json', bytes('one'));
      expect(first).toEqual({ created: true, ref: { key: 'datasets/a/manifest.json', sha256: sha256(bytes('one')), bytes: 3 } });
      const second = await store.putNamed('datasets/a/manifest.json', bytes('other'));
      expect(second).toEqual({ created: false, ref: first.ref });
      const found = await store.getNamed('datasets/a/manifest.json');
      expect(Buffer.from(found?.content ?? []).toString()).toBe('one');
      expect(found?.ref).toEqual(first.ref);
      expect(await store.getNamed('datasets/b/manifest.json')).toBeUndefined();
    });

    it('lets one of many creators of a name win', async () => {
      const results = await Promise.all(Array.from({ length: 16 }, (_, at) => store.putNamed('name', bytes(`creator ${at}`))));
      const winners = results.filter((result) => result.created);
      expect(winners).toHaveLength(1);
      for (const { ref } of results) expect(ref).toEqual(winners[0]?.ref);
    });

    it('says that an object is missing', async () => {
      const missing: ObjectRef = { key: 'p/none', sha256: sha256(bytes('')), bytes: 0 };
      const error = { code: 'OBJECT_NOT_FOUND', where: 'p/none' };
      await expect(store.get(missing)).rejects.toMatchObject(error);
      await expect(collect(store.stream(missing))).rejects.toMatchObject(error);
      await expect(store.getRange(missing, 0, 0)).rejects.toMatchObject(error);
    });

    it('hands out no changed bytes as those that were asked for', async () => {
      const content = bytes('a teacher\'s weights');
      for (const changed of [bytes('A teacher\'s weights'), bytes('a teacher\'s weight'), bytes('a teacher\'s weights!'), bytes('')]) {
        const ref = await store.putAddressed('p', content);
        await fixture.tamper(ref.key, changed);
        await expect(store.get(ref)).rejects.toMatchObject({ code: 'DIGEST_MISMATCH', where: ref.key });
        await expect(collect(store.stream(ref))).rejects.toMatchObject({ code: 'DIGEST_MISMATCH', where: ref.key });
        if (changed.length !== content.length) await expect(store.getRange(ref, 0, 1)).rejects.toMatchObject({ code: 'DIGEST_MISMATCH', where: ref.key });
      }
    });

    it('mends an object whose stored bytes changed when it is put again', async () => {
      const ref = await store.putAddressed('p', bytes('right'));
      await fixture.tamper(ref.key, bytes('wrong'));
      expect(await store.putAddressed('p', bytes('right'))).toEqual(ref);
      expect(Buffer.from(await store.get(ref)).toString()).toBe('right');
    });

    it('reads ranges, and none beyond the object', async () => {
      const ref = await store.putAddressed('p', bytes('0123456789'));
      expect(Buffer.from(await store.getRange(ref, 2, 5)).toString()).toBe('234');
      expect(Buffer.from(await store.getRange(ref, 0, 10)).toString()).toBe('0123456789');
      expect(await store.getRange(ref, 10, 10)).toHaveLength(0);
      for (const [start, end] of [[0, 11], [-1, 2], [5, 4], [0.5, 2]] as const) await expect(store.getRange(ref, start, end)).rejects.toMatchObject({ code: 'USAGE' });
    });

    it('lists by prefix, in the order of the keys\' bytes', async () => {
      for (const key of ['b', 'a/b', 'a.json', 'a/a/c', 'aa', 'a/é', 'A']) await store.putNamed(key, bytes(key));
      const keys = async (prefix: string): Promise<string[]> => (await collect(store.list(prefix))).map((entry) => entry.key);
      expect(await keys('')).toEqual(['A', 'a.json', 'a/a/c', 'a/b', 'a/é', 'aa', 'b']);
      expect(await keys('a')).toEqual(['a.json', 'a/a/c', 'a/b', 'a/é', 'aa']);
      expect(await keys('a/')).toEqual(['a/a/c', 'a/b', 'a/é']);
      expect(await keys('a/a')).toEqual(['a/a/c']);
      expect(await keys('none/')).toEqual([]);
      expect(await collect(store.list('a/a/c'))).toMatchObject([{ key: 'a/a/c', bytes: 5 }]);
    });

    it('tells of what it lists when it was written, and the same bytes put again were written the first time', async () => {
      await store.putAddressed('p', bytes('one'));
      // Some servers count whole seconds.
      await new Promise((resolve) => setTimeout(resolve, 1_100));
      await store.putAddressed('p', bytes('two'));
      const before = await collect(store.list('p/'));
      await new Promise((resolve) => setTimeout(resolve, 1_100));
      await store.putAddressed('p', bytes('one'));
      expect(await collect(store.list('p/'))).toEqual(before);
      // The first characters of the digests of "one" and "two", by sha256sum.
      const writtenMs = (digest: string): number => before.find(({ key }) => key.startsWith(`p/${digest}`))?.writtenMs ?? Number.NaN;
      expect(writtenMs('7692c3ad')).toBeLessThan(writtenMs('3fc4ccfe'));
    });

    it('deletes, and what is not there without complaint', async () => {
      const ref = await store.putAddressed('p', bytes('garbage'), { metadata: { run: 'gone' } });
      await store.delete(ref.key);
      await store.delete(ref.key);
      await expect(store.get(ref)).rejects.toMatchObject({ code: 'OBJECT_NOT_FOUND' });
      expect(await store.metadata(ref.key)).toEqual({});
      expect(await collect(store.list(''))).toEqual([]);
    });

    it('takes no key that leads out of it or that an engine could not keep', async () => {
      const bad = ['', '/', '/etc/passwd', '..', '../x', 'a/../../x', 'a/./b', 'a//b', 'a/', 'a\0b', 'a\nb', 'a\\..\\b', 'x'.repeat(300), `${'x/'.repeat(600)}x`, '\ud800'];
      for (const key of bad) {
        const refused = { code: 'USAGE' };
        await expect(store.putNamed(key, bytes('x')), key).rejects.toMatchObject(refused);
        await expect(store.putAddressed(key, bytes('x')), key).rejects.toMatchObject(refused);
        await expect(store.get({ key, sha256: '0'.repeat(64), bytes: 1 }), key).rejects.toMatchObject(refused);
        await expect(collect(store.stream({ key, sha256: '0'.repeat(64), bytes: 1 })), key).rejects.toMatchObject(refused);
        await expect(store.getNamed(key), key).rejects.toMatchObject(refused);
        await expect(store.metadata(key), key).rejects.toMatchObject(refused);
        await expect(store.delete(key), key).rejects.toMatchObject(refused);
      }
      await expect(store.putAddressed('p', bytes('x'), { extension: '/../../../x' })).rejects.toMatchObject({ code: 'USAGE' });
      await expect(collect(store.list('../'))).rejects.toMatchObject({ code: 'USAGE' });
      expect(await collect(store.list(''))).toEqual([]);
    });

    it('keeps nothing of a put whose source fails half way', async () => {
      async function* failing(): AsyncIterable<Uint8Array> {
        yield bytes('half of it');
        await Promise.resolve();
        throw new Error('the source failed');
      }
      await expect(store.putAddressed('p', failing())).rejects.toThrow('the source failed');
      expect(await collect(store.list(''))).toEqual([]);
    });
  });
}
