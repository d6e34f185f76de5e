/**
 * Journals of earlier releases fold to what they meant then. The files in `journals` were recorded by the release that
 * their name tells and are never written anew: `events` are its facts, `summaries` what it made of them.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { currentIteration, decide, evolve, openTasks, type RunState } from '../../../coordinator/run/index.ts';
import { Event } from '../../../proto/gen/alumnus/v1/events.ts';
import { stageName } from '../../../proto/stages.ts';
import { answer } from './work.ts';

interface Recorded {
  readonly events: unknown[];
  readonly summaries: Readonly<Record<string, unknown>>;
}

/** Before budgets and class coverage: recipes of that time have neither field. */
const beforeBudgets = JSON.parse(readFileSync(join(import.meta.dirname, 'journals', 'before-budgets.json'), 'utf8')) as Recorded;

function foldAll(events: readonly unknown[]): Map<string, RunState> {
  const runs = new Map<string, RunState>();
  for (const each of events) {
    const event = Event.fromJSON(each);
    runs.set(event.runId, evolve(runs.get(event.runId), event));
  }
  return runs;
}

/** What the recording release told of a run: where it stands, what counts, and which tasks wait. A task's id covers all that goes into it. */
function summaryOf(state: RunState): object {
  const current = currentIteration(state);
  return {
    phase: state.phase, reason: state.reason, iteration: state.iteration, stage: stageName(state.stage), try: state.try, gates: state.gates,
    submittedAtMs: state.submittedAtMs, endedAtMs: state.endedAtMs,
    teacher: state.teacher?.model.sha256 ?? '', promoted: state.promoted.map((each) => each.iteration), best: state.best?.iteration ?? -1,
    labels: [...current.labels.keys()].sort(), quarantined: [...current.quarantined.keys()].sort(), refusedTries: state.refusedTries.length,
    failures: Object.fromEntries([...state.failures].map(([taskId, failures]) => [taskId, failures.map((each) => `${each.workerId} ${each.code}`)])),
    control: state.control.evaluation !== undefined, open: openTasks({ ...state, phase: state.phase === 'paused' ? 'running' : state.phase }).map((task) => task.taskId),
  };
}

describe('a journal from before budgets and class coverage', () => {
  const runs = (): Map<string, RunState> => foldAll(beforeBudgets.events);
  const run = (runId: string): RunState => {
    const state = runs().get(runId);
    if (state === undefined) throw new Error(`the recording holds no run ${runId}`);
    return state;
  };

  test('folds to what it told then: the same standing, the same open tasks, id by id', () => {
    expect(beforeBudgets.events.length).toBeGreaterThan(50);
    // Through JSON, as the recording went.
    expect(JSON.parse(JSON.stringify(Object.fromEntries([...runs()].map(([runId, state]) => [runId, summaryOf(state)]))))).toEqual(beforeBudgets.summaries);
  });

  test('a run that lost a shard goes on with a class of few labels, as it would have then', () => {
    const state = run('selecting');
    const [task] = openTasks(state);
    if (task === undefined) throw new Error('the recorded run waits for its selection');
    const result = answer(task);
    if (result.result?.$case !== 'select') throw new Error('the recorded run waits for its selection');
    const [thin, ...others] = result.result.value.classes;
    const classes = [{ ...thin, class: 0, eligible: 1, kept: 1, rows: 1, labeled: 1 }, ...others.map((each) => ({ ...each, eligible: 5_000 }))];
    const decided = decide(state, { kind: 'complete', task, workerId: 'w1', result: { ...result, result: { $case: 'select', value: { ...result.result.value, classes } } } }, state.stageEnteredAtMs);
    expect([decided.state.phase, stageName(decided.state.stage)]).toEqual(['running', 'train']);
  });

  test('a run that paused for its quarantined shards takes them up again when it is resumed', () => {
    const resumed = decide(run('paused'), { kind: 'resume' }, 1_760_009_999_000);
    expect(resumed.events.map((event) => event.fact?.$case)).toEqual(['runResumed']);
    expect(openTasks(resumed.state).map((task) => task.subject)).toEqual(['shard-00001', 'shard-00002']);
  });
});
