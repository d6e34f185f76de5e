/** What an operator sees of a run: its facts and the scheduler's leases, put side by side. Reads only. */
import { toAlumnusError } from '../../proto/errors.ts';
import type { Gate, RunData } from '../../proto/gen/alumnus/v1/events.ts';
import type { Budget, ComparisonView, CompressedModel, CompressionView, GateWith, GetStatusResponse, IterationView, ModelView, RobustnessView, RunSummary, RunView, SharedTrainingView, TaskView, WorkerView } from '../../proto/gen/alumnus/v1/operator.ts';
import { Stage, type EvaluateResult, type CorruptedPart, type ImageSpec, type PartRef, type Task } from '../../proto/gen/alumnus/v1/task.ts';
import { subjects } from '../../proto/subjects.ts';
import { foreignTeacherName, isImported, modelOfIteration, modelOptions, type Comparison, type ModelChoice } from '../../recipe/index.ts';
import { PROJECT_DEFAULT } from '../access.ts';
import type { Leader } from '../leader.ts';
import type { Leading } from '../node.ts';
import { besideOf, besidesOf, besideState, candidateOf, chosenOf, comparedTeacher, compressionWarnings, currentIteration, decideGate, driftWarnings, earlierTeachers, fingerprintProgress, firstScores, hasFailed, isCancelling, isBeside, isEnded, isFineTuned, keptOf, labelTotal, mcnemarExact, measurementOf, modelsToMeasure, MS_PER_HOUR, nearDuplicatesView, nearDuplicateWarnings, openTrainings, precisionDrift, promotable, reviewWarnings, robustnessOn, roundsOf, roundSteps, sharingOf, teacherErrors, thresholdOf, wallMsSpent, type IterationState, type RunState, type Trained } from '../run/index.ts';
import type { WorkerState, LiveLease } from '../scheduler/index.ts';

export function statusView(leading: Leading, storeUrl: string, version: string): GetStatusResponse {
  const { journal, leaderAddress, trouble } = leading;
  const common = { version, storeUrl, journal: journal.description, sequence: journal.lastSequence, leaderAddress };
  try {
    const leader = leading.leader();
    return { ...common, role: 'leader', term: leader.term, workers: leader.scheduler.liveWorkers(leader.now()), notice: leader.notice };
  } catch (thrown) {
    if (toAlumnusError(thrown).code !== 'NOT_LEADER') throw thrown;
    return { ...common, role: 'standby', term: 0, workers: 0, notice: trouble };
  }
}

/** What an operator may ask of a run now; in the order in which they are offered. */
export function commandsOf(run: RunState): string[] {
  const cancelling = isCancelling(run);
  const open = !isEnded(run.phase);
  const may: [string, boolean][] = [
    ['pause', open && !cancelling && run.pausedBy !== 'operator'], ['resume', run.phase === 'paused' && !cancelling], ['retry', !cancelling && hasFailed(run)],
    ['promote', promotable(run).length > 0], ['rollback', earlierTeachers(run).length > 0], ['cancel', open && !cancelling], ['kill', open],
  ];
  return may.flatMap(([command, now]) => (now ? [command] : []));
}

export function summaryOf(leader: Leader, run: RunState): RunSummary {
  return {
    runId: run.runId, name: run.name, project: run.project === '' ? PROJECT_DEFAULT : run.project, state: isCancelling(run) ? 'cancelling' : run.phase, commands: commandsOf(run), reason: run.reason, iteration: run.iteration, rounds: run.recipe.rounds, stage: run.stage,
    submittedAtMs: run.submittedAtMs, endedAtMs: run.endedAtMs, teacherValidation: run.teacher?.evaluation.validation,
    waitsForWorker: run.phase === 'running' && leader.scheduler.liveWorkers(leader.now()) === 0,
  };
}

function labelOf({ recipe }: RunState, iteration: number): string {
  const { teacher } = recipe.models;
  if (teacher !== undefined && isImported(recipe, iteration)) return foreignTeacherName(teacher);
  return choiceLabel(modelOfIteration(recipe, iteration));
}

function choiceLabel(choice: ModelChoice): string {
  const written = Object.entries(modelOptions(choice)).filter(([key]) => Object.hasOwn(choice, key)).map(([key, value]) => `${key}=${value}`);
  return [choice.model, ...written].join(' ');
}

/** @param label of the model; @param image what it takes */
function modelView(run: RunState, label: string, trained: Trained | undefined, evaluation: EvaluateResult | undefined, image: ImageSpec | undefined = run.data.image): ModelView {
  return {
    label, parameters: trained?.result.parameters ?? 0, model: trained?.result.model, evaluation: evaluation?.evaluation,
    validation: evaluation?.validation, test: evaluation?.test, steps: trained?.result.steps ?? 0, images: trained?.result.images ?? 0,
    finalLoss: trained?.result.finalLoss ?? 0, curve: trained?.result.curve ?? [], trainMs: trained?.deviceMs ?? 0, calibration: evaluation?.calibration,
    bestStep: trained?.result.bestStep, stoppedAtStep: trained?.result.stoppedAtStep, image,
    // A snapshot of an earlier release holds results without one.
    heldOutCurve: (trained?.result as Partial<Trained['result']> | undefined)?.heldOutCurve ?? [],
    robustness: robustnessView(run, evaluation),
    heads: evaluation?.heads,
  };
}

function robustnessView(run: RunState, evaluation: EvaluateResult | undefined): RobustnessView | undefined {
  const of = evaluation?.corruption;
  // While iteration 0's own candidate is not promoted yet, nothing normalizes.
  const [validation, test] = (['validation', 'test'] as const).map((split) => robustnessOn(split, of, firstScores(run)));
  return of === undefined ? undefined : { scores: of.scores, validation, test };
}

/** The same of a model after fine-tuning; undefined where the recipe has none. */
function fineTunedView(run: RunState, label: string, trained: Trained | undefined, evaluation: EvaluateResult | undefined): ModelView | undefined {
  const { fine_tune: tuned } = run.recipe.training;
  return tuned === undefined ? undefined : modelView(run, label, trained, evaluation, run.data.image && { ...run.data.image, ...tuned.image });
}

/** What the gate would have decided on each smaller sample, at the level that it had. */
function gatesWithFewer(run: RunState, evaluation: EvaluateResult | undefined, gate: Gate | undefined): GateWith[] {
  if (gate === undefined) return [];
  const tries = Math.max(1, Math.round(run.recipe.promotion.alpha / gate.alpha));
  return (evaluation?.paired ?? []).slice(1).map((counts) => {
    const { promote, gate: fewer } = decideGate(counts, run.recipe.promotion, tries, gate.corruptionRatio);
    return { gate: fewer, promoted: promote };
  });
}

function iterationView(run: RunState, each: IterationState): IterationView {
  return {
    iteration: each.iteration, try: each.try, model: modelView(run, labelOf(run, each.iteration), each.student, each.evaluation), selection: each.selection, audit: each.audit,
    decision: each.decision ?? '', gate: each.gate, gatesWithFewer: gatesWithFewer(run, candidateOf(run, each).evaluation, each.gate), quarantined: each.quarantined.size, teacherSha256: each.teacher?.sha256 ?? '',
    threshold: each.teacher === undefined ? undefined : thresholdOf(run, each), precisionDrift: precisionDrift(run, each),
    fineTuned: fineTunedView(run, labelOf(run, each.iteration), each.fineTuned, each.fineTunedEvaluation),
  };
}

/** The newest, of the shards and teachers that a worker says to hold. */
const HOLDS_TOLD_MAX = 8;

export function workerView({ worker, leases }: { worker: WorkerState; leases: LiveLease[] }, live: boolean): WorkerView {
  const { workerId, host, processId, device, lastSeenMs, version, slots, cordon, holds } = worker;
  return { workerId, host, processId, device, state: !live ? 'lost' : leases.length > 0 ? 'busy' : 'idle', lastSeenMs, taskIds: leases.map((lease) => lease.taskId), version, slots, cordon, holds: [...holds].slice(-HOLDS_TOLD_MAX) };
}

type ScheduledTask = ReturnType<Leader['scheduler']['tasksOf']>[number];

function taskView(run: RunState, { task, leases: [lease], failures }: ScheduledTask): TaskView {
  const lastError = run.failures.get(task.taskId)?.at(-1);
  return {
    task: slim(task), state: lease === undefined ? 'waiting' : 'leased', workerId: lease?.workerId ?? '', progress: lease?.progress, failures,
    lastError: lastError === undefined ? '' : `${lastError.code}: ${lastError.message}`, lastErrorWorkerId: lastError?.workerId ?? '',
    checkpointStep: run.checkpoints.get(task.taskId)?.[0]?.step ?? 0,
  };
}

/** Undefined where it is not open. */
export function taskViewOf(leader: Leader, run: RunState, taskId: string): TaskView | undefined {
  const open = leader.scheduler.tasksOf(run.runId).find(({ task }) => task.taskId === taskId);
  return open === undefined ? undefined : taskView(run, open);
}

export function runView(leader: Leader, run: RunState, storeUrl: string): RunView {
  const now = leader.now();
  const current = currentIteration(run);
  const scheduled = leader.scheduler.tasksOf(run.runId);
  // A stage of thousands of waiting shards is told by its counts; what is leased or failed is told one by one.
  const tasks = scheduled.filter(({ task, leases, failures }) => leases.length > 0 || failures > 0 || !(task.stage === Stage.LABEL || task.spec?.$case === 'fingerprint')).map((each) => taskView(run, each));
  const label = run.stage === Stage.LABEL;
  const fineTunes = run.recipe.training.fine_tune !== undefined && !isImported(run.recipe, run.iteration) && (run.stage === Stage.TRAIN || run.stage === Stage.EVALUATE);
  const looking = run.stage === Stage.SELECT ? fingerprintProgress(run) : undefined;
  const stageTotal = looking !== undefined ? looking.total + 1 : label ? labelTotal(run) : fineTunes ? 2 : 1;
  const stageDone = looking !== undefined ? looking.done : label ? current.labels.size : run.stage === Stage.PROMOTE ? 1 : fineTunes ? doneOf(run.stage, current) : 0;
  const warnings = [...run.data.warnings, ...warningsOfImport(run), ...run.iterations.flatMap((each) => (each.gate === undefined || each.gate.warning === '' ? [] : [`iteration ${each.iteration}: ${each.gate.warning}`]))];
  for (const [shard, why] of run.iterations.flatMap((each) => [...each.quarantined.entries()])) warnings.push(`shard ${shard} is quarantined: ${why}`);
  warnings.push(...driftWarnings(run), ...nearDuplicateWarnings(run), ...reviewWarnings(run), ...compressionWarnings(run));
  for (const { subject, comparison } of besidesOf(run.recipe)) {
    const { givenUp } = besideState(run, subject);
    if (givenUp !== undefined) warnings.push(`the ${comparison === undefined ? 'control' : `comparison ${comparison.name}`} was given up: ${givenUp}`);
  }
  const rates = scheduled.flatMap(({ leases }) => leases).map((lease) => lease.progress?.rate ?? 0);
  return {
    summary: summaryOf(leader, run), recipeJson: run.recipeJson, data: run.dataRef === undefined ? run.data : withoutShards(run.data),
    iterations: [...run.iterations.map((each) => iterationView(run, each)), ...run.refusedTries.map((each) => iterationView(run, each))].sort((a, b) => a.iteration - b.iteration || a.try - b.try),
    control: run.recipe.control && run.recipe.rounds > 0 ? modelView(run, labelOf(run, run.recipe.rounds), run.control.trained, run.control.evaluation) : undefined,
    tasks, stageDone, stageTotal, stageQuarantined: current.quarantined.size,
    bestModel: run.best?.model, bestIteration: run.best?.iteration ?? 0, storeUrl, nowMs: now,
    imagesPerSecond: rates.reduce((sum, rate) => sum + rate, 0), secondsLeft: secondsLeft(run, scheduled.flatMap(({ task, leases }) => leases.map((lease) => ({ task, lease }))), leader.scheduler.liveWorkers(now)), warnings,
    budget: budgetView(run, now, leader.scheduler.inFlightMs(run.runId, now)), sharedTrainings: sharedTrainingViews(run),
    controlFineTuned: run.recipe.control && run.recipe.rounds > 0 ? fineTunedView(run, labelOf(run, run.recipe.rounds), run.control.fineTuned, run.control.fineTunedEvaluation) : undefined,
    fineTunedTeaches: run.recipe.training.fine_tune?.teaches === true,
    comparisons: comparisonViews(run), nearDuplicates: nearDuplicatesView(run), reviews: [...run.reviews], compression: compressionView(run),
  };
}

function comparisonViews(run: RunState): ComparisonView[] {
  return besidesOf(run.recipe).flatMap(({ subject, comparison }): ComparisonView[] => {
    if (comparison === undefined) return [];
    const { trained, evaluation, fineTuned, fineTunedEvaluation, givenUp = '' } = besideState(run, subject);
    const label = comparison.model === undefined ? labelOf(run, run.recipe.rounds) : choiceLabel(comparison.model);
    const paired = (run.recipe.training.fine_tune?.teaches === true ? fineTunedEvaluation : evaluation)?.paired[0];
    return [{
      name: comparison.name, what: comparison.what ?? changeOf(comparison), model: modelView(run, label, trained, evaluation), fineTuned: fineTunedView(run, label, fineTuned, fineTunedEvaluation),
      paired, pValue: paired === undefined ? undefined : mcnemarExact(paired.studentOnlyRight, paired.teacherOnlyRight), givenUp,
    }];
  });
}

function compressionView(run: RunState): CompressionView | undefined {
  const { compress, comparisons = [], rounds } = run.recipe;
  if (compress === undefined) return undefined;
  const teacher = comparedTeacher(run);
  const errors = teacher && teacherErrors(teacher.evaluation);
  const chosen = chosenOf(run);
  const models = modelsToMeasure(run).map(({ name, subject, model, alone, eligible }): CompressedModel => {
    const { result, givenUp = '' } = measurementOf(run, subject);
    const own = comparisons.find((each) => each.name === name)?.model;
    const label = own === undefined ? labelOf(run, name === 'teacher' ? teacher?.iteration ?? 0 : name === 'student' ? run.iteration : rounds) : choiceLabel(own);
    return {
      name, label, model, alone, eligible, measured: result, givenUp,
      kept: result === undefined || errors === undefined ? [] : keptOf(result, errors, compress.accuracy_kept),
    };
  });
  return {
    accuracyKept: compress.accuracy_kept, teacherValidation: errors?.validation, teacherTest: errors?.test, teacherCorruptedValidation: errors?.corruptedValidation, teacherCorruptedTest: errors?.corruptedTest,
    models, chosen: chosen === undefined ? undefined : { name: chosen.name, weights: chosen.weights },
  };
}

/** What a comparison changes, in words: the recipe's own where it has no sentence. */
function changeOf({ model, labels, label_noise: labelNoise, kind, distill, noise, steps }: Comparison): string {
  const changes = [
    model === undefined ? '' : choiceLabel(model),
    labels === 'none' ? 'the labeled images alone' : labels === 'truth' ? `true labels${labelNoise === undefined ? '' : `, ${Number((100 * labelNoise).toPrecision(3))} % of them replaced`}` : '',
    kind === undefined ? '' : `${kind} labels`,
    distill === undefined ? '' : distill === 'none' ? 'not distilled' : `distilled: ${distill.teacher} teacher, ${distill.targets === 'hard' ? 'hard targets' : `T ${distill.temperature}`}, share ${distill.share}${distill.head === 'token' ? ', by a token' : ''}`,
    noise === undefined ? '' : `noise: ${[`input ${noise.input.name}`, ...(noise.erasing === undefined ? [] : ['erasing']), ...(noise.mix === undefined ? [] : ['mix'])].join(', ')}`,
    steps === undefined ? '' : `${steps} steps`,
  ].filter((each) => each !== '');
  return changes.length === 0 ? 'the last student again' : changes.join(', ');
}

function sharedTrainingViews(run: RunState): SharedTrainingView[] {
  const sharing = sharingOf(run.recipe);
  if (sharing === undefined || isEnded(run.phase)) return [];
  return openTrainings(run).map(({ taskId, subject, iteration, work }) => {
    const { merges = 0, leftOut = 0, current } = run.rounds.get(taskId) ?? {};
    const { first, steps } = roundSteps(work, sharing.local_steps, merges);
    return {
      subject, iteration, round: merges, rounds: roundsOf(work, sharing.local_steps), replicas: current?.replicas ?? 0, replicasDone: current?.results.size ?? 0, replicasGivenUp: current?.givenUp.size ?? 0,
      merging: current?.included !== undefined, leftOut, stepsDone: first, roundSteps: steps, steps: work,
    };
  });
}

/** Of the two models of an iteration, how many are trained, or evaluated. */
const doneOf = (stage: Stage, { student, fineTuned, evaluation, fineTunedEvaluation }: IterationState): number =>
  (stage === Stage.TRAIN ? [student, fineTuned] : [evaluation, fineTunedEvaluation]).filter((each) => each !== undefined).length;

/** What the import of a first teacher noted, and students that are smaller than it: compression is allowed, and not what the ladder promises. */
function warningsOfImport({ recipe, iterations }: RunState): string[] {
  const imported = iterations[0]?.imported;
  if (imported === undefined) return [];
  const { parameters = 0, model } = imported;
  const smaller = iterations.filter((each) => each.teacher?.sha256 === model?.sha256 && each.student !== undefined && each.student.result.parameters < parameters);
  return [
    ...imported.notes.map((note) => `models.teacher: ${note}`),
    ...smaller.map((each) => `iteration ${each.iteration}: the student has ${each.student?.result.parameters ?? 0} parameters, its teacher from elsewhere ${parameters}: it is compressed, and noise helps smaller students less`),
    ...(recipe.models.teacher !== undefined && parameters === 0 ? ['models.teacher: nothing in its files tells how many parameters it has, so nobody compared its student with it'] : []),
  ];
}

/** As the pause sees it: attempts under way count. */
const budgetView = (run: RunState, nowMs: number, inFlightMs: number): Budget => ({
  deviceHoursLimit: run.budget.deviceHours, deviceHoursSpent: (run.budget.deviceMsSpent + inFlightMs) / MS_PER_HOUR,
  wallHoursLimit: run.budget.wallHours, wallHoursSpent: wallMsSpent(run, nowMs) / MS_PER_HOUR,
});

/** Shards beyond a message's bound are told by their number (`stageTotal`) and by the parts' samples. */
const withoutShards = ({ labeled, unlabeled, validation, test, corrupted, ...data }: RunData): RunData => {
  const short = (part: PartRef | undefined): PartRef | undefined => (part === undefined ? undefined : { ...part, shards: [] });
  const shortParts = corrupted?.parts.map((each): CorruptedPart => ({ ...each, validation: short(each.validation), test: short(each.test) }));
  return { ...data, ...(shortParts === undefined ? {} : { corrupted: { parts: shortParts } }), labeled: short(labeled), unlabeled: short(unlabeled), validation: short(validation), test: short(test) };
};

/** Specifications name every shard; a view needs the task's place only. */
const slim = (task: Task): Task => ({ ...task, spec: undefined });

/**
 * Time that training and evaluation still take: steps left by the rate of the trainings seen so far, and evaluations left as long as the last one each; a measurement predicts as much for each way to store weights.
 * Labeling is small against them. Replicas of a shared training make their steps beside one another, as far as
 * there are workers. -1 while no rate is known. With early stop it is the most that it may take: nobody knows where a training stops.
 */
function secondsLeft(run: RunState, leased: { task: Task; lease: LiveLease }[], fleet: number): number {
  if (run.phase !== 'running') return -1;
  const { teacher, student, replicas } = run.recipe.training;
  const trainings = leased.filter(({ task }) => task.stage === Stage.TRAIN && task.spec?.$case !== 'merge' && !isFineTuned(task));
  const perStep = trainings.flatMap(({ lease, task }) => (lease.progress !== undefined && lease.progress.rate > 0 ? [batchOf(run, task) / lease.progress.rate] : []))[0]
    ?? lastRate(run);
  if (perStep === undefined) return -1;
  const stepsDone = new Map(sharedTrainingViews(run).map((view) => [view.subject, view.merging ? view.stepsDone + view.roundSteps : view.stepsDone]));
  const done = (subject: string): number => {
    const merged = stepsDone.get(subject);
    const inHand = trainings.filter(({ task }) => (besideOf(task) ?? 'student') === subject).map(({ lease }) => lease.progress?.done ?? 0);
    // A round takes as long as the slowest of its replicas.
    return merged === undefined ? inHand[0] ?? 0 : merged + (inHand.length === 0 ? 0 : Math.min(...inHand));
  };
  let steps = 0;
  let fineTunings = 0;
  for (let iteration = run.iteration; iteration <= run.recipe.rounds; iteration += 1) {
    if (run.iterations[iteration]?.student === undefined && !isImported(run.recipe, iteration)) steps += iteration === 0 ? teacher.steps : student.steps;
    if (run.iterations[iteration]?.fineTuned === undefined && !isImported(run.recipe, iteration)) fineTunings += 1;
  }
  if (steps > 0) steps -= done('student');
  let beside = 0;
  for (const { subject, comparison } of besidesOf(run.recipe)) {
    const { trained, fineTuned, givenUp } = besideState(run, subject);
    if (givenUp !== undefined) continue;
    if (trained === undefined) beside += (comparison?.steps ?? student.steps) - done(subject);
    if (fineTuned === undefined) fineTunings += 1;
  }
  const turns = typeof replicas === 'number' ? Math.ceil(replicas / Math.max(1, fleet)) : 1;
  return Math.max(0, ((steps + beside) * turns + fineTunings * stepsOfFineTuning(run)) * perStep + (evaluationsLeft(run, leased) + measuredFormsLeft(run, leased)) * (run.evaluationMs ?? 0) / 1000);
}

/** Of the models to come, too; of one under way what is left of it. */
function evaluationsLeft(run: RunState, leased: readonly { task: Task; lease: LiveLease }[]): number {
  const tunes = run.recipe.training.fine_tune !== undefined;
  const of = ({ evaluation, fineTunedEvaluation }: Pick<IterationState, 'evaluation' | 'fineTunedEvaluation'>, isTuned: boolean): number => Number(evaluation === undefined) + Number(isTuned && fineTunedEvaluation === undefined);
  let left = 0;
  for (let iteration = run.iteration; iteration <= run.recipe.rounds; iteration += 1) left += of(run.iterations[iteration] ?? {}, tunes && !isImported(run.recipe, iteration));
  for (const { subject } of besidesOf(run.recipe)) left += besideState(run, subject).givenUp === undefined ? of(besideState(run, subject), tunes) : 0;
  return left - underWay('evaluate', leased);
}

/** Tasks of this kind that are done already, in parts of those under way. */
function underWay(kind: NonNullable<Task['spec']>['$case'], leased: readonly { task: Task; lease: LiveLease }[]): number {
  return leased.reduce((sum, { task, lease: { progress } }) => sum + (task.spec?.$case === kind && progress !== undefined && progress.total > 0 ? Math.min(1, progress.done / progress.total) : 0), 0);
}

/** Models by the ways in which each is stored; of the models to come, too. */
function measuredFormsLeft(run: RunState, leased: readonly { task: Task; lease: LiveLease }[]): number {
  const { compress } = run.recipe;
  if (compress === undefined) return 0;
  const left = [subjects.teacher, subjects.student, ...besidesOf(run.recipe).map(({ subject }) => subject)].filter((subject) => Object.keys(measurementOf(run, subject)).length === 0).length;
  return Math.max(0, left - underWay('measure', leased)) * compress.weights.length;
}

/** As many steps of a student as a fine-tuning is, by images and pixels: at most, since what is frozen costs less. */
function stepsOfFineTuning({ recipe: { training: { student, fine_tune: tuned } }, data: { image } }: RunState): number {
  if (tuned === undefined) return 0;
  const pixels = tuned.image === undefined || image === undefined ? 1 : (tuned.image.height * tuned.image.width) / (image.height * image.width);
  return (tuned.steps * tuned.batch_labeled * pixels) / (student.batch_labeled + student.batch_unlabeled);
}

const batchOf = (run: RunState, task: Task): number => {
  const { teacher, student } = run.recipe.training;
  return task.iteration === 0 && !isBeside(task) ? teacher.batch_labeled : student.batch_labeled + student.batch_unlabeled;
};

/** Seconds of a device for one step. Of a shared training that is what its replicas took together, by the steps that they made together. */
function lastRate(run: RunState): number | undefined {
  const { teacher, student } = run.recipe.training;
  const last = run.iterations.findLast((each) => each.student !== undefined);
  if (last?.student === undefined || last.student.result.images === 0) return undefined;
  const images = last.iteration === 0 ? teacher.batch_labeled : student.batch_labeled + student.batch_unlabeled;
  return last.student.deviceMs / 1000 / (last.student.result.images / images);
}
