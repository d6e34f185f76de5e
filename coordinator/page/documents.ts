/** What the API answers and the stream tells, as documents: the CLI's (machine.ts), with what an operator may ask of each run beside its summary. Reads only. */
import { AlumnusError } from '../../proto/errors.ts';
import { API_VERSION, pageForm } from '../../proto/machine.ts';
import type { RunSummary, TaskView } from '../../proto/gen/alumnus/v1/operator.ts';
import { Stage } from '../../proto/gen/alumnus/v1/task.ts';
import type { FleetCounts, RunsAnswer, ShardAnswer, SummaryAnswer } from '../../proto/page.ts';
import { stageName } from '../../proto/stages.ts';
import { PROJECT_DEFAULT } from '../access.ts';
import { runView, summaryOf } from '../api/index.ts';
import type { Leader } from '../leader.ts';
import { currentIteration, type RunState } from '../run/index.ts';
import { members, type Fields } from './hub.ts';
import { shardMap } from './shards.ts';

/** A page shows a stage of thousands of shards as a map: so many of its tasks are told one by one, those that failed first. */
const TASKS_TOLD_MAX = 200;

/** A run that names none is of the default one. */
export const projectOf = ({ project }: RunState): string => (project === '' ? PROJECT_DEFAULT : project);

function formOf(summary: RunSummary): SummaryAnswer {
  return pageForm(summary) as SummaryAnswer;
}

export const summaryAnswer = (leader: Leader, run: RunState): SummaryAnswer => formOf(summaryOf(leader, run));

/** Newest first. */
export const runsAnswer = (leader: Leader, runs: readonly RunState[]): RunsAnswer => ({
  apiVersion: API_VERSION, kind: 'RunList', runs: runs.map((run) => summaryAnswer(leader, run)).sort((a, b) => b.submittedAtMs - a.submittedAtMs), notice: leader.notice,
});

/** As JSON: a run's fields, as its stream tells them. */
export const runDocument = (fields: Fields, nowMs: number): string => `{"apiVersion":"${API_VERSION}","kind":"Run","nowMs":${nowMs},${members(fields)}}`;


/** Those that failed first, then trainings and the like before shards. */
const toldOf = (tasks: readonly TaskView[]): readonly TaskView[] =>
  (tasks.length <= TASKS_TOLD_MAX ? tasks : [...tasks].sort((a, b) => b.failures - a.failures || Number(a.task?.stage === Stage.LABEL) - Number(b.task?.stage === Stage.LABEL)).slice(0, TASKS_TOLD_MAX));

/** @throws AlumnusError USAGE (no such shard in the run's stage) */
export function shardAnswer(leader: Leader, run: RunState, subject: string): ShardAnswer {
  const cell = shardMap(leader, run).cells.get(subject);
  if (cell === undefined) throw new AlumnusError('USAGE', 'the run\'s stage has no such shard', { where: subject });
  const task = leader.scheduler.tasksOf(run.runId).find(({ task: each }) => each.subject === subject && each.stage === run.stage)?.task;
  const failure = task === undefined ? undefined : run.failures.get(task.taskId)?.at(-1);
  const reason = currentIteration(run).quarantined.get(subject) ?? (failure === undefined ? undefined : `${failure.code}: ${failure.message}`);
  const samples = run.data.unlabeled?.shards.find(({ name }) => name === subject)?.samples ?? 0;
  return { apiVersion: API_VERSION, kind: 'Shard', runId: run.runId, subject, samples, ...(task === undefined ? {} : { taskId: task.taskId }), ...(reason === undefined ? {} : { reason }) };
}

const json = (value: unknown): string => JSON.stringify(value) ?? 'null';

export const fieldsOf = (value: object): Fields => new Map(Object.entries(value).filter(([, field]) => field !== undefined).map(([key, field]) => [key, json(field)]));

/** Scores by class are of a run by itself: of many runs with many classes they would be most of what is told. */
export const runsFields = (leader: Leader, runs: readonly RunState[]): Fields => new Map(runs.map((run) => {
  const summary = summaryAnswer(leader, run);
  const { teacherValidation: score } = summary;
  return [run.runId, json(score === undefined ? summary : { ...summary, teacherValidation: { ...score, classes: [] } })];
}));

/** Data and recipes of a run stay, and are large. */
const encodedOnce = new WeakMap<RunState['recipe'], { readonly data: RunState['data']; readonly json: string; readonly recipe: string }>();

/** @param all its tasks are told, however many */
export function runFields(leader: Leader, run: RunState, storeUrl: string, all = false): Fields {
  const { summary, data, recipeJson, nowMs: _now, tasks, ...view } = runView(leader, run, storeUrl);
  let once = encodedOnce.get(run.recipe);
  if (once?.data !== run.data) encodedOnce.set(run.recipe, once = { data: run.data, json: json(pageForm(data)), recipe: recipeJson });
  const told = all ? tasks : toldOf(tasks);
  const fields = new Map(fieldsOf(pageForm(view) as object));
  fields.set('summary', json(summary === undefined ? summaryAnswer(leader, run) : formOf(summary)));
  fields.set('tasks', json(pageForm(told)));
  fields.set('tasksUntold', String(tasks.length - told.length));
  fields.set('data', once.json);
  fields.set('recipe', once.recipe);
  return fields;
}

/** A field beside the shards, which no shard is called. */
const PLACE = ' place';

/** As JSON: a stage's shards, as its stream tells them. */
export function shardsDocument(runId: string, fields: Fields): string {
  const { iteration, stage } = JSON.parse(fields.get(PLACE) ?? '{}') as { iteration: number; stage: string };
  const cells = [...fields].filter(([name]) => name !== PLACE);
  return `{"apiVersion":"${API_VERSION}","kind":"ShardMap","runId":${json(runId)},"iteration":${iteration},"stage":${json(stage)},"cells":{${members(cells)}}}`;
}

export function shardFields(leader: Leader, run: RunState, at = run.iteration): Fields {
  const { iteration, stage, cells } = shardMap(leader, run, at);
  const fields = new Map([[PLACE, json({ iteration, stage: stageName(stage) })]]);
  for (const [name, cell] of cells) fields.set(name, json(cell));
  return fields;
}

export const fleetFields = (counts: FleetCounts): Fields => fieldsOf(counts);
