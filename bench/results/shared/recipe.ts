/**
 * A ready recipe as a user would run it, one demo a seed, each in a home of its own; then every model that its runs trained side by side.
 * A seed draws the labeled images and everything random in the run. Not for: choosing a recipe; the test split only reports.
 */
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { AlumnusError } from '../../../proto/errors.ts';
import { alumnus, describe, mean, percent, type Described, type Model } from './seeds.ts';

interface Named {
  readonly name: string;
  readonly what: string;
  readonly model: Model | undefined;
}

export interface Ran {
  readonly seed: number;
  readonly run: Described & { readonly runId: string };
}

export const print = (line: string): void => void process.stdout.write(`${line}\n`);
export const figure = (value: number, digits = 2): string => (Number.isNaN(value) ? '' : value.toFixed(digits));

/** Of each iteration the last try, promoted or not; then the control; then the recipe's comparisons in its order. */
export function modelsOf({ iterations, control, comparisons, summary: { rounds } }: Described): Named[] {
  const last = iterations.at(-1)?.iteration ?? 0;
  return [
    ...Array.from({ length: last + 1 }, (_, at) => ({
      name: at === 0 ? 'teacher' : rounds === 1 ? 'student' : `student ${at}`, what: at === 0 ? 'iteration 0' : `iteration ${at}`, model: iterations.filter(({ iteration }) => iteration === at).at(-1)?.model,
    })),
    ...(control === undefined ? [] : [{ name: 'control', what: 'the labeled images alone', model: control }]),
    ...comparisons.map(({ name, what, model }) => ({ name, what, model })),
  ];
}

/** What is told of a model of one run; NaN where there is none. */
type Figure = (model: Model | undefined, ran: Ran) => number;

interface Column {
  readonly head: string;
  readonly of: Figure;
  readonly digits: number;
}

const agreement: Figure = (model) => percent(model?.teacherAgreement?.test && { correct: model.teacherAgreement.test.same, total: model.teacherAgreement.test.total });

/** Means over the seeds, each a column where any model has it. */
const columns: readonly Column[] = [
  { head: 'validation', of: (model) => percent(model?.validation), digits: 2 },
  { head: 'of the control\'s errors, gone', of: (model, { run }) => (model === run.control ? NaN : 100 * (1 - (100 - percent(model?.test)) / (100 - percent(run.control?.test)))), digits: 1 },
  { head: 'agrees with the teacher', of: agreement, digits: 2 },
  { head: 'ECE', of: (model) => 100 * (model?.test?.calibrationError ?? NaN), digits: 2 },
  { head: 'mCE', of: (model) => 100 * (model?.robustness?.test?.meanCorruptionError ?? NaN), digits: 1 },
  { head: 'mFR', of: (model) => 100 * (model?.robustness?.test?.meanFlipRate ?? NaN), digits: 1 },
];

/** By name, in the order of the run that has most: a run that ended early lacks the last students, and what trains beside the last. */
export function rowsOf(runs: readonly Ran[]): readonly Named[] {
  return runs.map(({ run }) => modelsOf(run)).reduce((most, models) => (models.length > most.length ? models : most), []);
}

const modelCalled = (name: string, { run }: Ran): Model | undefined => modelsOf(run).find((each) => each.name === name)?.model;

/**
 * Rows of markdown: of each model its test accuracy by seed, and what else is told, as means, all in percent. Where a run ended early, means are once more over those that did not:
 * what two rows have of different seeds cannot be compared.
 */
function printModels(all: readonly Ran[]): void {
  printRows(all);
  const whole = all.filter((ran) => rowsOf(all).every(({ name }) => modelCalled(name, ran)?.test !== undefined));
  if (whole.length === 0 || whole.length === all.length) return;
  print(`\nThe same of ${whole.length === 1 ? 'the one run that has' : `the ${whole.length} runs that have`} all models (seeds ${whole.map(({ seed }) => seed).join(', ')}):\n`);
  printRows(whole);
}

function printRows(runs: readonly Ran[]): void {
  const rows = rowsOf(runs).map(({ name, what }) => {
    const has = runs.filter((ran) => modelCalled(name, ran)?.test !== undefined);
    const meanOf = (of: Figure): number => mean(has.map((ran) => of(modelCalled(name, ran), ran)));
    return { name, what, parameters: has.map((ran) => modelCalled(name, ran)?.parameters ?? NaN)[0] ?? NaN, test: runs.map((ran) => percent(modelCalled(name, ran)?.test)), mean: meanOf((model) => percent(model?.test)), of: has.length, means: columns.map(({ of }) => meanOf(of)) };
  });
  const told = columns.map((_, at) => rows.some(({ means }) => !Number.isNaN(means[at])));
  const only = (cells: readonly string[]): readonly string[] => cells.filter((_, at) => told[at]);
  const line = (cells: readonly string[]): void => print(`| ${cells.join(' | ')} |`);
  line(['model', 'what', 'parameters', ...runs.map(({ seed }) => `test, seed ${seed}`), 'mean', ...only(columns.map(({ head }) => head))]);
  print(`|${'---|'.repeat(4 + runs.length + told.filter(Boolean).length)}`);
  for (const { name, what, parameters, test, mean: average, of, means } of rows) {
    line([name, what, parameters.toLocaleString('en-US'), ...test.map((value) => figure(value)), `${figure(average)}${of < runs.length ? ` (of ${of})` : ''}`, ...only(columns.map(({ digits }, at) => figure(means[at]!, digits)))]);
  }
}

/** @param more what else its runs are worth, below the table of models @param args `--seeds 1,2,3`, `--workers N`, `--threads N`, and `--keep FOLDER` for homes and reports that stay: what was interrupted there goes on, what has ended is taken as it is. */
export async function runRecipe(name: string, args: string[], more: (runs: readonly Ran[]) => void = () => undefined): Promise<void> {
  const { values } = parseArgs({ args, options: { seeds: { type: 'string', default: '1,2,3' }, workers: { type: 'string' }, threads: { type: 'string' }, keep: { type: 'string' } } });
  const seeds = values.seeds.split(',').map(Number);
  if (!seeds.every((seed) => Number.isInteger(seed) && seed >= 0)) throw new AlumnusError('USAGE', 'is whole numbers with commas between them', { where: '--seeds' });
  const folder = values.keep ?? await mkdtemp(join(tmpdir(), `alumnus-${name}-`));
  const flags = (['workers', 'threads'] as const).flatMap((flag) => (values[flag] === undefined ? [] : [`--${flag}`, values[flag]]));
  const runs: Ran[] = [];
  try {
    await mkdir(folder, { recursive: true });
    for (const seed of seeds) {
      const home = join(folder, `${name}-${seed}`);
      const before = existsSync(join(home, 'journal')) ? await describe(home, new Set()) : undefined;
      if (before?.summary.state === 'succeeded') {
        runs.push({ seed, run: before });
        continue;
      }
      print(`\n## Seed ${seed}\n\n${await alumnus(['demo', '--recipe', name, '--seed', String(seed), '--home', home, ...(values.keep === undefined ? [] : ['--out', join(folder, `${name}-${seed}.html`)]), ...flags], true)}`);
      runs.push({ seed, run: await describe(home, new Set()) });
    }
  } finally {
    if (values.keep === undefined) await rm(folder, { recursive: true, force: true });
  }
  print(`\n## ${name}: ${seeds.length} seeds, ${availableParallelism()} cores (${cpus()[0]?.model ?? 'unknown'})`);
  print('');
  printModels(runs);
  more(runs);
  print(`\nMinutes from submission to end: ${runs.map(({ run: { summary } }) => ((Date.parse(summary.endedAt) - Date.parse(summary.submittedAt)) / 60_000).toFixed(1)).join(', ')}.`);
}
