/** A store that is observed is a store; and what is told of it. */
import { mkdtempSync, rmSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import { observedStore, openStore, type ObjectStore } from '../../../store/index.ts';
import { MemoryStore } from '../../simulation/store.ts';
import { collect, describeObjectStore } from './conformance.ts';

const folders: string[] = [];
afterAll(() => folders.forEach((folder) => rmSync(folder, { recursive: true, force: true })));

function told(store: ObjectStore, steps: number[] = []) {
  const said: [string, number | undefined, string][] = [];
  const observed = observedStore(store, (operation, seconds, thrown) => void said.push([operation, seconds, thrown === undefined ? '' : (thrown as { code?: string }).code ?? 'other']), () => steps.shift() ?? 0);
  return { said, observed };
}

test('each operation is told once, with its time, and answers as it would', async () => {
  const { said, observed } = told(new MemoryStore(), [0, 250, 1_000, 1_500, 2_000, 5_000]);
  const ref = await observed.putAddressed('runs/r/t', new TextEncoder().encode('bytes'), { extension: '.x' });
  expect(new TextDecoder().decode(await observed.get(ref))).toBe('bytes');
  expect((await observed.putNamed('labels/a.json', new Uint8Array(1))).created).toBe(true);
  expect(said).toEqual([['putAddressed', 0.25, ''], ['get', 0.5, ''], ['putNamed', 3, '']]);
});

test('what comes in pieces is told at its first, and nothing where its reader stops', async () => {
  const { said, observed } = told(new MemoryStore());
  const ref = await observed.putAddressed('runs/r/t', new TextEncoder().encode('bytes'));
  expect(Buffer.concat(await collect(observed.stream(ref))).toString()).toBe('bytes');
  expect((await collect(observed.list('runs/'))).map(({ key }) => key)).toEqual([ref.key]);
  const stopped = observed.list('runs/')[Symbol.asyncIterator]();
  expect((await stopped.next()).value).toMatchObject({ key: ref.key });
  await stopped.return?.();
  expect(await collect(observed.list('nothing/'))).toEqual([]);
  expect(said.map(([operation]) => operation)).toEqual(['putAddressed', 'stream', 'list', 'list', 'list']);
});

test('an error is told and thrown on, also after the first piece', async () => {
  class Cut extends MemoryStore {
    override async* stream(): AsyncGenerator<Uint8Array> {
      yield await Promise.resolve(new Uint8Array(1));
      throw new Error('cut');
    }
  }
  const { said, observed } = told(new Cut());
  await expect(observed.get({ key: 'nowhere', sha256: 'f'.repeat(64), bytes: 1 })).rejects.toMatchObject({ code: 'OBJECT_NOT_FOUND' });
  await expect(collect(observed.stream({ key: 'k', sha256: 'f'.repeat(64), bytes: 2 }))).rejects.toThrow('cut');
  expect(said).toEqual([['get', 0, 'OBJECT_NOT_FOUND'], ['stream', 0, ''], ['stream', undefined, 'other']]);
});

describeObjectStore('directory, observed', async () => {
  const root = mkdtempSync(join(tmpdir(), 'alumnus-store-'));
  folders.push(root);
  return { store: observedStore(await openStore(pathToFileURL(root).href), () => undefined), tamper: (key, changed) => writeFile(join(root, 'objects', key), changed) };
});
