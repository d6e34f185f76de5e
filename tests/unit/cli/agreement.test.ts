/** Agreement with the teacher: counted from the predictions that evaluations keep, of the same images only. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { agreementOf, withAgreement, withShownAgreement } from '../../../cli/agreement.ts';
import type { RunView } from '../../../proto/gen/alumnus/v1/operator.ts';
import type { ObjectRef } from '../../../proto/gen/alumnus/v1/task.ts';
import { openStore } from '../../../store/index.ts';
import { finishedRun, runWithComparisons } from './fixture.ts';

/** Little-endian, as DataView writes it: not by the code under test. */
function encoded(classes: readonly number[]): string {
  const view = new DataView(new ArrayBuffer(classes.length * 2));
  classes.forEach((value, row) => view.setUint16(row * 2, value, true));
  return Buffer.from(view.buffer).toString('base64');
}
const split = (keys: string, ...classes: number[]) => ({ keys, predictions: encoded(classes) });

describe('two models', () => {
  test('agree where they name the same class, right or wrong', () => {
    // Counted by hand: rows 0, 2 and 4. 258 and 2 share their low byte, 512 and 514 their high one.
    expect(agreementOf(split('k', 7, 258, 1, 512, 999), split('k', 7, 2, 1, 514, 999))).toEqual({ same: 3, total: 5 });
  });
  test('are not compared on images that are not the same', () => {
    expect(agreementOf(split('k', 1, 2), split('l', 1, 2))).toBeUndefined();
    expect(agreementOf(split('k', 1, 2), undefined)).toBeUndefined();
  });
});

describe('a view', () => {
  let folder: string;
  let url: string;
  let documents: Record<'first' | 'second' | 'third' | 'control' | 'truth', ObjectRef>;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'alumnus-agreement-'));
    url = pathToFileURL(folder).href;
    const store = await openStore(url);
    const put = (validation: number[], test?: number[]): Promise<ObjectRef> =>
      store.putAddressed('runs/x/y', Buffer.from(JSON.stringify({ schemaVersion: 1, model: 'm', validation: split('v', ...validation), ...(test === undefined ? {} : { test: split('t', ...test) }) })), { extension: '.json' });
    documents = {
      first: await put([0, 1, 2, 3], [0, 0]), second: await put([0, 1, 2, 4], [0, 1]), third: await put([0, 1, 9, 4], [1, 1]), control: await put([5, 5, 5, 5], [5, 1]), truth: await put([0, 1, 2, 4]),
    };
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  /** Iterations 0 to 2 of the fixture, the second taught by the first and the third by the second. */
  const evaluated = (): RunView => {
    const view = runWithComparisons();
    const [first, second, third] = view.iterations;
    return {
      ...view,
      iterations: [[first, documents.first], [second, documents.second], [third, documents.third]].map(([each, evaluation]) => ({ ...(each as NonNullable<typeof first>), model: { ...(each as NonNullable<typeof first>).model!, evaluation: evaluation as ObjectRef } })),
      control: { ...view.control!, evaluation: documents.control },
      comparisons: view.comparisons.slice(0, 1).map((each) => ({ ...each, model: { ...each.model!, evaluation: documents.truth } })),
    };
  };

  test('tells each student\'s with its own teacher, and that of what trained beside with the last one\'s', async () => {
    const { view, missing } = await withAgreement(evaluated(), url);
    expect(missing).toEqual([]);
    expect(view.iterations.map((each) => each.model?.teacherAgreement)).toEqual([
      undefined,
      { validation: { same: 3, total: 4 }, test: { same: 1, total: 2 } },
      { validation: { same: 3, total: 4 }, test: { same: 1, total: 2 } },
    ]);
    expect(view.control?.teacherAgreement).toEqual({ validation: { same: 0, total: 4 }, test: { same: 1, total: 2 } });
    expect(view.comparisons[0]?.model?.teacherAgreement).toEqual({ validation: { same: 4, total: 4 }, test: undefined });
  });
  test('whose predictions cannot be read is told as it is, and why', async () => {
    for (const store of [url, 'file:///nowhere/store']) {
      const { view, missing } = await withAgreement(finishedRun(), store);
      expect(view).toEqual(finishedRun());
      expect(missing).toHaveLength(1);
      expect(missing[0]).toMatch(/agreement with the teacher is left out/);
    }
  });
  test('is filled in for a terminal where the run compares or distills, and else asks for no store', async () => {
    expect(await withShownAgreement(finishedRun())).toEqual({ view: finishedRun(), missing: [] });
    expect((await withShownAgreement({ ...evaluated(), storeUrl: url })).view.control?.teacherAgreement?.validation).toEqual({ same: 0, total: 4 });
  });
  test('of a run without students asks for no store', async () => {
    const view = { ...finishedRun(), iterations: finishedRun().iterations.slice(0, 1) };
    expect(await withAgreement(view, 'file:///nowhere/store')).toEqual({ view, missing: [] });
  });
});
