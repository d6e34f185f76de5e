/**
 * Every error in the table is provoked somewhere: the last test holds the table against the tests' own text, so that a code without a test fails it. Here are
 * those that no other file provokes, each from the outside: a real file, a real process, a real device's error.
 */
import { execFile } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import * as fileSystem from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Map as ImmutableMap } from 'immutable';
import { expect, test } from 'vitest';
import { readReviewFile } from '../../cli/review-file.ts';
import { withTimeout } from '../../cli/progress/watch.ts';
import { LabelAnswers } from '../../coordinator/page/labels.ts';
import { decide, type IterationState } from '../../coordinator/run/index.ts';
import { registerDataset } from '../../dataset/index.ts';
import { AlumnusError, errorTable } from '../../proto/errors.ts';
import { LabelResult } from '../../proto/gen/alumnus/v1/task.ts';
import { DirectoryStore, openStore, type FileSystem } from '../../store/index.ts';
import { temporaryFolder, temporaryStore } from '../unit/dataset/fixture.ts';
import { makeData, makeRecipe } from '../unit/coordinator/work.ts';

/** A folder on a device, or in a process, that answers each opening so. */
const failing = (code: string): FileSystem => ({ ...fileSystem, open: (() => Promise.reject(Object.assign(new Error(`${code}: of the system`), { code }))) });

test.each([['EIO', 'DISK_FAILED'], ['EMFILE', 'FILES_EXHAUSTED'], ['ENFILE', 'FILES_EXHAUSTED'], ['EROFS', 'STORE_UNWRITABLE']])('a store whose device says %s answers %s', async (system, code) => {
  const root = temporaryFolder();
  await openStore(pathToFileURL(root).href);
  await expect(DirectoryStore.open(root, { fileSystem: failing(system) }).then((store) => store.putAddressed('runs/run/task', Buffer.from('labels')))).rejects.toMatchObject({ code });
});

test('a tar that no worker could hold is refused before a byte of it is read', async () => {
  const folder = temporaryFolder();
  // Sparse: it takes no room.
  writeFileSync(join(folder, 'huge.tar'), '');
  truncateSync(join(folder, 'huge.tar'), 2 ** 30 + 1);
  const { store } = await temporaryStore();
  await expect(registerDataset(store, { name: 'web', location: pathToFileURL(folder).href, part: 'unlabeled' })).rejects.toMatchObject({ code: 'DATASET_TOO_LARGE', where: expect.stringContaining('huge.tar') as string });
});

test('a review that lacks its columns is refused, and says which', () => {
  expect(() => readReviewFile('key;label\na;b\n', 'answers.csv')).toThrow(expect.objectContaining({ code: 'REVIEW_INVALID', where: 'answers.csv' }) as Error);
});

test('a page that is asked more about labels than it can look up at once says that it is busy', async () => {
  const { state } = decide(undefined, { kind: 'submit', runId: 'run', recipe: makeRecipe({}), data: makeData({}) }, 0);
  const labels: IterationState['labels'] = ImmutableMap([['shard', LabelResult.create()]]);
  const run = { ...state, iterations: Array.from({ length: 19 }, (_, iteration): IterationState => ({ iteration, try: 0, teacher: undefined, labels, quarantined: ImmutableMap() })) };
  const answers = new LabelAnswers(pathToFileURL(temporaryFolder()).href);
  const asked = run.iterations.map(({ iteration }) => answers.ask(run, iteration, 'gallery').then(() => '', (thrown: unknown) => (thrown instanceof AlumnusError ? thrown.code : String(thrown))));
  // Two are looked up, sixteen wait.
  expect(await asked.at(-1)).toBe('PAGE_BUSY');
  answers.close();
  expect((await Promise.all(asked.slice(0, 2))).includes('PAGE_BUSY')).toBe(false);
});

test('a worker without the native library says so, and how to get it', async () => {
  // The built program among packages of which that one is missing.
  const folder = temporaryFolder();
  const root = join(import.meta.dirname, '../..');
  const packages = join(folder, 'node_modules');
  mkdirSync(packages);
  for (const name of readdirSync(join(root, 'node_modules'))) if (name !== '@tensorflow') symlinkSync(join(root, 'node_modules', name), join(packages, name));
  await fileSystem.cp(join(root, 'dist'), join(folder, 'dist'), { recursive: true });
  await fileSystem.copyFile(join(root, 'package.json'), join(folder, 'package.json'));
  const script = `import { loadTensorFlow } from ${JSON.stringify(pathToFileURL(join(folder, 'dist/worker/tensorflow/index.js')).href)};\ntry { loadTensorFlow({ threads: 1 }); } catch (thrown) { console.log(thrown.code, thrown.remedy); }`;
  const said = await new Promise<string>((resolve) => {
    execFile(process.execPath, ['--input-type=module', '-e', script], (_, out, err) => resolve(out + err));
  });
  expect(said).toContain('ENGINE_UNAVAILABLE Run `npm run setup`');
});

test('what takes longer than it was allowed says so', async () => {
  const limit = withTimeout(new AbortController().signal, 0.01);
  await expect.poll(() => limit.timedOut()).toBe(true);
  expect(limit.error('run', 'ended')).toMatchObject({ code: 'TIMED_OUT' });
});

test('every code in the table has a test that provokes it', () => {
  const folder = join(import.meta.dirname, '..');
  const texts = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    // What makes up errors by itself provokes none.
    .filter((file) => /\.(ts|txt)$/.test(file) && !/^(simulation|harness|property)\//.test(file) && !/errors\.test\.ts$/.test(file))
    .map((file) => readFileSync(join(folder, file), 'utf8'));
  const without = Object.keys(errorTable).filter((code) => !texts.some((text) => new RegExp(`\\b${code}\\b`).test(text)));
  expect(without).toEqual([]);
});
