/** `alumnus demo`: the whole method, on real images, from nothing to a report; a coordinator and workers of its own. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Command } from 'commander';
import { AlumnusError, exitCode, toAlumnusError } from '../../proto/errors.ts';
import type { RunView } from '../../proto/gen/alumnus/v1/operator.ts';
import type { Operator } from '../client.ts';
import { action, declare, wholeNumber } from '../command.ts';
import type { Context } from '../context.ts';
import type { DemoPlan } from '../demo/plan.ts';
import { homeFolder, storeFolder } from '../home.ts';
import { readText } from '../read-text.ts';
import { threadsEach } from './worker.ts';

interface Flags {
  data?: string;
  seed?: number;
  workers: number;
  threads?: number;
  home?: string;
  keep?: true;
  recipe?: string;
  fast?: true;
  corruptedImages?: number;
  out?: string;
  verbose?: true;
}

export function addDemo(program: Command, context: Context): void {
  const command = declare(program, 'demo', {
    summary: 'Run Noisy Student on real images, from nothing to a report',
    description: 'Imports the images when they are not there yet, starts a coordinator and workers of its own, runs the recipe, prints what came out and writes a report; the report\'s path is printed last. Interrupted, the same command goes on where it stopped.',
    examples: ['alumnus demo', 'alumnus demo --data fashion-mnist --seed 2', 'alumnus demo --recipe noisy-student', 'alumnus demo --recipe mine.yaml --keep'],
  }).option('--data <name>', 'mnist (100 labels) or fashion-mnist (500 labels)')
    .option('--seed <n>', 'draws the labeled images, and everything random in the run', wholeNumber(0, 2 ** 31 - 1))
    .option('--workers <n>', 'how many, one process each', wholeNumber(1, 64), 2)
    .option('--threads <n>', 'computing threads of each worker (all cores, shared evenly)', wholeNumber(1, 512))
    .option('--home <folder>', 'where everything is kept (demo in the home folder)')
    .option('--recipe <name-or-file>', 'run another ready recipe (`alumnus recipe init --help` names them), or one of your own')
    .option('--corrupted-images <n>', 'of validation and of test, where the recipe measures on corrupted ones; 0: all of them (1000)', wholeNumber(0))
    .option('--fast', 'a trial with a tenth of the steps; its accuracy says nothing')
    .option('--keep', 'leave the coordinator and the workers running afterwards')
    .option('--out <file>', 'where the report goes (reports in the home folder)')
    .option('-v, --verbose', 'tell when each part was ready');
  action(command, context, async (flags: Flags) => {
    const release = context.hold();
    try {
      return await demo(context, flags);
    } finally {
      release();
    }
  });
}

async function demo(context: Context, flags: Flags): Promise<number> {
  // From the start of the process: what the user waits for.
  const tell = (what: string): void => {
    if (flags.verbose) context.note(`${what} after ${(performance.now() / 1000).toFixed(1)} s`);
  };
  const home = flags.home === undefined ? join(homeFolder(context.env), 'demo') : homeFolder(context.env, flags.home);
  await mkdir(home, { recursive: true }).catch((thrown: unknown) => {
    throw toAlumnusError(thrown, home);
  });
  const { endLeftovers } = await import('../demo/leftovers.ts');
  const { Fleet } = await import('../demo/fleet.ts');
  await endLeftovers(home, (line) => context.note(line));
  // The processes start while the recipe, the schema and the data are looked at.
  const starting = Fleet.startReady({
    home, workers: flags.workers, threads: flags.threads ?? threadsEach(flags.workers), env: context.env, note: (line) => context.note(line),
  });
  starting.catch(() => undefined);
  let view: RunView | undefined;
  let kept = false;
  try {
    const plan = await prepare(context, flags, home);
    tell('data ready');
    const fleet = await starting;
    tell('coordinator ready');
    context.note(`While it runs, other commands reach it with --address ${fleet.address}.`);
    const { connect } = await import('../client.ts');
    const operator = connect({ address: fleet.address });
    try {
      const lost = new AbortController();
      fleet.failed.catch(() => lost.abort());
      view = await follow(context, operator, plan, AbortSignal.any([context.signal, lost.signal]), tell);
      if (lost.signal.aborted) await fleet.failed;
    } finally {
      operator.close();
    }
    if (flags.keep && !context.signal.aborted) {
      kept = true;
      fleet.leave();
      context.note(`Left running at ${fleet.address}, processes ${fleet.processIds.join(', ')}. Next:\n  alumnus run list --address ${fleet.address}\n  kill ${fleet.processIds.join(' ')}`);
    }
  } finally {
    if (!kept) {
      const fleet = await starting.catch(() => undefined);
      await fleet?.stop();
    }
  }
  return conclude(context, flags, home, view);
}

const TRIAL = 'a trial with a tenth of the steps: its figures say nothing about the method';

/** The plan, its dataset imported, and corrupted where the recipe asks for that. */
async function prepare(context: Context, flags: Flags, home: string): Promise<DemoPlan> {
  const [{ planDemo, DEMO_VALIDATION }, { ensureCorrupted, ensureDataset }, { readyRecipe }] = await Promise.all([import('../demo/plan.ts'), import('../demo/data.ts'), import('../../recipe/index.ts')]);
  const plan = planDemo({
    ...(flags.data === undefined ? {} : { data: flags.data }), ...(flags.seed === undefined ? {} : { seed: flags.seed }), ...(flags.fast ? { fast: true } : {}),
    ...(flags.corruptedImages === undefined ? {} : { corruptedImages: flags.corruptedImages }),
    ...(flags.recipe === undefined ? {} : { recipe: { text: readyRecipe(flags.recipe) ?? await readText(flags.recipe), file: flags.recipe } }),
  });
  if (plan.dataset !== undefined) {
    const { source, name, labeledPerClass, seed } = plan.dataset;
    const store = pathToFileURL(storeFolder(home)).href;
    await ensureDataset(context, store, { source, name, labeledPerClass, validation: DEMO_VALIDATION, seed });
    if (plan.corrupted !== undefined) await ensureCorrupted(context, store, name, plan.corrupted);
  }
  return plan;
}

/** Goes on with an unfinished run of the same recipe, or submits one; then watches it. */
async function follow(context: Context, operator: Operator, plan: DemoPlan, signal: AbortSignal, tell: (what: string) => void): Promise<RunView | undefined> {
  const [{ isSameRecipe }, { watchRun }] = await Promise.all([import('../demo/plan.ts'), import('../progress/watch.ts')]);
  const { runs } = await operator.runs();
  const open = runs.filter((run) => run.state === 'running' || run.state === 'paused');
  let runId: string | undefined;
  for (const run of open) {
    const found = await operator.run(run.runId);
    if (!isSameRecipe(plan.recipe, found.recipeJson)) {
      context.note(`Run ${run.runId} of this home is unfinished too and shares the workers.`);
      continue;
    }
    runId ??= run.runId;
    if (runId === run.runId) context.note(`Going on with run ${runId}, which was interrupted.`);
    if (run.state === 'paused') await operator.resume(run.runId, '');
  }
  runId ??= (await operator.submit(plan.recipeText, '')).runId;
  tell('run submitted');
  let started = false;
  return watchRun(context, {
    operator, runId, signal,
    onView: (view) => {
      if (!started && view.tasks.some((task) => task.state === 'leased')) {
        started = true;
        tell('first task started');
      }
      // Nobody else is there to resume it.
      return view.summary?.state === 'paused';
    },
  });
}

async function conclude(context: Context, flags: Flags, home: string, view: RunView | undefined): Promise<number> {
  if (context.signal.aborted) {
    context.note('Interrupted. The same command goes on where it stopped.');
    return exitCode.interrupted;
  }
  if (view === undefined) throw new AlumnusError('INTERNAL', 'the run was never seen', { where: home });
  const [{ codeOf }, { summaryText }, { writeReport }, { withShownAgreement }] = await Promise.all([import('../progress/watch.ts'), import('../summary.ts'), import('../report/write.ts'), import('../agreement.ts')]);
  // Said with the figures, wherever they go.
  const told: RunView = flags.fast ? { ...view, warnings: [...view.warnings, TRIAL] } : view;
  context.print(summaryText((await withShownAgreement(told)).view, context.out.columns));
  if (view.summary?.state === 'paused') context.note('The demo stops here. The same command resumes the run once the cause is gone.');
  await writeReport(context, told, { out: flags.out ?? join(home, 'reports', `${view.summary?.runId ?? 'run'}.html`) });
  if (!flags.keep) context.note(`Its coordinator has ended. To ask of the run again: \`alumnus coordinator --home ${home}\`, and beside it \`alumnus run describe ${view.summary?.runId ?? ''}\`.`);
  return view.summary?.state === 'paused' ? exitCode.runFailed : codeOf(view);
}
