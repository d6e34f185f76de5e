/** What holds of a run for any sequence of commands, sensible or not: completions in any order, twice, late, of other tries. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { AlumnusError } from '../../proto/errors.ts';
import type { Event } from '../../proto/gen/alumnus/v1/events.ts';
import { Stage, type Task } from '../../proto/gen/alumnus/v1/task.ts';
import { currentIteration, decide, evolve, isEnded, openTasks, type Command, type RunState } from '../../coordinator/run/index.ts';
import type { Recipe } from '../../recipe/index.ts';
import { answer, fold, makeData, makeRecipe, type AnswerWishes } from '../unit/coordinator/work.ts';

const RUNS = 60;

interface Step {
  readonly kind: 'complete' | 'late' | 'fail' | 'pause' | 'resume' | 'cancel';
  /** Which of the open (or once open) tasks. */
  readonly which: number;
  readonly worker: number;
  readonly counts: boolean;
  readonly better: number;
  readonly worse: number;
  readonly right: number;
  readonly testRight: number;
}

const step = fc.record<Step>({
  // Progress outweighs disturbance, or few runs would come to their decisions.
  kind: fc.oneof({ weight: 200, arbitrary: fc.constant('complete' as const) }, { weight: 30, arbitrary: fc.constant('late' as const) }, { weight: 30, arbitrary: fc.constant('fail' as const) }, { weight: 10, arbitrary: fc.constant('pause' as const) }, { weight: 25, arbitrary: fc.constant('resume' as const) }, { weight: 1, arbitrary: fc.constant('cancel' as const) }),
  which: fc.nat(50), worker: fc.nat(4), counts: fc.boolean(), better: fc.nat(40), worse: fc.nat(40), right: fc.integer({ min: 700, max: 900 }), testRight: fc.integer({ min: 0, max: 1000 }),
});

const recipe: fc.Arbitrary<Recipe> = fc.record({
  rounds: fc.nat(3), control: fc.boolean(), share: fc.constantFrom(0, 0.3, 1), attempts: fc.integer({ min: 1, max: 3 }),
  wish: fc.constantFrom('keep-teacher' as const, 'retry' as const, 'stop' as const, 'wait' as const), require: fc.constantFrom('not-worse' as const, 'better' as const), tries: fc.integer({ min: 1, max: 3 }),
}).map((drawn) => makeRecipe({ rounds: drawn.rounds, control: drawn.control, promotion: { on_refusal: drawn.wish, require: drawn.require, tries_max: drawn.tries }, tolerance: { quarantined_share: drawn.share, attempts: drawn.attempts } }));

const scenario = fc.record({ recipe, shards: fc.integer({ min: 1, max: 6 }), truth: fc.boolean(), steps: fc.array(step, { minLength: 1, maxLength: 80 }) });

interface Played {
  readonly events: Event[];
  readonly state: RunState;
  /** Each command that was taken, with the state before and after it. */
  readonly taken: { command: Command; before: RunState; after: RunState; events: Event[] }[];
  readonly refusedAfterEnd: number;
}

function play({ recipe: wanted, shards, truth, steps }: { recipe: Recipe; shards: number; truth: boolean; steps: readonly Step[] }, testRight: (step: Step) => number = (each) => each.testRight): Played {
  let { state, events } = decide(undefined, { kind: 'submit', runId: 'run', recipe: wanted, data: makeData({ shards, truth }) }, 0);
  const taken: Played['taken'] = [];
  const known: Task[] = [];
  let refusedAfterEnd = 0;
  for (const [index, each] of steps.entries()) {
    const open = openTasks({ ...state, phase: 'running' });
    for (const task of open) if (!known.some((before) => before.taskId === task.taskId)) known.push(task);
    const among = each.kind === 'late' || open.length === 0 ? known : open;
    const task = among[each.which % among.length] as Task;
    const wishes: AnswerWishes = { studentOnlyRight: each.better, teacherOnlyRight: each.worse, validationRight: each.right, testRight: testRight(each), salt: String(index) };
    const workerId = `w${each.worker}`;
    const command: Command = each.kind === 'complete' || each.kind === 'late' ? { kind: 'complete', task, workerId, result: answer(task, wishes) }
      : each.kind === 'fail' ? { kind: 'fail', task, workerId, code: 'ENGINE_CRASHED', message: 'died', counts: each.counts, fleet: 5, heldMs: 0 }
        : each.kind === 'resume' ? { kind: 'resume' } : { kind: each.kind, reason: 'asked for' };
    try {
      const decided = decide(state, command, index + 1);
      taken.push({ command, before: state, after: decided.state, events: decided.events });
      events = [...events, ...decided.events];
      state = decided.state;
    } catch (thrown) {
      if (!(thrown instanceof AlumnusError)) throw thrown;
      if (isEnded(state.phase)) refusedAfterEnd += 1;
    }
  }
  return { events, state, taken, refusedAfterEnd };
}

describe('a run, whatever comes', () => {
  test('its facts folded from scratch, or from any point on, give its state', () => {
    fc.assert(fc.property(scenario, fc.nat(), (drawn, cut) => {
      const { events, state } = play(drawn);
      expect(fold(events)).toEqual(state);
      const at = 1 + (cut % events.length);
      const snapshot = fold(events.slice(0, at));
      expect(events.slice(at).reduce<RunState | undefined>((folded, event) => evolve(folded, event), snapshot)).toEqual(state);
    }), { numRuns: RUNS });
  });

  test('no task is accepted twice, and no shard has two labels by one teacher', () => {
    fc.assert(fc.property(scenario, (drawn) => {
      const accepted = new Set<string>();
      const labels = new Set<string>();
      for (const { command, before } of play(drawn).taken) {
        if (command.kind !== 'complete') continue;
        expect(accepted.has(command.task.taskId)).toBe(false);
        accepted.add(command.task.taskId);
        if (command.task.stage !== Stage.LABEL) continue;
        const label = `${currentIteration(before).teacher?.sha256}/${command.task.subject}`;
        expect(labels.has(label)).toBe(false);
        labels.add(label);
      }
    }), { numRuns: RUNS });
  });

  test('a selection reads exactly the accepted shards that are not quarantined, with the digests that were accepted first', () => {
    let selections = 0;
    fc.assert(fc.property(scenario, (drawn) => {
      const accepted = new Map<string, string>();
      for (const { command, before, after } of play(drawn).taken) {
        if (command.kind === 'complete' && command.result.result?.$case === 'label') accepted.set(`${currentIteration(before).teacher?.sha256}/${command.task.subject}`, command.result.result.value.labels?.sha256 ?? '');
        const [select] = after.stage === Stage.SELECT ? openTasks({ ...after, phase: 'running' }) : [];
        if (select?.spec?.$case !== 'select') continue;
        selections += 1;
        const { teacher, quarantined } = currentIteration(after);
        const expected = Array.from({ length: drawn.shards }, (_, index) => `shard-${String(index).padStart(5, '0')}`).filter((shard) => !quarantined.has(shard)).map((shard) => [shard, accepted.get(`${teacher?.sha256}/${shard}`)]);
        expect(select.spec.value.shards.map((each) => [each.shard, each.labels?.sha256])).toEqual(expected);
      }
    }), { numRuns: RUNS });
    expect(selections).toBeGreaterThan(0);
  });

  test('the test split decides nothing: other test scores, the same facts', () => {
    const withoutTest = (events: readonly Event[]): unknown => JSON.parse(JSON.stringify(events, (key, value: unknown) => (key === 'test' ? undefined : value)));
    let decisions = 0;
    fc.assert(fc.property(scenario, fc.integer({ min: 1, max: 999 }), (drawn, shift) => {
      const [one, other] = [play(drawn), play(drawn, (each) => (each.testRight + shift) % 1001)];
      expect(withoutTest(other.events)).toEqual(withoutTest(one.events));
      decisions += one.events.filter((event) => event.fact?.$case === 'studentPromoted' || event.fact?.$case === 'studentRefused').length;
    }), { numRuns: RUNS });
    expect(decisions).toBeGreaterThan(0);
  });

  test('an ended run takes nothing', () => {
    let refused = 0;
    fc.assert(fc.property(scenario, (drawn) => {
      const { taken, refusedAfterEnd } = play(drawn);
      for (const { before } of taken) expect(isEnded(before.phase)).toBe(false);
      refused += refusedAfterEnd;
    }), { numRuns: RUNS });
    expect(refused).toBeGreaterThan(0);
  });

  test('an open task is taken and a closed one refused: openTasks and decide agree', () => {
    fc.assert(fc.property(scenario, (drawn) => {
      for (const { command, before, after } of play(drawn).taken) {
        if (command.kind !== 'complete' && command.kind !== 'fail') continue;
        expect(openTasks({ ...before, phase: 'running' }).some((task) => task.taskId === command.task.taskId)).toBe(true);
        if (command.kind === 'complete') expect(openTasks({ ...after, phase: 'running' }).some((task) => task.taskId === command.task.taskId)).toBe(false);
      }
    }), { numRuns: RUNS });
  });

  test('a running run waits for a task, or for nothing but its control', () => {
    fc.assert(fc.property(scenario, (drawn) => {
      const { state } = play(drawn);
      if (state.phase === 'running') expect(openTasks(state).length).toBeGreaterThan(0);
    }), { numRuns: RUNS });
  });

  test('alpha is divided by the gates so far, and each gate is counted once', () => {
    fc.assert(fc.property(scenario, (drawn) => {
      const { events, state } = play(drawn);
      const gates = events.flatMap((event) => (event.fact?.$case === 'studentPromoted' || event.fact?.$case === 'studentRefused') && event.fact.value.gate !== undefined ? [event.fact.value.gate] : []);
      expect(state.gates).toBe(gates.length);
      for (const [index, gate] of gates.entries()) expect(gate.alpha).toBeCloseTo(drawn.recipe.promotion.alpha / (index + 1), 12);
    }), { numRuns: RUNS });
  });
});
