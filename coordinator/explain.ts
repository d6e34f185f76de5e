/**
 * Why a task is not running, or a stage has not begun: the first reason is what must be gone before any other matters. From the
 * run's state and the scheduler, which is asked for what it itself goes by. Reads only. Not for: why an image's label was kept
 * (`alumnus explain sample`).
 */
import { AlumnusError } from '../proto/errors.ts';
import type { ExplainTaskResponse, Reason } from '../proto/gen/alumnus/v1/operator.ts';
import { Stage } from '../proto/gen/alumnus/v1/task.ts';
import { stageName } from '../proto/stages.ts';
import { PROJECT_DEFAULT } from './access.ts';
import type { Leader } from './leader.ts';
import { currentIteration, fingerprintProgress, isEnded, labelTotal, openTasks, pauseRules, taskIdPrefix, type IterationState, type RunState } from './run/index.ts';
import type { Obstacle, WhyNot } from './scheduler/index.ts';

/** Workers told one by one; of a large fleet the others are counted. */
const WORKERS_TOLD_MAX = 20;
const STAGES: readonly Stage[] = [Stage.LABEL, Stage.SELECT, Stage.TRAIN, Stage.EVALUATE, Stage.PROMOTE];

const reason = (kind: string, text: string, more: Partial<Reason> = {}): Reason => ({ kind, text, workerId: '', untilMs: 0, ...more });

/** @param task a task's id, or the name of a stage of `runId` @throws AlumnusError RUN_NOT_FOUND, TASK_NOT_FOUND, USAGE */
export function explainTask(leader: Leader, runId: string, task: string): Omit<ExplainTaskResponse, 'view'> {
  const stage = STAGES.find((each) => stageName(each) === task);
  if (stage !== undefined) {
    if (runId === '') throw new AlumnusError('USAGE', 'a stage is explained of one run: name it', { where: task });
    return explainStage(leader, leader.run(runId), stage);
  }
  const runs = runId === '' ? leader.runs() : [leader.run(runId)];
  for (const run of runs) {
    const told = explainOpen(leader, run, task) ?? explainClosed(run, task);
    if (told !== undefined) return { runId: run.runId, taskId: task, ...told };
  }
  throw new AlumnusError('TASK_NOT_FOUND', `there is no such task${runId === '' ? '' : ` of run ${runId}`}`, { where: task });
}

/** Why the run as a whole does not get on; empty where something of it is under way. */
export function whyItWaits(leader: Leader, run: RunState): string {
  if (isEnded(run.phase) || leader.scheduler.leasesOf(run.runId) > 0) return '';
  const [first] = leader.scheduler.tasksOf(run.runId);
  if (first === undefined) return run.phase === 'paused' ? run.reason : '';
  return explainOpen(leader, run, first.task.taskId)?.reasons[0]?.text ?? '';
}

type Told = Pick<ExplainTaskResponse, 'state' | 'reasons'>;

function explainOpen(leader: Leader, run: RunState, taskId: string): Told | undefined {
  const now = leader.now();
  const obstacles = leader.scheduler.explain(run.runId, taskId, now);
  if (obstacles === undefined) return undefined;
  const open = leader.scheduler.tasksOf(run.runId).find(({ task }) => task.taskId === taskId);
  if (open !== undefined && open.leases.length > 0) {
    return { state: 'leased', reasons: open.leases.map(({ workerId, grantedAtMs }) => reason('leased', `worker ${workerId} has it since ${secondsText(now - grantedAtMs)}`, { workerId })) };
  }
  const reasons: Reason[] = [];
  if (!leader.mayGrant) reasons.push(reason('adoption', 'the coordinator has just begun to lead, and lets workers say first what they hold', { untilMs: Math.max(0, leader.grantsFromMs) }));
  let workers = 0;
  for (const obstacle of obstacles) {
    workers += obstacle.kind === 'worker' ? 1 : 0;
    if (obstacle.kind !== 'worker' || workers <= WORKERS_TOLD_MAX) reasons.push(obstacleReason(run, obstacle, now));
  }
  if (workers > WORKERS_TOLD_MAX) reasons.push(reason('worker', `so it is with ${workers - WORKERS_TOLD_MAX} more workers`));
  if (reasons.length === 0) reasons.push(reason('next', 'nothing keeps it: the next worker that asks is given it'));
  return { state: 'waiting', reasons };
}

const secondsText = (ms: number): string => `${Math.max(0, Math.round(ms / 1000))} s`;

function obstacleReason(run: RunState, obstacle: Obstacle, nowMs: number): Reason {
  switch (obstacle.kind) {
    case 'run': return reason('run', run.pauseRule === pauseRules.cancel ? `the run is being cancelled: ${run.reason}` : `the run is ${run.phase}: ${run.reason}`);
    case 'back-off': return reason('back-off', `it failed ${obstacle.failures === 1 ? 'once' : `${obstacle.failures} times`}, and is granted again in ${secondsText(obstacle.untilMs - nowMs)}`, { untilMs: obstacle.untilMs });
    case 'no-worker': return reason('no-worker', obstacle.cordoned === 0 ? 'no worker is there: start one with `alumnus worker`' : `no worker takes work: ${obstacle.cordoned === 1 ? 'the one that is there is' : `all ${obstacle.cordoned} are`} cordoned (\`alumnus worker uncordon WORKER\`)`);
    case 'worker': return reason('worker', `worker ${obstacle.workerId} ${whyNotText[obstacle.why](obstacle.detail)}`, { workerId: obstacle.workerId });
    case 'turn': return reason('turn', `${obstacle.before === 1 ? 'one task' : `${obstacle.before} tasks`} of the run ${obstacle.before === 1 ? 'is' : 'are'} before it`);
    case 'quota': return reason('quota', `project ${run.project === '' ? PROJECT_DEFAULT : run.project} has ${obstacle.devices === 1 ? 'a worker' : `${obstacle.devices} workers`}, which is all that its quota allows at once`);
    case 'share': return reason('share', `${obstacle.runs.length === 1 ? 'run' : 'runs'} ${obstacle.runs.join(', ')} ${obstacle.runs.length === 1 ? 'has' : 'have'} no more than ${obstacle.runs.length === 1 ? 'its' : 'their'} share of the workers, and may go first`);
  }
}

const whyNotText: Readonly<Record<WhyNot, (detail: string) => string>> = {
  cordoned: () => 'is cordoned',
  draining: () => 'is being drained',
  'device-taken': (detail) => `is at work on ${detail}, which has its device alone`,
  full: (detail) => `has as many tasks as it takes at once: ${detail}`,
  'finishes-first': (detail) => `finishes ${detail} first: the task wants a device alone`,
  'measured-beside': (detail) => `is on ${detail}, where another model is being measured: its load would be in the latency`,
  'failed-here': (detail) => `has failed at it, and worker ${detail} has not`,
};

const labelPrefix = ({ iteration, try: attempt }: IterationState, subject: string): string => taskIdPrefix({ iteration, stage: Stage.LABEL, subject, try: attempt });

/** Done, or given up: as far as the present iteration tells. */
function explainClosed(run: RunState, taskId: string): Told | undefined {
  for (const each of [...run.iterations, ...run.refusedTries]) {
    for (const [shard, why] of each.quarantined) if (taskId.startsWith(labelPrefix(each, shard))) return { state: 'quarantined', reasons: [reason('done', `it is given up: ${why}; \`alumnus run retry ${run.runId}\` tries again what was given up`)] };
    for (const shard of each.labels.keys()) if (taskId.startsWith(labelPrefix(each, shard))) return { state: 'done', reasons: [reason('done', 'it is done')] };
  }
  if (!/^i\d+\.[a-z]+\./.test(taskId)) return undefined;
  const [, iteration = '', stage = ''] = /^i(\d+)\.([a-z]+)\./.exec(taskId) ?? [];
  const at = STAGES.findIndex((each) => stageName(each) === stage);
  if (at < 0 || Number(iteration) > run.iteration || (Number(iteration) === run.iteration && at >= STAGES.indexOf(run.stage))) return undefined;
  return { state: 'done', reasons: [reason('done', `its stage is over: the run is at ${stageName(run.stage)} of iteration ${run.iteration}; \`alumnus events ${run.runId}\` says what became of it`)] };
}

function explainStage(leader: Leader, run: RunState, stage: Stage): Omit<ExplainTaskResponse, 'view'> {
  const told = (state: string, reasons: Reason[]): Omit<ExplainTaskResponse, 'view'> => ({ runId: run.runId, taskId: '', state, reasons });
  const [now, wanted] = [STAGES.indexOf(run.stage), STAGES.indexOf(stage)];
  if (isEnded(run.phase)) return told('done', [reason('run', `the run is ${run.phase}${run.reason === '' ? '' : `: ${run.reason}`}`)]);
  // Iteration 0 has no labels to write and none to select.
  const begun = wanted < now && !(run.iteration === 0 && (stage === Stage.LABEL || stage === Stage.SELECT));
  if (begun && run.iteration === run.recipe.rounds) return told('done', [reason('done', `it is over: the run is at ${stageName(run.stage)} of iteration ${run.iteration}, its last`)]);
  const present = whatIsLeft(run);
  const waits = whyItWaits(leader, run);
  const why = waits === '' ? [] : [reason(run.phase === 'paused' ? 'run' : 'dependency', waits)];
  if (wanted === now) return told('under-way', [...why, reason('dependency', `of iteration ${run.iteration} ${present}`)]);
  return told('ahead', [...why, reason('dependency', `it follows${wanted < now ? `, in iteration ${run.iteration + 1},` : ''} when ${stageName(run.stage)} of iteration ${run.iteration} is done: ${present}`)]);
}

function whatIsLeft(run: RunState): string {
  const current = currentIteration(run);
  switch (run.stage) {
    case Stage.LABEL: {
      const [total, done, lost] = [labelTotal(run), current.labels.size, current.quarantined.size];
      return `${total - done - lost} of ${total} shards are not labeled yet${lost === 0 ? '' : `, and ${lost} are given up`}`;
    }
    case Stage.SELECT: {
      const { done, total } = fingerprintProgress(run) ?? { done: 0, total: 0 };
      return done < total ? `${total - done} of ${total} shards are not looked through for near-duplicates yet` : 'the selection is not made yet';
    }
    case Stage.PROMOTE: return current.decision === undefined ? 'the gate has not decided yet' : `the model is ${current.decision}`;
    default: {
      const open = openTasks({ ...run, phase: 'running' }).filter((task) => task.stage === run.stage);
      return `${open.length === 1 ? 'a task is' : `${open.length} tasks are`} not done yet`;
    }
  }
}
