/**
 * One demo a seed, each in a home of its own, from the CLI as a user would type it; then the figures side by side. A seed
 * draws the labeled images and everything random in the run. Not for: choosing a recipe; the test split only reports.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

interface Score {
  readonly correct: number;
  readonly total: number;
  /** Expected calibration error, 0 to 1. */
  readonly calibrationError: number;
}

export interface Model {
  readonly label: string;
  readonly parameters: number;
  readonly test?: Score;
  readonly validation?: Score;
  /** Images on which it says what its teacher says. */
  readonly teacherAgreement?: { readonly test?: { readonly same: number; readonly total: number } };
  readonly robustness?: { readonly test?: { readonly meanCorruptionError?: number; readonly meanFlipRate?: number } };
  /** Of a model that has two, each by itself. */
  readonly heads?: { readonly scores: readonly { readonly head: string; readonly validation?: Score; readonly test?: Score }[] };
  readonly model?: { readonly key: string; readonly sha256: string; readonly bytes: number };
  readonly images: number;
}

export interface Described {
  readonly fineTunedTeaches?: boolean;
  readonly iterations: readonly { readonly iteration: number; readonly decision: string; readonly model: Model; readonly fineTuned?: Model; readonly audit?: { readonly keptRight: number; readonly kept: number } }[];
  readonly control?: Model;
  readonly comparisons: readonly { readonly name: string; readonly what: string; readonly model?: Model }[];
  readonly compression?: {
    readonly models: readonly { readonly name: string; readonly measured?: { readonly weights: readonly { readonly weights: string; readonly bytes: Readonly<Record<string, number>> }[] }; readonly kept: readonly { readonly weights: string; readonly test?: number; readonly corruptedTest?: number; readonly within: boolean }[] }[];
    readonly chosen?: { readonly name: string; readonly weights: string };
  };
  readonly bestIteration: number;
  readonly summary: { readonly state: string; readonly rounds: number; readonly submittedAt: string; readonly endedAt: string };
}

const cli = fileURLToPath(new URL('../../../cli/main.js', import.meta.url));
export const percent = (score: Pick<Score, 'correct' | 'total'> | undefined): number => (score === undefined || score.total === 0 ? NaN : (100 * score.correct) / score.total);
export const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
const print = (line: string): void => void process.stdout.write(`${line}\n`);

export async function alumnus(args: readonly string[], show: boolean): Promise<string> {
  const child = spawn(process.execPath, [cli, ...args], { stdio: ['ignore', 'pipe', show ? 'inherit' : 'ignore'] });
  let out = '';
  child.stdout.on('data', (data: Buffer) => (out += data.toString()));
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`alumnus ${args.join(' ')} ended with ${code ?? 'a signal'}\n${out}`);
  return out;
}

/** Reads the newest run of a home, which has ended, through the operator API, as any program would. */
export async function describe(home: string, known: ReadonlySet<string>): Promise<Described & { runId: string }> {
  const coordinator: ChildProcess = spawn(process.execPath, [cli, 'coordinator', '--home', home, '--listen', '127.0.0.1:0'], { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    let text = '';
    const address = await new Promise<string>((resolve, reject) => {
      coordinator.stdout?.on('data', (data: Buffer) => {
        text += data.toString();
        const found = /127\.0\.0\.1:\d+/.exec(text);
        if (found !== null) resolve(found[0]);
      });
      coordinator.once('close', () => reject(new Error(`the coordinator ended: ${text}`)));
    });
    const listed = (await alumnus(['run', 'list', '-o', 'name', '--address', address], false)).trim().split('\n');
    const runId = listed.find((each) => !known.has(each)) ?? '';
    return { ...(JSON.parse(await alumnus(['run', 'describe', runId, '-o', 'json', '--address', address], false)) as Described), runId };
  } finally {
    coordinator.kill('SIGTERM');
  }
}

export interface Outcome {
  readonly seed: number;
  readonly seconds: number;
  readonly run: Described & { readonly runId: string };
  /** What the demo printed. */
  readonly shown: string;
}

/** One demo from start to end. @param known runs that this home has from before. */
export async function runOnce(data: 'mnist' | 'fashion-mnist', { seed, home, threads, recipe, known = new Set() }: { seed: number; home: string; threads?: string; recipe?: string; known?: ReadonlySet<string> }): Promise<Outcome> {
  const extra = [...(threads === undefined ? [] : ['--threads', threads]), ...(recipe === undefined ? [] : ['--recipe', recipe])];
  const startMs = performance.now();
  const shown = await alumnus(['demo', '--data', data, '--seed', String(seed), '--home', home, ...extra], true);
  const seconds = (performance.now() - startMs) / 1000;
  return { seed, seconds, shown, run: await describe(home, known) };
}

/** Of the model that was gated, where there are two. */
function testOf(run: Described, at: number): number {
  const last = run.iterations.filter((each) => each.iteration === at).at(-1);
  return percent((run.fineTunedTeaches === true ? last?.fineTuned : last?.model)?.test);
}

/** Test accuracy in percent of each iteration's last try, promoted or not. */
export const accuracies = (run: Described): number[] => Array.from({ length: (run.iterations.at(-1)?.iteration ?? 0) + 1 }, (_, at) => testOf(run, at));

/** @param args `--seeds 1,2,3`, `--threads N` and `--recipe FILE`. */
export async function compareSeeds(data: 'mnist' | 'fashion-mnist', args: string[]): Promise<void> {
  const { values } = parseArgs({ args, options: { seeds: { type: 'string', default: '1,2,3' }, threads: { type: 'string' }, recipe: { type: 'string' } } });
  const seeds = values.seeds.split(',').map(Number);
  const rows: Outcome[] = [];
  for (const seed of seeds) {
    const home = await mkdtemp(join(tmpdir(), 'alumnus-results-'));
    try {
      const outcome = await runOnce(data, { seed, home, ...(values.threads === undefined ? {} : { threads: values.threads }), ...(values.recipe === undefined ? {} : { recipe: values.recipe }) });
      print(`\n## Seed ${seed}\n\n${outcome.shown}`);
      rows.push(outcome);
    } finally {
      await rm(home, { recursive: true, force: true });
    }
  }
  const rounds = Math.max(...rows.map(({ run }) => run.iterations.at(-1)?.iteration ?? 0));
  const iterations = Array.from({ length: rounds + 1 }, (_, at) => at);
  const best = rows.map(({ run }) => testOf(run, run.bestIteration));
  const controls = rows.map(({ run }) => percent(run.control?.test));
  const cell = (value: number): string => value.toFixed(2);
  print(`\n## ${data}: test accuracy in percent, ${availableParallelism()} cores (${cpus()[0]?.model ?? 'unknown'})\n`);
  print(`| seed | ${iterations.map((at) => `iteration ${at}`).join(' | ')} | best by validation | control | best - control | seconds, import included |`);
  print(`|---|${'---|'.repeat(iterations.length + 4)}`);
  rows.forEach(({ seed, seconds, run }, at) => print(`| ${seed} | ${iterations.map((each) => cell(testOf(run, each))).join(' | ')} | ${cell(best[at] ?? NaN)} | ${cell(controls[at] ?? NaN)} | ${cell((best[at] ?? NaN) - (controls[at] ?? NaN))} | ${seconds.toFixed(0)} |`));
  print(`| mean | ${iterations.map((each) => cell(mean(rows.map(({ run }) => testOf(run, each))))).join(' | ')} | ${cell(mean(best))} | ${cell(mean(controls))} | ${cell(mean(best) - mean(controls))} | ${mean(rows.map(({ seconds }) => seconds)).toFixed(0)} |`);
}
