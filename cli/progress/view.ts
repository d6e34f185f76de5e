/**
 * A running run as text: the block that a terminal redraws, the one line that a log gets, and the news between two
 * views. Pure: view in, lines out.
 */
import type { IterationView, RunView, SharedTrainingView, TaskView } from '../../proto/gen/alumnus/v1/operator.ts';
import { Stage, type Score } from '../../proto/gen/alumnus/v1/task.ts';
import { stageName } from '../../proto/stages.ts';
import { isBeside as isOfBeside, measuredOf, partOf } from '../../proto/subjects.ts';
import { duration, integer, percent, plain, plural } from '../format.ts';
import { remedyOf } from '../remedy.ts';
import { waitingForStore } from './restarts.ts';

const accuracy = (score: Score | undefined): string => (score === undefined || score.total === 0 ? '' : percent(score.correct / score.total));

const progressOf = (task: TaskView): number => {
  if (task.state === 'done') return 1;
  return task.progress !== undefined && task.progress.total > 0 ? Math.min(1, task.progress.done / task.progress.total) : 0;
};

const isBeside = ({ task }: TaskView): boolean => task !== undefined && isOfBeside(task);

/** The tasks of the present stage; what runs beside it is not counted in. */
const stageTasks = (view: RunView): TaskView[] => view.tasks.filter((task) => !isBeside(task) && task.task?.stage === view.summary?.stage);

/** The stage's training, where several workers share it. */
const sharedTraining = (view: RunView): SharedTrainingView | undefined =>
  (view.summary?.stage === Stage.TRAIN ? view.sharedTrainings.find((training) => training.subject === 'student' && training.iteration === view.summary?.iteration) : undefined);

/** Rounds count from 0 in names, and from 1 for people. */
export function roundText({ round, rounds, replicas, replicasDone, replicasGivenUp, merging, leftOut }: SharedTrainingView): string {
  const state = merging ? `merges ${plural(replicasDone, 'replica')}` : replicas === 0 ? 'not begun' : `${replicasDone} of ${plural(replicas, 'replica')} done${replicasGivenUp > 0 ? `, ${replicasGivenUp} given up` : ''}`;
  return `round ${integer(round + 1)} of ${integer(rounds)}: ${state}${leftOut > 0 ? `, ${integer(leftOut)} left out before` : ''}`;
}

/** The share of the stage that is done, 0 to 1: whole tasks, and the parts of those in work. */
export function stageShare(view: RunView): number {
  if (view.stageTotal === 0) return 0;
  const shared = sharedTraining(view);
  if (shared !== undefined) {
    const inHand = stageTasks(view).filter((task) => task.state === 'leased' && task.task !== undefined && partOf(task.task)?.replica !== undefined).reduce((sum, task) => sum + progressOf(task), 0);
    const ofRound = shared.merging ? 1 : shared.replicas === 0 ? 0 : (shared.replicasDone + inHand) / shared.replicas;
    return Math.min(1, (shared.stepsDone + Math.min(1, ofRound) * shared.roundSteps) / Math.max(1, shared.steps));
  }
  const inWork = stageTasks(view).filter((task) => task.state === 'leased').reduce((sum, task) => sum + progressOf(task), 0);
  return Math.min(1, (view.stageDone + inWork) / view.stageTotal);
}

function stageCount(view: RunView): string {
  if (view.summary?.stage === Stage.LABEL) return `${integer(view.stageDone)} of ${plural(view.stageTotal, 'shard')} labeled`;
  // Nothing of a stage is left: the run waits for what is beside it, and last of all for what is measured.
  const measuring = view.summary?.stage === Stage.PROMOTE && view.tasks.some(({ task }) => task !== undefined && measuredOf(task) !== undefined) ? view.compression?.models : undefined;
  if (measuring !== undefined) return `${integer(measuring.filter(({ measured, givenUp }) => measured !== undefined || givenUp !== '').length)} of ${plural(measuring.length, 'model')} measured`;
  if (view.summary?.stage === Stage.PROMOTE && view.comparisons.length > 0) {
    return `${integer(view.comparisons.filter(({ model, givenUp }) => givenUp !== '' || accuracy(model?.validation) !== '').length)} of ${plural(view.comparisons.length, 'comparison')} done`;
  }
  const shared = sharedTraining(view);
  if (shared !== undefined) return roundText(shared);
  const only = stageTasks(view).find((task) => task.state === 'leased' && task.progress !== undefined && task.progress.total > 0);
  if (only?.progress !== undefined) return `${integer(only.progress.done)} of ${integer(only.progress.total)} ${plain(only.progress.unit)}`;
  return view.stageTotal > 1 ? `${integer(view.stageDone)} of ${integer(view.stageTotal)} tasks` : '';
}

const trainLoss = (view: RunView): number | undefined => {
  const training = view.tasks.find((task) => task.state === 'leased' && !isBeside(task) && task.task?.stage === Stage.TRAIN && (task.progress?.loss ?? 0) > 0);
  return training?.progress?.loss;
};

const roundTitle = (iteration: number, rounds: number): string => (iteration === 0 ? `iteration 0 of ${rounds} (first teacher)` : `iteration ${iteration} of ${rounds}`);

/** Of the run, as its trainings went; nobody knows how long a store stays away. */
const timeLeft = (view: RunView): string => (view.secondsLeft >= 0 && waitingForStore(view) === 0 ? `about ${duration(view.secondsLeft * 1000)} of the run left` : '');

const teacher = (view: RunView): string => {
  const value = accuracy(view.summary?.teacherValidation);
  return value === '' ? '' : `teacher ${value} on validation`;
};

const storeWait = (view: RunView): string => {
  const waiting = waitingForStore(view);
  return waiting === 0 ? '' : `${plural(waiting, 'task')} waiting for the store`;
};

const elapsed = (view: RunView): number => {
  const { submittedAtMs = 0, endedAtMs = 0 } = view.summary ?? {};
  return Math.max(0, (endedAtMs > 0 ? endedAtMs : view.nowMs) - submittedAtMs);
};

/** One line for a log. */
export const progressLine = (view: RunView): string => `[${duration(elapsed(view))}] ${progressText(view)}`;

/** The same without the time that has gone by: what stays while nothing happens. */
export function progressText(view: RunView): string {
  const { iteration = 0, rounds = 0, stage = Stage.UNSPECIFIED, state = '' } = view.summary ?? {};
  const loss = trainLoss(view);
  const parts = [
    roundTitle(iteration, rounds),
    state === 'running' ? stageName(stage) : `${state}`,
    view.summary?.waitsForWorker ? 'waits for a worker: none is here' : '',
    stageCount(view),
    view.stageQuarantined > 0 ? `${view.stageQuarantined} quarantined` : '',
    storeWait(view),
    view.imagesPerSecond > 0 ? `${integer(view.imagesPerSecond)} images/s` : '',
    loss === undefined ? '' : `loss ${loss.toFixed(3)}`,
    teacher(view),
    timeLeft(view),
  ];
  return parts.filter((part) => part !== '').join(' · ');
}

export interface Paint {
  readonly bold: (text: string) => string;
  readonly dim: (text: string) => string;
  readonly green: (text: string) => string;
  readonly yellow: (text: string) => string;
}

const wrap = (open: number, close: number) => (text: string): string => `\u001b[${open}m${text}\u001b[${close}m`;
const same = (text: string): string => text;

export const paint = (color: boolean): Paint =>
  color ? { bold: wrap(1, 22), dim: wrap(2, 22), green: wrap(32, 39), yellow: wrap(33, 39) } : { bold: same, dim: same, green: same, yellow: same };

const BAR_CHARACTERS = 28;
/** The stage's name, the percentage and the spaces around the bar. */
const STAGE_CHARACTERS = 20;
/** A line a worker; beyond it a fleet is told in numbers. */
const WORKER_LINES_MAX = 8;

export function bar(share: number, characters = BAR_CHARACTERS): { full: string; empty: string } {
  const full = Math.round(Math.min(1, Math.max(0, share)) * characters);
  return { full: '█'.repeat(full), empty: '░'.repeat(characters - full) };
}

const clip = (text: string, columns: number): string => (text.length <= columns ? text : `${text.slice(0, Math.max(0, columns - 1))}…`);

function workerLine(task: TaskView): string {
  const { task: what, progress, workerId } = task;
  const subject = what?.subject ?? '';
  const stage = stageName(what?.stage ?? Stage.UNSPECIFIED);
  const parts = [
    `${plain(workerId)}  ${stage}${subject === '' || subject === 'student' ? '' : ` ${plain(subject)}`}`,
    progress === undefined || progress.total === 0 ? 'starting' : `${integer(progress.done)} of ${integer(progress.total)} ${plain(progress.unit)}`,
    progress !== undefined && progress.rate > 0 ? `${integer(progress.rate)} images/s` : '',
    progress !== undefined && progress.loss > 0 ? `loss ${progress.loss.toFixed(3)}` : '',
  ];
  return parts.filter((part) => part !== '').join(' · ');
}

/** A worker holds the next task while it does one: what it does, and how many wait in its hands. */
function inHand(view: RunView): { task: TaskView; next: number }[] {
  const byWorker = new Map<string, TaskView[]>();
  for (const task of view.tasks) {
    if (task.state === 'leased') byWorker.set(task.workerId, [...(byWorker.get(task.workerId) ?? []), task]);
  }
  return [...byWorker.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).flatMap(([, held]) => {
    const task = held.find((each) => (each.progress?.total ?? 0) > 0) ?? held[0];
    return task === undefined ? [] : [{ task, next: held.length - 1 }];
  });
}

/** The block that a terminal redraws, each line within `columns`. */
export function progressBlock(view: RunView, columns: number, colors: Paint): string[] {
  const { runId = '', iteration = 0, rounds = 0, stage = Stage.UNSPECIFIED, state = '', reason = '' } = view.summary ?? {};
  const width = Math.max(20, columns - 1);
  const share = stageShare(view);
  const drawn = bar(share, Math.max(8, Math.min(BAR_CHARACTERS, width - 50)));
  const loss = trainLoss(view);
  const lines = [
    colors.bold(clip([plain(runId), roundTitle(iteration, rounds), state === 'running' ? '' : state].filter((part) => part !== '').join(' · '), width)),
  ];
  const count = clip([stageCount(view), view.stageQuarantined > 0 ? `${view.stageQuarantined} quarantined` : ''].filter((part) => part !== '').join(' · '), Math.max(0, width - STAGE_CHARACTERS - drawn.full.length - drawn.empty.length));
  lines.push(`  ${(state === 'paused' ? 'paused' : stageName(stage) || 'starting').padEnd(9)} ${colors.green(drawn.full)}${colors.dim(drawn.empty)} ${`${Math.floor(share * 100)} %`.padStart(5)}  ${count}`);
  lines.push(clip(`  ${[
    storeWait(view),
    view.imagesPerSecond > 0 ? `${integer(view.imagesPerSecond)} images/s` : '',
    loss === undefined ? '' : `loss ${loss.toFixed(3)}`,
    teacher(view),
    `${duration(elapsed(view))} elapsed`,
    timeLeft(view),
  ].filter((part) => part !== '').join(' · ')}`, width));
  if (state === 'paused') for (const line of [plain(reason), remedyOf(view.summary)]) if (line !== '') lines.push(colors.yellow(clip(`  ${line}`, width)));
  const busy = inHand(view);
  for (const { task, next } of busy.slice(0, WORKER_LINES_MAX)) lines.push(colors.dim(clip(`  ${workerLine(task)}${next > 0 ? ` · ${plural(next, 'task')} next` : ''}`, width)));
  if (busy.length > WORKER_LINES_MAX) lines.push(colors.dim(clip(`  and ${plural(busy.length - WORKER_LINES_MAX, 'worker')} more`, width)));
  if (busy.length === 0 && state === 'running') lines.push(colors.dim(clip('  waiting for a worker', width)));
  return lines;
}

const iterationTitle = (view: IterationView): string => `iteration ${view.iteration}${view.try > 0 ? `, try ${view.try + 1}` : ''}`;

function iterationNews(before: IterationView | undefined, after: IterationView): string[] {
  const news: string[] = [];
  if (before?.selection === undefined && after.selection !== undefined) {
    const { kept, labeled, rows } = after.selection;
    news.push(`${iterationTitle(after)}: kept ${integer(kept)} of ${integer(labeled)} pseudo-labels, ${integer(rows)} rows with copies`);
  }
  if (before?.audit === undefined && after.audit !== undefined && after.audit.kept > 0) {
    news.push(`${iterationTitle(after)}: ${percent(after.audit.keptRight / after.audit.kept)} of the kept pseudo-labels are right (measured against true labels that no teacher or student sees)`);
  }
  if ((before?.decision ?? '') === '' && after.decision !== '') {
    const figures = [accuracy(after.model?.validation), accuracy(after.model?.test)];
    news.push([
      `${iterationTitle(after)}: ${plain(after.model?.label ?? 'model')} ${after.decision}`,
      figures[0] === '' ? '' : `validation ${figures[0]}`,
      figures[1] === '' ? '' : `test ${figures[1]}`,
      after.decision === 'refused' && after.gate?.reason ? plain(after.gate.reason) : '',
    ].filter((part) => part !== '').join(' · '));
  }
  if ((before?.quarantined ?? 0) < after.quarantined) news.push(`${iterationTitle(after)}: ${plural(after.quarantined, 'task')} quarantined; the run goes on without`);
  return news;
}

/** What is worth a lasting line, as the views follow one another. The first view tells what the run works on. */
export function newsBetween(before: RunView | undefined, after: RunView): string[] {
  const news: string[] = [];
  if (before === undefined) {
    const parts = [
      ['labeled', after.data?.labeled?.samples], ['unlabeled', after.data?.unlabeled?.samples], ['for validation', after.data?.validation?.samples], ['for test', after.data?.test?.samples],
    ] as const;
    const images = parts.flatMap(([what, samples]) => (samples ? [`${integer(samples)} ${what}`] : []));
    news.push(`run ${plain(after.summary?.runId ?? '')}${images.length > 0 ? `: ${images.join(', ')}` : ''}`);
  }
  const iterationKey = (view: IterationView): string => `${view.iteration}/${view.try}`;
  const known = new Map((before?.iterations ?? []).map((view) => [iterationKey(view), view]));
  for (const iteration of after.iterations) news.push(...iterationNews(known.get(iterationKey(iteration)), iteration));
  if (accuracy(before?.control?.validation) === '' && accuracy(after.control?.validation) !== '') {
    const test = accuracy(after.control?.test);
    news.push(`control: ${plain(after.control?.label ?? '')} on the labeled images alone · validation ${accuracy(after.control?.validation)}${test === '' ? '' : ` · test ${test}`}`);
  }
  for (const { name, what, model } of after.comparisons) {
    const known = before?.comparisons.find((each) => each.name === name)?.model;
    if (accuracy(known?.validation) === '' && accuracy(model?.validation) !== '') news.push(`${plain(name)}: ${plain(what)} · validation ${accuracy(model?.validation)}${accuracy(model?.test) === '' ? '' : ` · test ${accuracy(model?.test)}`}`);
  }
  const seen = new Set(before?.warnings ?? []);
  for (const warning of after.warnings) if (!seen.has(warning)) news.push(`warning: ${plain(warning)}`);
  const [stateBefore, stateAfter] = [before?.summary?.state, after.summary?.state];
  if (stateAfter === 'paused' && stateBefore !== 'paused') {
    news.push(`paused: ${plain(after.summary?.reason ?? '')}`);
    const remedy = remedyOf(after.summary);
    if (remedy !== '') news.push(`what to do: ${remedy}`);
  }
  if (stateBefore === 'paused' && stateAfter === 'running') news.push('resumed');
  return news;
}

/** Whether a log should get a line now, whatever the time: another iteration, stage or state. */
export const movedOn = (before: RunView | undefined, after: RunView): boolean =>
  before?.summary?.iteration !== after.summary?.iteration || before?.summary?.stage !== after.summary?.stage || before?.summary?.state !== after.summary?.state;
