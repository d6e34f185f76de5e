/** The directory engine: the conformance suite, and what a crash, a full disk and a second process do to it. */
import * as fileSystem from 'node:fs/promises';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { DirectoryStore, openStore, type FileSystem } from '../../../store/index.ts';
import { collect, describeObjectStore } from './conformance.ts';

const folders: string[] = [];
const temporaryFolder = (): string => {
  const folder = mkdtempSync(join(tmpdir(), 'alumnus-store-'));
  folders.push(folder);
  return folder;
};
afterAll(() => folders.forEach((folder) => rmSync(folder, { recursive: true, force: true })));

const content = new TextEncoder().encode('some bytes');

describeObjectStore('directory', async () => {
  const root = temporaryFolder();
  return { store: await openStore(pathToFileURL(root).href), tamper: (key, changed) => fileSystem.writeFile(join(root, 'objects', key), changed) };
});

/** The file system until its `failAt`-th changing call, which and all later ones fail as if the process had died there. */
function dyingFileSystem(failAt: number): { fs: FileSystem; died: () => boolean } {
  let calls = 0;
  const dying = (): void => {
    calls += 1;
    if (calls >= failAt) throw Object.assign(new Error('died'), { code: 'EDIED' });
  };
  const changing = <Arguments extends unknown[], Result>(call: (...given: Arguments) => Promise<Result>) => async (...given: Arguments): Promise<Result> => {
    dying();
    return call(...given);
  };
  return {
    died: () => calls >= failAt,
    fs: { ...fileSystem, mkdir: changing(fileSystem.mkdir) as FileSystem['mkdir'], open: changing(fileSystem.open), link: changing(fileSystem.link), rename: changing(fileSystem.rename), unlink: changing(fileSystem.unlink) },
  };
}

describe('a directory store', () => {
  it('shows an object whole or not at all, wherever its writer dies, and takes the put again', async () => {
    let survivals = 0;
    for (let failAt = 1; survivals < 2; failAt += 1) {
      const root = temporaryFolder();
      await DirectoryStore.open(root);
      const { fs, died } = dyingFileSystem(failAt);
      const dying = await DirectoryStore.open(root, { fileSystem: fs }).catch(() => undefined);
      if (dying !== undefined) {
        await dying.putAddressed('p/q', content, { metadata: { run: 'r' } }).catch(() => undefined);
        await dying.putNamed('name', content).catch(() => undefined);
      }
      if (!died()) survivals += 1;
      const after = await DirectoryStore.open(root);
      for await (const { key, bytes } of after.list('')) {
        expect(bytes).toBe(content.length);
        expect(Buffer.from((await after.getNamed(key))?.content ?? []).equals(Buffer.from(content))).toBe(true);
        if (key !== 'name') expect(await after.metadata(key)).toEqual({ run: 'r' });
      }
      const ref = await after.putAddressed('p/q', content, { metadata: { run: 'r' } });
      await after.putNamed('name', content);
      expect(Buffer.from(await after.get(ref)).equals(Buffer.from(content))).toBe(true);
      expect(failAt).toBeLessThan(100);
    }
  });

  it('sweeps temporary files of dead writers when it opens, and leaves those of live ones', async () => {
    const root = temporaryFolder();
    const store = await DirectoryStore.open(root);
    await store.putNamed('kept', content);
    const temporary = join(root, 'temporary');
    expect(await fileSystem.readdir(temporary)).toEqual([]);
    await fileSystem.writeFile(join(temporary, 'old'), 'garbage');
    await fileSystem.writeFile(join(temporary, 'new'), 'under way');
    const dayMs = 24 * 60 * 60 * 1000;
    await fileSystem.utimes(join(temporary, 'old'), new Date(Date.now() - 2 * dayMs), new Date(Date.now() - 2 * dayMs));
    await DirectoryStore.open(root);
    expect(await fileSystem.readdir(temporary)).toEqual(['new']);
    await DirectoryStore.open(root, { now: () => Date.now() + 2 * dayMs });
    expect(await fileSystem.readdir(temporary)).toEqual([]);
    expect((await collect(store.list(''))).map((entry) => entry.key)).toEqual(['kept']);
  });

  it('says that the disk is full, keeps what it has, and leaves no garbage', async () => {
    const root = temporaryFolder();
    const kept = await (await DirectoryStore.open(root)).putAddressed('p', content);
    const full: FileSystem = {
      ...fileSystem,
      open: async (...given) => {
        const handle = await fileSystem.open(...given);
        if (given[1] === 'wx') handle.writeFile = () => Promise.reject(Object.assign(new Error('no space left'), { code: 'ENOSPC' }));
        return handle;
      },
    };
    const store = await DirectoryStore.open(root, { fileSystem: full });
    await expect(store.putAddressed('p', new TextEncoder().encode('more'))).rejects.toMatchObject({ code: 'STORE_FULL', retryable: true });
    await expect(store.putNamed('n', new TextEncoder().encode('more'))).rejects.toMatchObject({ code: 'STORE_FULL' });
    expect(Buffer.from(await store.get(kept)).toString()).toBe('some bytes');
    expect(await collect(store.list(''))).toHaveLength(1);
    expect(await fileSystem.readdir(join(root, 'temporary'))).toEqual([]);
  });

  it('does not take a write for done that the disk did not keep', async () => {
    const lying: FileSystem = {
      ...fileSystem,
      open: async (...given) => {
        const handle = await fileSystem.open(...given);
        if (given[1] === 'wx') handle.writeFile = () => Promise.resolve();
        return handle;
      },
    };
    const store = await DirectoryStore.open(temporaryFolder(), { fileSystem: lying });
    await expect(store.putAddressed('p', content)).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
    expect(await collect(store.list(''))).toEqual([]);
  });

  it('flushes every new folder\'s name once, and that of each object, before a put is done', async () => {
    const root = temporaryFolder();
    const flushed: string[] = [];
    const watched: FileSystem = {
      ...fileSystem,
      open: async (...given) => {
        const handle = await fileSystem.open(...given);
        const sync = handle.sync.bind(handle);
        handle.sync = () => {
          if (!String(given[0]).startsWith(join(root, 'temporary'))) flushed.push(relative(root, String(given[0])));
          return sync();
        };
        return handle;
      },
    };
    const store = await DirectoryStore.open(root, { fileSystem: watched });
    const newlyFlushed = async (prefix: string): Promise<string[]> => {
      flushed.length = 0;
      await store.putAddressed(prefix, content);
      return [...flushed];
    };
    // The name of a folder lies in the one above it; the last is that of the object.
    expect(await newlyFlushed('a/b')).toEqual(['objects', 'objects/a', 'objects/a/b']);
    expect(await newlyFlushed('a/c')).toEqual(['objects/a', 'objects/a/c']);
    expect(await newlyFlushed('a/c')).toEqual(['objects/a/c']);
    expect(await newlyFlushed('a/c/d/e')).toEqual(['objects/a/c', 'objects/a/c/d', 'objects/a/c/d/e']);
  });

  it('says that its folder cannot be written to', async () => {
    const refused: FileSystem = { ...fileSystem, mkdir: (() => Promise.reject(Object.assign(new Error('denied'), { code: 'EACCES' }))) as FileSystem['mkdir'] };
    await expect(DirectoryStore.open(temporaryFolder(), { fileSystem: refused })).rejects.toMatchObject({ code: 'STORE_UNWRITABLE' });
    const file = join(temporaryFolder(), 'file');
    await fileSystem.writeFile(file, '');
    await expect(DirectoryStore.open(join(file, 'store'))).rejects.toMatchObject({ name: 'AlumnusError' });
  });
});

describe('a store for who only reads', () => {
  it.each([['missing', (folder: string) => join(folder, 'missing')], ['none', (folder: string) => folder]])('is not made where its folder is %s, and nothing is written there', async (_, at) => {
    const folder = temporaryFolder();
    const root = at(folder);
    await expect(openStore(pathToFileURL(root).href, { create: false })).rejects.toMatchObject({ code: 'STORE_NOT_FOUND', where: root });
    expect(await fileSystem.readdir(folder)).toEqual([]);
  });

  it('gives what is there, by nothing but reading: no folder is made, nothing is swept', async () => {
    const root = temporaryFolder();
    const ref = await (await DirectoryStore.open(root)).putAddressed('p', content);
    await fileSystem.rm(join(root, 'metadata'), { recursive: true });
    await fileSystem.writeFile(join(root, 'temporary', 'left'), '');
    const dayMs = 24 * 60 * 60 * 1000;
    const store = await DirectoryStore.open(root, { create: false, now: () => Date.now() + 2 * dayMs });
    expect(Buffer.from(await store.get(ref)).toString()).toBe('some bytes');
    expect((await fileSystem.readdir(root)).sort()).toEqual(['objects', 'temporary']);
    expect(await fileSystem.readdir(join(root, 'temporary'))).toEqual(['left']);
  });
});

describe('a store\'s URL', () => {
  it('names a folder', async () => {
    const folder = join(temporaryFolder(), 'with space');
    const store = await openStore(`${pathToFileURL(folder).href}/`);
    await store.putNamed('key', content);
    expect(await fileSystem.readFile(join(folder, 'objects', 'key'), 'utf8')).toBe('some bytes');
  });

  it.each(['s3:bucket', 'file:relative', 'file://host/path', '/plain/path', 'https://example.org', ''])('is refused with a sentence when it is %j', async (url) => {
    await expect(openStore(url)).rejects.toMatchObject({ code: 'USAGE', where: url });
  });
});
