/** What an operator sees of a run: its facts and the scheduler's leases, put side by side. Reads only. */
import type { Gate, RunData } from '../../proto/gen/alumnus/v1/events.ts';
import type { Budget, GateWith, IterationView, ModelView, RunSummary, RunView, TaskView, WorkerView } from '../../proto/gen/alumnus/v1/operator.ts';
import { Stage, type EvaluateResult, type PartRef, type Task } from '../../proto/gen/alumnus/v1/task.ts';
import { foreignTeacherName, isImported, modelOfIteration, modelOptions } from '../../recipe/index.ts';
import type { Leader } from '../leader.ts';
import { currentIteration, decideGate, isControl, MS_PER_HOUR, thresholdOf, wallMsSpent, type IterationState, type RunState, type Trained } from '../run/index.ts';
import type { WorkerState, LiveLease } from '../scheduler/index.ts';

export function summaryOf(leader: Leader, run: RunState): RunSummary {
  return {
    runId: run.runId, name: run.name, state: run.phase, reason: run.reason, iteration: run.iteration, rounds: run.recipe.rounds, stage: run.stage,
    submittedAtMs: run.submittedAtMs, endedAtMs: run.endedAtMs, teacherValidation: run.teacher?.evaluation.validation,
    waitsForWorker: run.phase === 'running' && leader.scheduler.liveWorkers(leader.now()) === 0,
  };
}

function labelOf({ recipe }: RunState, iteration: number): string {
  const { teacher } = recipe.models;
  if (teacher !== undefined && isImported(recipe, iteration)) return foreignTeacherName(teacher);
  const choice = modelOfIteration(recipe, iteration);
  const written = Object.entries(modelOptions(choice)).filter(([key]) => Object.hasOwn(choice, key)).map(([key, value]) => `${key}=${value}`);
  return [choice.model, ...written].join(' ');
}

function modelView(run: RunState, iteration: number, trained: Trained | undefined, evaluation: EvaluateResult | undefined): ModelView {
  return {
    label: labelOf(run, iteration), parameters: trained?.result.parameters ?? 0, model: trained?.result.model, evaluation: evaluation?.evaluation,
    validation: evaluation?.validation, test: evaluation?.test, steps: trained?.result.steps ?? 0, images: trained?.result.images ?? 0,
    finalLoss: trained?.result.finalLoss ?? 0, curve: trained?.result.curve ?? [], trainMs: trained?.deviceMs ?? 0, calibration: evaluation?.calibration,
  };
}

/** What the gate would have decided on each smaller sample, at the level that it had. */
function gatesWithFewer(run: RunState, evaluation: EvaluateResult | undefined, gate: Gate | undefined): GateWith[] {
  if (gate === undefined) return [];
  const tries = Math.max(1, Math.round(run.recipe.promotion.alpha / gate.alpha));
  return (evaluation?.paired ?? []).slice(1).map((counts) => {
    const { promote, gate: fewer } = decideGate(counts, run.recipe.promotion, tries);
    return { gate: fewer, promoted: promote };
  });
}

function iterationView(run: RunState, each: IterationState): IterationView {
  return {
    iteration: each.iteration, try: each.try, model: modelView(run, each.iteration, each.student, each.evaluation), selection: each.selection, audit: each.audit,
    decision: each.decision ?? '', gate: each.gate, gatesWithFewer: gatesWithFewer(run, each.evaluation, each.gate), quarantined: each.quarantined.size, teacherSha256: each.teacher?.sha256 ?? '',
    threshold: each.teacher === undefined ? undefined : thresholdOf(run, each),
  };
}

export function workerView({ worker, leases }: { worker: WorkerState; leases: LiveLease[] }, live: boolean): WorkerView {
  const { workerId, host, processId, device, lastSeenMs, version } = worker;
  return { workerId, host, processId, device, state: !live ? 'lost' : leases.length > 0 ? 'busy' : 'idle', lastSeenMs, taskIds: leases.map((lease) => lease.taskId), version };
}

export function runView(leader: Leader, run: RunState, storeUrl: string): RunView {
  const now = leader.now();
  const current = currentIteration(run);
  const scheduled = leader.scheduler.tasksOf(run.runId);
  const tasks: TaskView[] = scheduled.flatMap(({ task, leases, failures }): TaskView[] => {
    const lastError = run.failures.get(task.taskId)?.at(-1);
    // A stage of thousands of waiting shards is told by its counts; what is leased or failed is told one by one.
    if (leases.length === 0 && failures === 0 && task.stage === Stage.LABEL) return [];
    const [lease] = leases;
    return [{
      task: slim(task), state: lease === undefined ? 'waiting' : 'leased', workerId: lease?.workerId ?? '', progress: lease?.progress, failures,
      lastError: lastError === undefined ? '' : `${lastError.code}: ${lastError.message}`, lastErrorWorkerId: lastError?.workerId ?? '',
      checkpointStep: run.checkpoints.get(task.taskId)?.[0]?.step ?? 0,
    }];
  });
  const label = run.stage === Stage.LABEL;
  const stageTotal = label ? (run.data.unlabeled?.shards.length ?? 0) : 1;
  const stageDone = label ? current.labels.size : run.stage === Stage.PROMOTE ? 1 : 0;
  const warnings = [...run.data.warnings, ...warningsOfImport(run), ...run.iterations.flatMap((each) => (each.gate === undefined || each.gate.warning === '' ? [] : [`iteration ${each.iteration}: ${each.gate.warning}`]))];
  for (const [shard, why] of run.iterations.flatMap((each) => [...each.quarantined.entries()])) warnings.push(`shard ${shard} is quarantined: ${why}`);
  if (run.control.givenUp !== undefined) warnings.push(`the control was given up: ${run.control.givenUp}`);
  const rates = scheduled.flatMap(({ leases }) => leases).map((lease) => lease.progress?.rate ?? 0);
  return {
    summary: summaryOf(leader, run), recipeJson: run.recipeJson, data: run.dataRef === undefined ? run.data : withoutShards(run.data),
    iterations: [...run.iterations.map((each) => iterationView(run, each)), ...run.refusedTries.map((each) => iterationView(run, each))].sort((a, b) => a.iteration - b.iteration || a.try - b.try),
    control: run.recipe.control && run.recipe.rounds > 0 ? modelView(run, run.recipe.rounds, run.control.trained, run.control.evaluation) : undefined,
    tasks, stageDone, stageTotal, stageQuarantined: current.quarantined.size,
    bestModel: run.best?.model, bestIteration: run.best?.iteration ?? 0, storeUrl, nowMs: now,
    imagesPerSecond: rates.reduce((sum, rate) => sum + rate, 0), secondsLeft: secondsLeft(run, scheduled.flatMap(({ task, leases }) => leases.map((lease) => ({ task, lease })))), warnings,
    budget: budgetView(run, now, leader.scheduler.inFlightMs(run.runId, now)),
  };
}

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
const withoutShards = ({ labeled, unlabeled, validation, test, ...data }: RunData): RunData => {
  const short = (part: PartRef | undefined): PartRef | undefined => (part === undefined ? undefined : { ...part, shards: [] });
  return { ...data, labeled: short(labeled), unlabeled: short(unlabeled), validation: short(validation), test: short(test) };
};

/** Specifications name every shard; a view needs the task's place only. */
const slim = (task: Task): Task => ({ ...task, spec: undefined });

/**
 * Device time that training still takes, by the rate of the trainings seen so far: steps left times milliseconds a step.
 * Labeling and evaluation are small against it. -1 while no rate is known.
 */
function secondsLeft(run: RunState, leased: { task: Task; lease: LiveLease }[]): number {
  if (run.phase !== 'running') return -1;
  const { teacher, student } = run.recipe.training;
  const perStep = leased.flatMap(({ lease, task }) => (task.stage === Stage.TRAIN && lease.progress !== undefined && lease.progress.rate > 0 ? [batchOf(run, task) / lease.progress.rate] : []))[0]
    ?? lastRate(run);
  if (perStep === undefined) return -1;
  const done = (subject: 'control' | 'student'): number => leased.find(({ task }) => task.stage === Stage.TRAIN && isControl(task) === (subject === 'control'))?.lease.progress?.done ?? 0;
  let steps = 0;
  for (let iteration = run.iteration; iteration <= run.recipe.rounds; iteration += 1) {
    if (run.iterations[iteration]?.student === undefined && !isImported(run.recipe, iteration)) steps += iteration === 0 ? teacher.steps : student.steps;
  }
  if (steps > 0) steps -= done('student');
  const control = run.recipe.control && run.control.trained === undefined ? student.steps - done('control') : 0;
  return Math.max(0, (steps + control) * perStep);
}

const batchOf = (run: RunState, task: Task): number => {
  const { teacher, student } = run.recipe.training;
  return task.iteration === 0 && !isControl(task) ? teacher.batch_labeled : student.batch_labeled + student.batch_unlabeled;
};

function lastRate(run: RunState): number | undefined {
  const trained = run.iterations.flatMap((each) => (each.student === undefined ? [] : [each.student])).at(-1);
  return trained === undefined || trained.result.steps === 0 ? undefined : trained.deviceMs / 1000 / trained.result.steps;
}
