/** One run in words, for `run describe`. */
import type { Budget, RunView } from '../proto/gen/alumnus/v1/operator.ts';
import type { CorruptedPart, PartRef } from '../proto/gen/alumnus/v1/task.ts';
import { stageName } from '../proto/stages.ts';
import { confidenceSummary } from './confidence.ts';
import { driftSummary } from './drift.ts';
import { duration, instant, integer, none, percent, shortDigest } from './format.ts';
import { nearDuplicatesText, reviewsText } from './left-out.ts';
import { facts, table } from './output.ts';
import { roundText } from './progress/view.ts';
import { nextStep } from './remedy.ts';
import { robustnessSummary } from './robustness.ts';
import { summaryText } from './summary.ts';

const part = (ref: PartRef | undefined): string =>
  ref === undefined || ref.samples === 0 ? none : `${integer(ref.samples)} images, ${ref.dataset}, manifest ${shortDigest(ref.manifestSha256)}`;

const corruptedText = (parts: readonly CorruptedPart[] | undefined): string => {
  const [first] = parts ?? [];
  return first?.validation === undefined ? '' : `${integer(parts?.length ?? 0)} datasets, the first ${first.validation.dataset}, manifest ${shortDigest(first.validation.manifestSha256)}`;
};

const MS_PER_HOUR = 3_600_000;

/** Of a limit of hours and what is spent of it: the time spent, and the limit where there is one. */
const spentText = (spentHours: number, limitHours: number): string =>
  `${duration(spentHours * MS_PER_HOUR)} ${limitHours === 0 ? 'spent, no limit' : `of ${limitHours} h spent (${percent(spentHours / limitHours)})`}`;

export const budgetFacts = (budget: Budget | undefined): [string, string][] => (budget === undefined ? [] : [
  ['Device time', spentText(budget.deviceHoursSpent, budget.deviceHoursLimit)],
  ['Wall time', spentText(budget.wallHoursSpent, budget.wallHoursLimit)],
]);

export function describeRun(view: RunView, columns: number): string {
  const { summary, data } = view;
  const running = summary?.state === 'running' || summary?.state === 'paused';
  const sections = [
    facts([
      ['Run', summary?.runId ?? ''],
      ['State', `${summary?.state ?? ''}${summary?.reason ? `: ${summary.reason}` : ''}`],
      ['What to do', nextStep(summary)],
      ['Iteration', `${summary?.iteration ?? 0} of ${summary?.rounds ?? 0}${running && summary !== undefined ? `, ${stageName(summary.stage)}, ${view.stageDone} of ${view.stageTotal} tasks done` : ''}`],
      ...view.sharedTrainings.map((training): [string, string] => [training.subject === 'student' ? 'Training' : training.subject === 'control' ? 'Control' : training.subject, roundText(training)]),
      ['Submitted', instant(summary?.submittedAtMs ?? 0)],
      ['Ended', instant(summary?.endedAtMs ?? 0)],
      ['Took', duration(((summary?.endedAtMs || view.nowMs) ?? 0) - (summary?.submittedAtMs ?? 0))],
      ['Time left', running && view.secondsLeft >= 0 ? `about ${duration(view.secondsLeft * 1000)}` : ''],
      ...budgetFacts(view.budget),
      ['Labeled', part(data?.labeled)],
      ['Unlabeled', part(data?.unlabeled)],
      ['Validation', part(data?.validation)],
      ['Test', part(data?.test)],
      ['Near-duplicates', nearDuplicatesText(view.nearDuplicates)],
      ['Reviewed', reviewsText(view.reviews)],
      ['Corrupted', corruptedText(data?.corrupted?.parts)],
      ['Store', view.storeUrl],
      ['Best model', view.bestModel === undefined ? '' : `iteration ${view.bestIteration}, sha256 ${view.bestModel.sha256}`],
    ]),
    summaryText(view, columns, true),
    confidenceSummary(view),
    driftSummary(view),
    robustnessSummary(view),
  ];
  const open = view.tasks.filter((task) => task.state !== 'done');
  if (running && open.length > 0) {
    sections.push(table(
      ['task', 'state', 'worker', 'progress', 'failures', 'last error'],
      open.map((task) => [
        `${stageName(task.task?.stage ?? 0)} ${task.task?.subject ?? ''}`, task.state, task.workerId || none,
        task.progress !== undefined && task.progress.total > 0 ? `${integer(task.progress.done)} of ${integer(task.progress.total)} ${task.progress.unit}` : none,
        String(task.failures), task.lastError === '' ? '' : `${task.lastErrorWorkerId === '' ? '' : `on ${task.lastErrorWorkerId}: `}${task.lastError}`,
      ]),
      [4],
    ));
  }
  return sections.filter((section) => section !== '').join('\n\n');
}
