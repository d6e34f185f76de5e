/** Runs and workers at a glance, in so many lines. Pure. */
import { Stage } from '../proto/gen/alumnus/v1/task.ts';
import type { GetStatusResponse, RunSummary, RunView, WorkerView } from '../proto/gen/alumnus/v1/operator.ts';
import { stageName } from '../proto/stages.ts';
import { duration, integer, none, percent, plain, plural } from './format.ts';
import { table } from './output.ts';
import { bar, stageShare } from './progress/view.ts';

export interface Snapshot {
  readonly status: GetStatusResponse;
  readonly workers: readonly WorkerView[];
  /** Those under way first, then the newest. */
  readonly runs: readonly RunSummary[];
  /** Of those under way. */
  readonly views: readonly RunView[];
}

const BAR_CHARACTERS = 12;
/** The line above, two blank ones, two heads, two that say how many are left out, one for an error, and the cursor's. */
const OTHER_LINES = 9;
/** Where lines are few: runs get these of them, workers the rest. */
const RUN_LINES_LEAST = 3;

const clip = (text: string, columns: number): string => text.split('\n').map((line) => (line.length <= columns ? line : `${line.slice(0, Math.max(0, columns - 1))}…`)).join('\n');

/** @param rows lines of the terminal, Infinity where there is none: then nothing is left out */
export function topText({ status, workers, runs, views }: Snapshot, address: string, columns: number, rows: number): string {
  const alive = workers.filter(({ state }) => state !== 'lost').length;
  const room = rows === Infinity ? Infinity : Math.max(RUN_LINES_LEAST + 1, rows - OTHER_LINES);
  const runLines = room === Infinity ? runs.length : Math.max(RUN_LINES_LEAST, Math.min(runs.length, room - Math.min(workers.length, Math.floor(room / 2))));
  const workerLines = room === Infinity ? workers.length : Math.max(1, room - Math.min(runs.length, runLines));
  const viewOf = (run: RunSummary): Snapshot['views'][number] | undefined => views.find(({ summary }) => summary?.runId === run.runId);
  const runRow = (run: RunSummary): string[] => {
    const view = viewOf(run);
    const { full, empty } = bar(view === undefined ? 0 : stageShare(view), BAR_CHARACTERS);
    const score = run.teacherValidation;
    return [
      run.runId, run.waitsForWorker ? 'waits for a worker' : run.state, `${run.iteration}/${run.rounds}`, view === undefined || run.stage === Stage.UNSPECIFIED ? none : stageName(run.stage),
      view === undefined ? none : `${full}${empty} ${Math.floor(stageShare(view) * 100)} %`, view === undefined || view.imagesPerSecond <= 0 ? none : integer(view.imagesPerSecond),
      score === undefined || score.total === 0 ? none : percent(score.correct / score.total), view === undefined || view.secondsLeft < 0 ? none : duration(view.secondsLeft * 1000),
    ];
  };
  const doing = (workerId: string, taskIds: readonly string[]): string => {
    const task = views.flatMap((view) => view.tasks).find((each) => each.workerId === workerId && each.state === 'leased' && (each.progress?.total ?? 0) > 0);
    if (task?.progress === undefined) return taskIds.length === 0 ? none : plural(taskIds.length, 'task');
    return `${stageName(task.task?.stage ?? Stage.UNSPECIFIED)} ${task.task?.subject ?? ''}: ${integer(task.progress.done)} of ${integer(task.progress.total)} ${task.progress.unit}`;
  };
  const more = (all: number, shown: number, what: string): string[] => (all > shown ? [`and ${plural(all - shown, what)} more`] : []);
  return clip([
    `${address}: ${status.role}, term ${status.term}, ${plural(runs.filter(({ state }) => state === 'running').length, 'run')} running, ${plural(alive, 'worker')}${workers.length > alive ? `, ${workers.length - alive} lost` : ''}${status.notice === '' ? '' : `; ${plain(status.notice)}`}`,
    '',
    runs.length === 0 ? 'There are no runs yet.' : table(['run', 'state', 'iteration', 'stage', 'done', 'images/s', 'teacher', 'left'], runs.slice(0, runLines).map(runRow), [5, 6]),
    ...more(runs.length, runLines, 'run'),
    '',
    workers.length === 0 ? 'There are no workers.' : table(['worker', 'state', 'device', 'does'], workers.slice(0, workerLines).map((worker) => [worker.workerId, worker.state, worker.device, doing(worker.workerId, worker.taskIds)])),
    ...more(workers.length, workerLines, 'worker'),
  ].join('\n'), columns);
}
