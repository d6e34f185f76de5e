/** What a finished run's bucket tells of itself, by the command line and without a coordinator: why labels were kept, a model's lineage, and the model made again. Needs dist/. */
import { createHash } from 'node:crypto';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { SampleExplained } from '../../proto/told.ts';
import type { LineageStep } from '../../cli/lineage.ts';
import type { ModelReproduced } from '../../cli/reproduce.ts';
import { readLabels } from '../../dataset/index.ts';
import type { ObjectRef } from '../../proto/gen/alumnus/v1/task.ts';
import { readLabelTable, type LabelsWithProbabilities } from '../../worker/data/index.ts';
import { runCommand, type Ran } from '../harness/command.ts';
import { Cluster, useClusters } from '../harness/cluster.ts';
import { evidenceOf, labelsIn, selectResult, type Evidence } from '../harness/evidence.ts';
import { patternsHome, patternsRecipe } from '../harness/patterns.ts';

const RUN = 'patterns-explained';
/** Some classes have more labels than that, some fewer. */
const BUDGET = 140;
const THRESHOLD = 0.4;
const CLASSES = 4;

useClusters();
let template: Awaited<ReturnType<typeof patternsHome>>;
let cluster: Cluster;
let evidence: Evidence;
/** What the command line may write to beside its output. */
let temporary: string;

beforeAll(async () => {
  template = await patternsHome();
  temporary = await mkdtemp(join(tmpdir(), 'alumnus-explained-'));
  cluster = await Cluster.create({ template: template.home });
  await cluster.start();
  await cluster.submit(patternsRecipe({ rounds: 2 }).replace('labels: { batch_size: 50 }', `labels: { batch_size: 50, threshold: ${THRESHOLD}, budget_per_class: ${BUDGET}, drift: true }\nguards: { class_share_least: 0 }`), RUN);
  await cluster.settled(RUN, 'succeeded');
  await cluster.stop();
  evidence = await evidenceOf(cluster.home, RUN);
  cluster.keep();
});
afterAll(async () => {
  await cluster.remove();
  await template.remove();
  await rm(temporary, { recursive: true, force: true });
});

const alumnus = (home: string, ...args: string[]): Promise<Ran> => runCommand([...args, '--home', home], { HOME: temporary, TMPDIR: temporary });

const json = async <Told>(...args: string[]): Promise<Told & { readonly kind: string }> => {
  const { code, out, err } = await alumnus(cluster.home, ...args, '-o', 'json');
  expect(code, err).toBe(0);
  return JSON.parse(out) as Told & { kind: string };
};

interface Row {
  readonly key: string;
  readonly shard: string;
  readonly label: number;
  readonly logOdds: number;
  readonly probabilities: readonly number[];
}

/** Every label of an iteration, as its tables have it. */
async function rowsOf(iteration: number): Promise<Row[]> {
  const rows: Row[] = [];
  for (const [shard, ref] of labelsIn(evidence, iteration)) {
    const table: LabelsWithProbabilities = await readLabelTable(await evidence.store.get(ref), ref.key);
    table.keys.forEach((key, row) => rows.push({ key, shard, label: table.classes[row] ?? -1, logOdds: table.logOdds[row] ?? NaN, probabilities: Array.from(table.logProbabilities[row] ?? [], Math.exp) }));
  }
  return rows;
}

/** The rule of docs/recipe.md done by hand: all labels sorted, copies handed out one by one. Independent of the code that selects. */
function byHand(rows: readonly Row[], seed: number): Map<string, { copies: number; rank: number }> {
  const least = Math.fround(Math.log(THRESHOLD) - Math.log1p(-THRESHOLD));
  const hash = (key: string): string => createHash('sha256').update(`${seed}/${key}`).digest('hex');
  const result = new Map<string, { copies: number; rank: number }>();
  for (let at = 0; at < CLASSES; at += 1) {
    const ranked = rows.filter((row) => row.label === at && row.logOdds >= least).sort((a, b) => (a.logOdds === b.logOdds ? (hash(a.key) < hash(b.key) ? -1 : 1) : b.logOdds - a.logOdds));
    ranked.forEach(({ key }, rank) => result.set(key, { copies: Math.min(10, Math.floor(BUDGET / ranked.length) + (rank < BUDGET % ranked.length ? 1 : 0)), rank }));
  }
  return result;
}

const seedOf = async (iteration: number): Promise<number> => {
  const ref = selectResult(evidence, iteration)?.selection;
  return (JSON.parse(Buffer.from(await evidence.store.get(ref!)).toString('utf8')) as { policy: { seed: number } }).policy.seed;
};

test('labels of two teachers are compared, class by class and shard by shard', async () => {
  const [first, second] = [await rowsOf(1), await rowsOf(2)];
  const told = selectResult(evidence, 2)?.drift;
  const before = new Map(first.map((row) => [row.key, row]));
  const flipped = second.filter((row) => before.get(row.key)?.label !== row.label);
  const mean = (rows: readonly Row[]): number => rows.reduce((sum, { logOdds }) => sum + 1 / (1 + Math.exp(-logOdds)), 0) / rows.length;
  expect(selectResult(evidence, 1)?.drift).toBeUndefined();
  expect(told).toMatchObject({ samples: 600, flips: flipped.length, confidenceBefore: expect.closeTo(mean(first), 12) as number, confidenceAfter: expect.closeTo(mean(second), 12) as number });
  expect(flipped.length).toBeGreaterThan(0);
  const document = JSON.parse(Buffer.from(await evidence.store.get(told!.drift!)).toString('utf8')) as { classes: { from: number; to: number; samples: number }[]; shards: { shard: string; flips: number }[] };
  for (const { from, to, samples } of document.classes) expect(samples).toBe(flipped.filter((row) => row.label === to && before.get(row.key)?.label === from).length);
  expect(document.classes.reduce((sum, { samples }) => sum + samples, 0)).toBe(flipped.length);
  for (const { shard, flips } of document.shards) expect(flips).toBe(flipped.filter((row) => row.shard === shard).length);
});

describe('explain sample', () => {
  test('gives the label, the number of copies and the reason that the tables and the rule give by hand', async () => {
    const [first, second] = [await rowsOf(1), await rowsOf(2)];
    const expected = [byHand(first, await seedOf(1)), byHand(second, await seedOf(2))] as const;
    const truth = await readLabels(evidence.store, evidence.data.truth!);
    const names = evidence.data.classNames;
    // One of each kind by the first iteration, as far as the run has it; what is there is told below.
    const kinds = new Map<string, Row>();
    for (const row of first) {
      const told = expected[0].get(row.key);
      const kind = told === undefined ? 'below' : told.copies === 0 ? 'cut' : told.copies === 1 ? 'once' : 'repeated';
      if (!kinds.has(kind)) kinds.set(kind, row);
    }
    expect([...kinds.keys()].sort()).toEqual(['below', 'cut', 'once', 'repeated']);
    for (const [kind, row] of kinds) {
      const sample = await json<SampleExplained>('explain', 'sample', row.key, '--run', RUN);
      expect(sample).toMatchObject({ kind: 'SampleExplanation', run: RUN, key: row.key, shard: row.shard, truth: { class: truth.classes[truth.keys.indexOf(row.key)] } });
      expect(sample.origin).toMatch(/^train-labels\[\d+\]$/);
      expect(sample.iterations.map((each) => each.iteration)).toEqual([1, 2]);
      for (const [at, rows] of [first, second].entries()) {
        const told = sample.iterations[at]!;
        const own = rows.find(({ key }) => key === row.key)!;
        const rule = expected[at]?.get(row.key);
        expect(told.label, kind).toMatchObject({ class: own.label, name: names[own.label], logOdds: own.logOdds });
        expect(told.label?.probabilities.map((each) => each.probability)).toEqual([...own.probabilities].sort((a, b) => b - a));
        expect(told.copies, `${kind} in iteration ${at + 1}`).toBe(rule?.copies ?? 0);
        expect(told.threshold?.confidence).toBe(THRESHOLD);
        expect(told.reason.kind === 'below-threshold').toBe(rule === undefined);
        if (rule === undefined) continue;
        expect(told.ranking?.rankFrom).toBeLessThanOrEqual(rule.rank);
        expect(told.ranking?.rankTo).toBeGreaterThanOrEqual(rule.rank);
        expect(told.ranking?.budget).toBe(BUDGET);
        expect(told.ranking?.eligible).toBe([...(expected[at] ?? [])].filter(([key]) => rows.find((each) => each.key === key)?.label === own.label).length);
      }
    }
  });

  test('a key may be abbreviated, and says in words what became of it', async () => {
    const [row] = (await rowsOf(1)).filter(({ key }, _, all) => all.filter((each) => each.key.startsWith(key.slice(0, 10))).length === 1);
    const { code, out, err } = await alumnus(cluster.home, 'explain', 'sample', row!.key.slice(0, 10), '--run', RUN);
    expect(code, err).toBe(0);
    expect(out).toContain(row!.key);
    expect(out).toContain('no teacher, student or selection was given it');
    expect(out).toMatch(/^Iteration 1: (kept|dropped)/m);
    expect(out).toMatch(/^ {2}Why +\S/m);
  });

  test('an unknown run, an unknown sample, several that begin so, and a labeled image are told apart', async () => {
    const labeled = (await readLabels(evidence.store, evidence.data.labeled!.labels!)).keys[0]!;
    const wrong: [string[], number, RegExp][] = [
      [['0123', '--run', 'nobody'], 3, /RUN_NOT_FOUND/],
      [['zz', '--run', RUN], 3, /SAMPLE_NOT_FOUND/],
      [['a', '--run', RUN], 2, /samples begin so/],
      [[labeled, '--run', RUN], 3, /is labeled: its own label taught every model/],
    ];
    for (const [args, code, sentence] of wrong) {
      const ran = await alumnus(cluster.home, 'explain', 'sample', ...args);
      expect(ran.err).toMatch(sentence);
      expect(ran).toMatchObject({ code, out: '' });
    }
  });
});

/** The models that the journal has, by iteration: what the bucket's manifests are to say, too. */
const trainedIn = (iteration: number): ObjectRef => {
  const found = evidence.completions.find((each) => each.result.$case === 'train' && each.iteration === iteration && each.subject === 'student');
  if (found?.result.$case !== 'train' || found.result.value.model === undefined) throw new Error(`iteration ${iteration} trained a model`);
  return found.result.value.model;
};

describe('model lineage', () => {
  test('leads from a model to its first teacher, each step by digest, as the journal has it', async () => {
    const promotedBefore = (iteration: number): number => {
      for (const { fact } of [...evidence.events].reverse()) if (fact?.$case === 'studentPromoted' && fact.value.iteration < iteration) return fact.value.iteration;
      throw new Error('iteration 0 is promoted');
    };
    const told = await json<LineageStep>('model', 'lineage', `${RUN}/2`);
    expect(told.kind).toBe('Lineage');
    let step: LineageStep = told;
    for (let iteration = 2; ; iteration = promotedBefore(iteration)) {
      const model = trainedIn(iteration);
      const document = JSON.parse(Buffer.from(await evidence.store.get(model)).toString('utf8')) as { weights: ObjectRef; lineage: { task: string; training: unknown } };
      expect(step).toMatchObject({ run: RUN, iteration, role: iteration === 0 ? 'first-teacher' : 'student', model: { sha256: model.sha256 }, weights: document.weights.sha256, task: document.lineage.task, labeled: { images: 40, manifest: evidence.data.labeled?.manifestSha256 } });
      expect(step.training).toMatch(/^[0-9a-f]{64}$/);
      expect(step.selection?.sha256).toBe(iteration === 0 ? undefined : selectResult(evidence, iteration)?.selection?.sha256);
      expect(step.evaluation?.validation?.total).toBe(100);
      if (iteration === 0) break;
      step = step.teacher!;
    }
    expect(step.teacher).toBeUndefined();
  });

  test('a model is found by its digest, by that of its weights, and by the beginning of either, in all runs', async () => {
    const model = trainedIn(1);
    const { weights } = JSON.parse(Buffer.from(await evidence.store.get(model)).toString('utf8')) as { weights: ObjectRef };
    for (const named of [model.sha256, weights.sha256.slice(0, 16)]) expect((await json<LineageStep>('model', 'lineage', named)).model.sha256, named).toBe(model.sha256);
    const { out, code } = await alumnus(cluster.home, 'model', 'lineage', model.sha256.slice(0, 16), '--run', RUN);
    expect(code).toBe(0);
    expect(out).toContain('└ labels by iteration 0: first teacher, trained on the labeled images, promoted');
    const missing = await alumnus(cluster.home, 'model', 'lineage', 'f'.repeat(64));
    expect(missing).toMatchObject({ code: 3, out: '' });
    expect(missing.err).toContain('[MODEL_NOT_FOUND]');
  });
});

/** Every file below a folder with its size and time of writing. */
async function filesBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name)).sort();
  return Promise.all(files.map(async (file) => `${file} ${(await stat(file)).size} ${(await stat(file)).mtimeMs}`));
}

describe('model reproduce', () => {
  test('makes labels, selection and weights again to the bit, writes nothing to the store and leaves nothing behind', async () => {
    const before = await filesBelow(join(cluster.home, 'store'));
    const again = await json<ModelReproduced>('model', 'reproduce', `${RUN}/2`, '--labels', '--weights');
    expect(again.parts).toEqual([
      expect.objectContaining({ part: 'labels', verdict: 'same', tasks: 12 }), expect.objectContaining({ part: 'selection', verdict: 'same', tasks: 1 }), expect.objectContaining({ part: 'weights', verdict: 'same', tasks: 1 }),
    ]);
    const [training] = again.tasks.filter((each) => each.kind === 'train');
    expect(training?.outputs).toEqual([{ name: 'model', accepted: trainedIn(2).sha256, again: trainedIn(2).sha256 }]);
    // What it was trained on stands in the record of the worker that did it.
    expect(training?.machine).toMatchObject({ platform: `${process.platform}/${process.arch}`, threads: again.machine?.threads });
    expect(await filesBelow(join(cluster.home, 'store'))).toEqual(before);
    expect((await readdir(temporary)).filter((name) => name.startsWith('alumnus-'))).toEqual([]);
  });

  test('without flags the selection alone is checked, and what the rest would take is told', async () => {
    const { code, out, err } = await alumnus(cluster.home, 'model', 'reproduce', trainedIn(1).sha256.slice(0, 20), '--run', RUN);
    expect(code, err).toBe(0);
    expect(out).toMatch(/^Selection +the same digests, of 1 task$/m);
    expect(out).toMatch(/^Weights +not checked: --weights does it, training again takes about \d+ s/m);
    expect((await json<ModelReproduced>('model', 'reproduce', `${RUN}/0`)).parts.map((each) => each.verdict)).toEqual(['absent', 'absent', 'unchecked']);
  });

  test('a label table whose bytes changed fails it, by name', async () => {
    const home = await mkdtemp(join(tmpdir(), 'alumnus-damaged-'));
    try {
      await mkdir(join(home, 'store'));
      await cp(join(cluster.home, 'store'), join(home, 'store'), { recursive: true });
      const [ref] = [...labelsIn(evidence, 1).values()].slice(3);
      const file = join(home, 'store/objects', ref!.key);
      const bytes = await readFile(file);
      bytes[200] = (bytes[200] ?? 0) ^ 1;
      await rm(file);
      await writeFile(file, bytes);
      const ran = await alumnus(home, 'model', 'reproduce', `${RUN}/1`);
      expect(ran.code).toBe(7);
      expect(ran.out).toMatch(/^Selection +could not be made again$/m);
      expect(ran.out).toContain(ref!.key);
      expect(ran.out).toContain('[DIGEST_MISMATCH]');
    } finally {
      await rm(home, { recursive: true, force: true });
    }
  });
});
