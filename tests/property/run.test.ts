/** What holds of a run for any sequence of commands, sensible or not: completions in any order, twice, late, of other tries. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { AlumnusError } from '../../proto/errors.ts';
import type { Event } from '../../proto/gen/alumnus/v1/events.ts';
import { Stage, type Task } from '../../proto/gen/alumnus/v1/task.ts';
import { currentIteration, decide, evolve, guardRules, isBudgetDue, isDue, isEnded, labelThreshold, openTasks, pauseRules, shareAtLeast, skewedClasses, spentBudget, thresholdOf, wallMsSpent, type Command, type RunState } from '../../coordinator/run/index.ts';
import type { Recipe } from '../../recipe/index.ts';
import { answer, fold, makeData, makeRecipe, type AnswerWishes } from '../unit/coordinator/work.ts';

const RUNS = 60;
const MINUTE_MS = 60_000;

interface Step {
  readonly kind: 'complete' | 'late' | 'fail' | 'pause' | 'resume' | 'cancel' | 'clock' | 'budget';
  /** Which of the open (or once open) tasks. */
  readonly which: number;
  readonly worker: number;
  readonly counts: boolean;
  readonly better: number;
  readonly worse: number;
  readonly right: number;
  readonly testRight: number;
  /** Of the first class; the others have hundreds. */
  readonly eligible: number;
  /** Of an evaluation, in thousandths. */
  readonly calibrationError: number;
  /** Of validation, those of the first class, of 1,000. */
  readonly truth: number;
  /** Since the step before. */
  readonly minutes: number;
  /** Device time of a result, of a failed attempt, or of attempts in flight, whichever the step has. */
  readonly deviceMinutes: number;
  readonly deviceHours: number | undefined;
  readonly wallHours: number | undefined;
  /** Workers that live; undefined where whoever says it does not know. */
  readonly fleet: number | undefined;
}

/** How often each kind of step is drawn. Progress outweighs disturbance, or few runs would come to their decisions. */
const usual: Readonly<Record<Step['kind'], number>> = { complete: 200, late: 30, fail: 30, pause: 10, resume: 25, cancel: 1, clock: 20, budget: 12 };

const stepOf = (weights: Readonly<Record<Step['kind'], number>>): fc.Arbitrary<Step> => fc.record<Step>({
  kind: fc.oneof(...Object.entries(weights).map(([kind, weight]) => ({ weight, arbitrary: fc.constant(kind as Step['kind']) }))),
  which: fc.nat(50), worker: fc.nat(4), counts: fc.boolean(), better: fc.nat(40), worse: fc.nat(40), right: fc.integer({ min: 700, max: 900 }), testRight: fc.integer({ min: 0, max: 1000 }),
  eligible: fc.integer({ min: 1, max: 60 }), calibrationError: fc.nat(600), truth: fc.integer({ min: 0, max: 1000 }), minutes: fc.nat(40), deviceMinutes: fc.nat(60), deviceHours: fc.option(fc.nat(12), { nil: undefined }), wallHours: fc.option(fc.nat(20), { nil: undefined }), fleet: fc.option(fc.nat(5), { nil: undefined }),
});

const recipe: fc.Arbitrary<Recipe> = fc.record({
  rounds: fc.nat(3), control: fc.boolean(), share: fc.constantFrom(0, 0.3, 1), attempts: fc.integer({ min: 1, max: 3 }),
  wish: fc.constantFrom('keep-teacher' as const, 'retry' as const, 'stop' as const, 'wait' as const), require: fc.constantFrom('not-worse' as const, 'better' as const), tries: fc.integer({ min: 1, max: 3 }),
  coverage: fc.constantFrom(0, 0.1, 0.5), precision: fc.option(fc.constantFrom(0.8, 0.9, 0.97), { nil: undefined }), least: fc.constantFrom(0, 0.1, 0.5), most: fc.constantFrom(0.4, 0.5, 1), error: fc.constantFrom(0.1, 0.5, 1), deviceHours: fc.constantFrom(0, 0, 2, 6), wallHours: fc.constantFrom(0, 0, 3, 10),
  replicas: fc.constantFrom(1, 1, 2, 'auto' as const),
}).map((drawn) => makeRecipe({ training: { replicas: drawn.replicas, sharing: { local_steps: 1_000, quorum: 0.5 } }, rounds: drawn.rounds, control: drawn.control, labels: { ...(drawn.precision === undefined ? {} : { precision: drawn.precision }) }, guards: { class_share_least: drawn.least, class_share_most: drawn.most, calibration_error_most: drawn.error }, promotion: { on_refusal: drawn.wish, require: drawn.require, tries_max: drawn.tries }, tolerance: { quarantined_share: drawn.share, attempts: drawn.attempts, class_coverage: drawn.coverage }, budget: { device_hours: drawn.deviceHours, wall_hours: drawn.wallHours } }));

const scenarioOf = (recipes: fc.Arbitrary<Recipe>, weights: Readonly<Record<Step['kind'], number>>, stepsMin = 1) =>
  fc.record({ recipe: recipes, shards: fc.integer({ min: 1, max: 6 }), truth: fc.boolean(), steps: fc.array(stepOf(weights), { minLength: stepsMin, maxLength: 80 }) });
const scenario = scenarioOf(recipe, usual);
/** What is rare in a run comes about only in long ones. */
const LONG_STEPS_MIN = 60;
/** Budgets that are soon spent and often changed, of runs that lose shards. */
const scarce = scenarioOf(recipe.map((each) => ({ ...each, budget: { device_hours: 2, wall_hours: 5 }, tolerance: { quarantined_share: 1, attempts: 1, class_coverage: 0.1 } })), { ...usual, fail: 60, late: 5, cancel: 0, budget: 80, clock: 40 }, LONG_STEPS_MIN);
/** Shards that are soon lost, and no budget that would stop the run before its selections. */
const lossy = scenarioOf(recipe.map((each) => ({ ...each, rounds: 2, budget: { device_hours: 0, wall_hours: 0 }, tolerance: { quarantined_share: 1, attempts: 1, class_coverage: 0.5 } })), { ...usual, fail: 60, late: 5, cancel: 0, budget: 0 }, LONG_STEPS_MIN);

/** Guards that find something in most of what comes, and runs long enough to meet all of them. */
const guarded = scenarioOf(recipe.map((each) => ({ ...each, rounds: 2, budget: { device_hours: 0, wall_hours: 0 }, labels: { ...each.labels, threshold: undefined, precision: 0.97 }, guards: { class_share_least: 0.5, class_share_most: 0.5, calibration_error_most: 0.3 } })), { ...usual, fail: 5, late: 5, pause: 5, resume: 80, cancel: 0, budget: 0 }, LONG_STEPS_MIN);

/** Every training shared, in rounds of whatever length; replicas that are soon given up, and ticks at which stragglers are left out. */
const shared = scenarioOf(fc.record({ recipe, replicas: fc.constantFrom(1, 2, 3, 4, 'auto' as const), steps: fc.integer({ min: 1, max: 60 }), localSteps: fc.integer({ min: 5, max: 40 }), quorum: fc.constantFrom(0.01, 0.5, 0.55, 0.75, 1), wait: fc.constantFrom(0, 0.5, 3) }).map((drawn) => makeRecipe({
  rounds: 1, control: drawn.recipe.control, tolerance: { attempts: 1 }, labels: { balance: 'none' }, guards: { class_share_least: 0, class_share_most: 1, calibration_error_most: 1 },
  training: { replicas: drawn.replicas, teacher: { steps: drawn.steps }, student: { steps: drawn.steps }, sharing: { local_steps: drawn.localSteps, quorum: drawn.quorum, straggler_wait: drawn.wait } },
})), { ...usual, cancel: 0, budget: 0, clock: 60 }, LONG_STEPS_MIN);
/** Runs with comparisons of every kind beside their stages, and, in half of them, all of it measured last. */
const compared = fc.boolean().chain((compress) => scenarioOf(recipe.map((each) => makeRecipe({ ...each, ...(compress ? { compress: {} } : {}), rounds: Math.max(1, each.rounds), comparisons: [{ name: 'alone', labels: 'none' }, { name: 'again' }, { name: 'truth', labels: 'truth' }] })), { ...usual, cancel: 0 }, LONG_STEPS_MIN));
/** Models that are fine-tuned, in runs that come to their decisions. */
const tuned = fc.boolean().chain((teaches) => scenarioOf(recipe.map((each) => ({ ...each, rounds: 2, budget: { device_hours: 0, wall_hours: 0 }, training: { ...each.training, fine_tune: { steps: 50, batch_labeled: 8, freeze: 0.5, teaches } } })), { ...usual, fail: 10, pause: 5, cancel: 0, budget: 0 }, LONG_STEPS_MIN));

interface Played {
  readonly events: Event[];
  readonly state: RunState;
  /** Each command that was taken, with the state before and after it. */
  readonly taken: { command: Command; before: RunState; after: RunState; events: Event[]; nowMs: number }[];
  /** Every task that was ever open. */
  readonly known: Task[];
  readonly refusedAfterEnd: number;
}

type Scenario = { recipe: Recipe; shards: number; truth: boolean; steps: readonly Step[] };

/** @param changed what a worker measures instead, of a task and as its step has it */
function play({ recipe: wanted, shards, truth, steps }: Scenario, testRight: (step: Step) => number = (each) => each.testRight, changed: (task: Task) => AnswerWishes = () => ({})): Played {
  let { state, events } = decide(undefined, { kind: 'submit', runId: 'run', recipe: wanted, data: makeData({ shards, truth, corrupted: wanted.data.corrupted === undefined ? [] : ['fog', 'shear', 'rotate_sequence'] }), fleet: 2 }, 0);
  const taken: Played['taken'] = [];
  const known: Task[] = [];
  let refusedAfterEnd = 0;
  let nowMs = 0;
  for (const [index, each] of steps.entries()) {
    const open = openTasks({ ...state, phase: 'running' });
    for (const task of open) if (!known.some((before) => before.taskId === task.taskId)) known.push(task);
    const among = each.kind === 'late' || open.length === 0 ? known : open;
    const task = among[each.which % among.length] as Task;
    nowMs += each.minutes * MINUTE_MS;
    const deviceMs = each.deviceMinutes * MINUTE_MS;
    const wishes: AnswerWishes = { deviceMs, eligible: [each.eligible, 400, 400], truth: [each.truth, 500 - Math.floor(each.truth / 2), 500 - Math.ceil(each.truth / 2)], calibrationError: each.calibrationError / 1000, studentOnlyRight: each.better, teacherOnlyRight: each.worse, validationRight: each.right, testRight: testRight(each), salt: String(index), ...changed(task) };
    const workerId = `w${each.worker}`;
    const said: Command = each.kind === 'complete' || each.kind === 'late' ? { kind: 'complete', task, workerId, result: answer(task, wishes) }
      : each.kind === 'fail' ? { kind: 'fail', task, workerId, code: 'ENGINE_CRASHED', message: 'died', counts: each.counts, fleet: 5, heldMs: deviceMs }
        : each.kind === 'resume' ? { kind: 'resume', inFlightMs: deviceMs } : each.kind === 'clock' ? { kind: 'clock', inFlightMs: deviceMs }
          : each.kind === 'budget' ? { kind: 'budget', deviceHours: each.deviceHours, wallHours: each.wallHours, inFlightMs: deviceMs } : { kind: each.kind, reason: 'asked for' };
    const command: Command = said.kind === 'fail' ? said : { ...said, fleet: each.fleet };
    try {
      const decided = decide(state, command, nowMs);
      taken.push({ command, before: state, after: decided.state, events: decided.events, nowMs });
      events = [...events, ...decided.events];
      state = decided.state;
    } catch (thrown) {
      if (!(thrown instanceof AlumnusError)) throw thrown;
      if (isEnded(state.phase)) refusedAfterEnd += 1;
    }
  }
  return { events, state, taken, known, refusedAfterEnd };
}

describe('a run whose models are fine-tuned, whatever comes', () => {
  const otherOf = ({ training }: Recipe): string => (training.fine_tune?.teaches === true ? 'student' : 'student.fine-tuned');

  test('its facts folded from scratch give its state; a stage is left when both models are trained, and evaluated', () => {
    let promotions = 0;
    fc.assert(fc.property(tuned, (drawn) => {
      const { events, state, taken } = play(drawn);
      expect(fold(events)).toEqual(state);
      for (const { events: facts, before, after } of taken) {
        for (const { fact } of facts) {
          if (fact?.$case === 'stageEntered' && fact.value.stage === Stage.EVALUATE) {
            const { student, fineTuned } = after.iterations[fact.value.iteration]!;
            expect([student, fineTuned]).not.toContain(undefined);
          }
          if (fact?.$case !== 'studentPromoted') continue;
          promotions += 1;
          const { student, fineTuned, evaluation, fineTunedEvaluation } = after.iterations[fact.value.iteration]!;
          expect([evaluation, fineTunedEvaluation]).not.toContain(undefined);
          expect(fact.value.model?.sha256).toBe((drawn.recipe.training.fine_tune?.teaches === true ? fineTuned : student)?.result.model?.sha256);
        }
        const begun = openTasks({ ...before, phase: 'running' }).filter((task) => task.subject === 'student.fine-tuned' && task.spec?.$case === 'train');
        for (const task of begun) expect(task.spec?.$case === 'train' ? task.spec.value.begin?.sha256 : '').toBe(currentIteration(before).student?.result.model?.sha256);
      }
    }), { numRuns: RUNS });
    expect(promotions).toBeGreaterThan(0);
  });

  test('the model that does not teach decides nothing: whatever is measured of it, the same decisions', () => {
    let gates = 0;
    const decisions = (played: Played): unknown[] => played.events.map(({ fact }) => (fact?.$case === 'taskCompleted' ? [fact.value.place, fact.value.result?.result?.$case === 'evaluate' ? undefined : fact.value.result] : fact));
    fc.assert(fc.property(tuned, (drawn) => {
      const other = otherOf(drawn.recipe);
      const one = play(drawn);
      const another = play(drawn, undefined, (task) => (task.subject === other && task.stage === Stage.EVALUATE ? { validationRight: 1000, testRight: 1, calibrationError: 0.9, studentOnlyRight: 40, teacherOnlyRight: 0 } : {}));
      gates += one.state.gates;
      expect(decisions(another)).toEqual(decisions(one));
    }), { numRuns: RUNS });
    expect(gates).toBeGreaterThan(0);
  });
});

describe('a run, whatever comes', () => {
  test('its facts folded from scratch, or from any point on, give its state', () => {
    fc.assert(fc.property(fc.oneof(scenario, compared), fc.nat(), (drawn, cut) => {
      const { events, state } = play(drawn);
      expect(fold(events)).toEqual(state);
      const at = 1 + (cut % events.length);
      const snapshot = fold(events.slice(0, at));
      expect(events.slice(at).reduce<RunState | undefined>((folded, event) => evolve(folded, event), snapshot)).toEqual(state);
    }), { numRuns: RUNS });
  });

  test('no task is accepted twice, and no shard has two labels by one teacher', () => {
    fc.assert(fc.property(fc.oneof(scenario, compared), (drawn) => {
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
    // Of short runs with budgets few come to a selection, and now and then none of all that are drawn.
    fc.assert(fc.property(fc.oneof(scenario, lossy), (drawn) => {
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
    fc.assert(fc.property(fc.oneof(scenario, compared), fc.integer({ min: 1, max: 999 }), (drawn, shift) => {
      const [one, other] = [play(drawn), play(drawn, (each) => (each.testRight + shift) % 1001)];
      expect(withoutTest(other.events)).toEqual(withoutTest(one.events));
      decisions += one.events.filter((event) => event.fact?.$case === 'studentPromoted' || event.fact?.$case === 'studentRefused').length;
    }), { numRuns: RUNS });
    expect(decisions).toBeGreaterThan(0);
  });

  test('nor do corruptions of the test split, while those of validation refuse students', () => {
    const robust = scenarioOf(recipe.map((each) => ({ ...each, rounds: 2, data: { ...each.data, corrupted: 'digits-c' }, promotion: { ...each.promotion, corruption_error_most: 1 } })), usual, LONG_STEPS_MIN);
    const withoutTest = (events: readonly Event[]): unknown => JSON.parse(JSON.stringify(events, (key, value: unknown) => (key === 'test' ? undefined : value)));
    const drawn = (task: Task): number => Number.parseInt(task.taskId.slice(-3), 16) % 1001;
    let [fragile, sturdy] = [0, 0];
    fc.assert(fc.property(robust, fc.integer({ min: 1, max: 999 }), (scene, shift) => {
      const [one, other] = [0, shift].map((by) => play(scene, (each) => (each.testRight + by) % 1001, (task) => ({ corruptedTestWrong: (drawn(task) + by) % 1001 }))) as [Played, Played];
      expect(withoutTest(other.events)).toEqual(withoutTest(one.events));
      for (const { fact } of one.events) {
        if (fact?.$case !== 'studentPromoted' && fact?.$case !== 'studentRefused') continue;
        const ratio = fact.value.gate?.corruptionRatio;
        if (fact.value.gate === undefined) continue;
        expect(ratio).toBeGreaterThan(0);
        if ((ratio ?? 0) > 1) {
          expect(fact.$case).toBe('studentRefused');
          fragile += 1;
        } else if (fact.$case === 'studentPromoted') sturdy += 1;
      }
    }), { numRuns: RUNS });
    expect(fragile).toBeGreaterThan(0);
    expect(sturdy).toBeGreaterThan(0);
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
    fc.assert(fc.property(fc.oneof(scenario, compared), (drawn) => {
      for (const { command, before, after } of play(drawn).taken) {
        if (command.kind !== 'complete' && command.kind !== 'fail') continue;
        expect(openTasks({ ...before, phase: 'running' }).some((task) => task.taskId === command.task.taskId)).toBe(true);
        if (command.kind === 'complete') expect(openTasks({ ...after, phase: 'running' }).some((task) => task.taskId === command.task.taskId)).toBe(false);
      }
    }), { numRuns: RUNS });
  });

  test('a running run waits for a task, or for nothing but its control, or for a fleet to share a training', () => {
    fc.assert(fc.property(fc.oneof(scenario, compared), (drawn) => {
      const { state } = play(drawn);
      const waitsForFleet = drawn.recipe.training.replicas === 'auto' && isDue(state, { nowMs: Number.MAX_SAFE_INTEGER, inFlightMs: 0, fleet: 1 });
      if (state.phase === 'running' && !waitsForFleet) expect(openTasks(state).length).toBeGreaterThan(0);
    }), { numRuns: RUNS });
  });

  test('what a command leaves is all that follows by then: nothing is due', () => {
    fc.assert(fc.property(fc.oneof(scenario, shared, compared), (drawn) => {
      for (const { command, after, nowMs } of play(drawn).taken) expect(isDue(after, { nowMs, inFlightMs: 'inFlightMs' in command ? command.inFlightMs ?? 0 : 0, fleet: command.fleet })).toBe(false);
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

  test('what is spent never decreases, adds up from the facts, and stands while the run is paused', () => {
    fc.assert(fc.property(scenario, (drawn) => {
      const { events, taken } = play(drawn);
      for (const { before, after, nowMs } of taken) {
        expect(after.budget.deviceMsSpent).toBeGreaterThanOrEqual(before.budget.deviceMsSpent);
        expect(wallMsSpent(after, nowMs)).toBe(wallMsSpent(before, nowMs));
        if (after.phase !== 'running') expect(wallMsSpent(after, nowMs + 999 * MINUTE_MS)).toBe(wallMsSpent(after, nowMs));
      }
      const device = events.reduce((sum, { fact }) => sum + (fact?.$case === 'taskCompleted' ? fact.value.result?.deviceMs ?? 0 : fact?.$case === 'taskFailed' ? fact.value.heldMs : 0), 0);
      expect(fold(events)?.budget.deviceMsSpent).toBe(device);
    }), { numRuns: RUNS });
  });

  test('whose budget is spent waits for no task: it has ended or is paused; paused for it, it grants nothing and takes results', () => {
    let [pauses, results] = [0, 0];
    fc.assert(fc.property(scarce, (drawn) => {
      for (const { command, before, after, nowMs } of play(drawn).taken) {
        const inFlightMs = 'inFlightMs' in command ? command.inFlightMs ?? 0 : 0;
        expect(isBudgetDue(after, nowMs, inFlightMs)).toBe(false);
        if (before.pauseRule === pauseRules.budget && command.kind === 'complete') results += 1;
        if (after.pauseRule !== pauseRules.budget) continue;
        pauses += 1;
        expect([after.phase, openTasks(after)]).toEqual(['paused', []]);
      }
    }), { numRuns: RUNS });
    expect(pauses).toBeGreaterThan(0);
    expect(results).toBeGreaterThan(0);
  });

  test('a run paused for its budget goes on by a change of the budget or by its last result, and keeps what it had given up; a person\'s pause stays', () => {
    let [resumed, kept] = [0, 0];
    fc.assert(fc.property(scarce, (drawn) => {
      for (const { command, before, after, events, nowMs } of play(drawn).taken) {
        const goesOn = before.phase === 'paused' && events.some(({ fact }) => fact?.$case === 'runResumed');
        if (command.kind === 'budget' && before.phase === 'paused' && before.pauseRule !== pauseRules.budget) expect([after.phase, after.reason]).toEqual([before.phase, before.reason]);
        if (before.pauseRule !== pauseRules.budget) continue;
        if (command.kind === 'budget') expect(goesOn).toBe(spentBudget({ ...before, budget: after.budget }, nowMs, command.inFlightMs ?? 0) === undefined);
        if (command.kind === 'complete' && goesOn) expect(isEnded(after.phase)).toBe(true);
        if (!goesOn || command.kind !== 'budget') continue;
        resumed += 1;
        if (before.stage === Stage.LABEL && currentIteration(before).quarantined.size > 0) kept += 1;
        expect(after.iterations[before.iteration]?.quarantined).toBe(currentIteration(before).quarantined);
      }
    }), { numRuns: 3 * RUNS });
    expect(resumed).toBeGreaterThan(0);
    expect(kept).toBeGreaterThan(0);
  });

  test('training begins on a class of few labels only where no shard was lost, or a person saw it', () => {
    let asked = 0;
    fc.assert(fc.property(lossy, (drawn) => {
      let seen = false;
      for (const { command, before, after } of play(drawn).taken) {
        if (after.pauseRule === pauseRules.coverage && before.pauseRule !== pauseRules.coverage) asked += 1;
        if (command.kind === 'resume' && before.pauseRule === pauseRules.coverage) seen = true;
        if (after.iteration !== before.iteration) seen = false;
        const { quarantined, selection } = currentIteration(after);
        if (after.stage !== Stage.TRAIN || selection === undefined || quarantined.size === 0 || seen) continue;
        const budget = selection.classes.reduce((sum, each) => sum + each.eligible, 0) / selection.classes.length;
        for (const each of selection.classes) expect(each.eligible / budget).toBeGreaterThanOrEqual(drawn.recipe.tolerance.class_coverage);
      }
    }), { numRuns: RUNS });
    expect(asked).toBeGreaterThan(0);
  });

  test('nothing is labeled, trained on or promoted that a guard speaks against, unless a person saw it', () => {
    const asked = new Map<string, number>();
    fc.assert(fc.property(guarded, (drawn) => {
      for (const { command, before, after, events } of play(drawn).taken) {
        for (const { fact } of events) if (fact?.$case === 'runPaused' && guardRules.includes(fact.value.rule)) asked.set(fact.value.rule, (asked.get(fact.value.rule) ?? 0) + 1);
        // Only a person's word takes a guard's pause away, and it is written down.
        if (guardRules.includes(before.pauseRule) && after.phase === 'running') {
          expect(command.kind).toBe('resume');
          expect(after.iterations[before.iteration]?.passed).toContain(before.pauseRule);
        }
        const { guards } = drawn.recipe;
        const { passed = [], selection, teacher } = currentIteration(after);
        const evaluation = after.promoted.find((each) => each.model.sha256 === teacher?.sha256)?.evaluation;
        if (after.phase === 'running' && after.stage === Stage.LABEL && !passed.includes(pauseRules.precision)) expect(thresholdOf(after).measured?.reached).toBe(true);
        if (after.phase === 'running' && after.stage === Stage.TRAIN && selection !== undefined && !passed.includes(pauseRules.skew)) expect(skewedClasses(selection.classes, evaluation?.validation, guards)).toEqual({ rare: [], crowded: [] });
        for (const { fact } of events) {
          if (fact?.$case !== 'studentPromoted' || fact.value.iteration === drawn.recipe.rounds) continue;
          const promoted = after.iterations[fact.value.iteration];
          if (promoted?.passed?.includes(pauseRules.calibration) !== true) expect(promoted?.evaluation?.validation?.calibrationError).toBeLessThanOrEqual(guards.calibration_error_most);
        }
      }
    }), { numRuns: 2 * RUNS });
    expect([...asked.keys()].sort()).toEqual([...guardRules].sort());
  });

  test('an iteration\'s threshold stands from its begin to its end, whatever comes, and the tasks have it', () => {
    let told = 0;
    fc.assert(fc.property(guarded, (drawn) => {
      const seen = new Map<number, number>();
      for (const { after } of play(drawn).taken) {
        if (after.iteration === 0) continue;
        const { confidence } = thresholdOf(after);
        expect(confidence).toBe(seen.get(after.iteration) ?? confidence);
        seen.set(after.iteration, confidence);
        for (const task of openTasks({ ...after, phase: 'running' })) {
          if (task.spec?.$case !== 'select' && task.spec?.$case !== 'audit') continue;
          told += 1;
          expect(task.spec.value.threshold).toBe(confidence);
        }
      }
    }), { numRuns: RUNS });
    expect(told).toBeGreaterThan(0);
  });
});

describe('a shared training, whatever comes', () => {
  test('no two replicas share a place in the order of the data, in whatever rounds', () => {
    let most = 0;
    fc.assert(fc.property(shared, (drawn) => {
      const used = new Map<string, string>();
      for (const { iteration, subject, spec, taskId } of play(drawn).known) {
        if (spec?.$case !== 'replica') continue;
        const training = `${iteration} ${subject.split('.')[0]}`;
        for (let at = 0; at < spec.value.steps; at += 1) {
          const place = `${training} ${spec.value.firstBatch + at}`;
          expect(used.get(place) ?? taskId).toBe(taskId);
          used.set(place, taskId);
        }
        most = Math.max(most, spec.value.round);
      }
    }), { numRuns: 2 * RUNS });
    expect(most).toBeGreaterThan(2);
  });

  test('a round is closed with at least its quorum of accepted replicas, and its merge takes those, as they were accepted', () => {
    const met = { leftOut: 0, givenUp: 0, merges: 0 };
    fc.assert(fc.property(shared, (drawn) => {
      const { events, known } = play(drawn);
      const accepted = new Map<string, string>();
      const opened = new Map<string, number>();
      const closed = new Map<string, readonly number[]>();
      for (const { fact } of events) {
        if (fact?.$case === 'taskCompleted' && fact.value.result?.result?.$case === 'replica') accepted.set(`${fact.value.place?.iteration} ${fact.value.place?.subject}`, fact.value.result.result.value.state?.sha256 ?? '');
        if (fact?.$case === 'taskQuarantined' && fact.value.place?.subject.includes('.k') === true) met.givenUp += 1;
        if (fact?.$case === 'roundOpened') opened.set(`${fact.value.training?.iteration} ${fact.value.training?.subject} ${fact.value.round}`, fact.value.replicas);
        if (fact?.$case !== 'roundClosed') continue;
        const { training, round, replicas } = fact.value;
        const all = opened.get(`${training?.iteration} ${training?.subject} ${round}`) ?? 0;
        expect(replicas.length / all).toBeGreaterThanOrEqual(drawn.recipe.training.sharing?.quorum ?? (drawn.recipe.training.replicas === undefined ? 2 : 0));
        expect(replicas).toEqual([...new Set(replicas)].sort((a, b) => a - b));
        for (const replica of replicas) expect(accepted.has(`${training?.iteration} ${training?.subject}.r${String(round).padStart(4, '0')}.k${replica}`)).toBe(true);
        if (replicas.length < all) met.leftOut += 1;
        closed.set(`${training?.iteration} ${training?.subject}.r${String(round).padStart(4, '0')}`, replicas);
      }
      for (const { iteration, subject, spec } of known) {
        if (spec?.$case !== 'merge') continue;
        met.merges += 1;
        const round = `${iteration} ${subject.replace('.merge', '')}`;
        expect(spec.value.inputs.map((input) => [input.replica, input.state?.sha256])).toEqual(closed.get(round)?.map((replica) => [replica, accepted.get(`${round}.k${replica}`)]));
      }
    }), { numRuns: 2 * RUNS });
    expect(Math.min(met.leftOut, met.givenUp, met.merges)).toBeGreaterThan(0);
  });

  test('a training ends with its ceil(steps / H)th merge, each from what the one before wrote; steps add up to the schedule', () => {
    let trained = 0;
    fc.assert(fc.property(shared, (drawn) => {
      const { state, events, known } = play(drawn);
      const { replicas, sharing, teacher } = drawn.recipe.training;
      if (replicas === undefined || sharing === undefined) return;
      const merges = known.flatMap(({ iteration, subject, spec, taskId }) => (iteration === 0 && subject.startsWith('student') && spec?.$case === 'merge' ? [{ taskId, ...spec.value }] : []));
      const wrote = new Map(events.flatMap(({ fact }) => (fact?.$case === 'taskCompleted' && fact.value.result?.result?.$case === 'merge' ? [[fact.value.place?.taskId, fact.value.result.result.value.merged?.sha256] as const] : [])));
      expect(merges.map((merge) => merge.merged?.sha256)).toEqual(merges.map((_, at) => (at === 0 ? undefined : wrote.get(merges[at - 1]?.taskId))));
      if (state.iterations[0]?.student === undefined) return;
      trained += 1;
      expect(merges.map(({ round }) => round)).toEqual(Array.from({ length: Math.ceil(teacher.steps / sharing.local_steps) }, (_, at) => at));
      expect(merges.map(({ last }) => last)).toEqual(merges.map((_, at) => at === merges.length - 1));
      expect(merges.reduce((sum, { steps }) => sum + steps, 0)).toBe(teacher.steps);
      expect(state.rounds.some(({ training }) => training.iteration === 0)).toBe(false);
    }), { numRuns: 2 * RUNS });
    expect(trained).toBeGreaterThan(0);
  });
});

describe('a threshold by precision', () => {
  const bins = fc.uniqueArray(fc.record({ confidence: fc.double({ min: 0, max: 1, noNaN: true }), total: fc.integer({ min: 1, max: 500 }), share: fc.double({ min: 0, max: 1, noNaN: true }) }), { selector: (bin) => bin.confidence, minLength: 1, maxLength: 20 })
    .map((drawn) => drawn.sort((a, b) => a.confidence - b.confidence).map(({ confidence, total, share }) => ({ confidence, total, correct: Math.round(share * total) })));
  const wishes = fc.double({ min: 0.01, max: 0.99, noNaN: true });

  test('is the least that has it, is one of the bins, and never falls as the wish rises', () => {
    let [reached, unreached] = [0, 0];
    fc.assert(fc.property(bins, wishes, wishes, (confidence, one, other) => {
      const [lower, higher] = [Math.min(one, other), Math.max(one, other)];
      const of = (precision: number) => labelThreshold({ precision, threshold: undefined }, { confidence });
      const above = (least: number) => confidence.filter((bin) => bin.confidence >= least).reduce((sum, bin) => ({ correct: sum.correct + bin.correct, total: sum.total + bin.total }), { correct: 0, total: 0 });
      const bound = (least: number): number => shareAtLeast(above(least).correct, above(least).total);
      const chosen = of(lower);
      expect(chosen.measured).toMatchObject({ ...above(chosen.confidence), wanted: lower, least: bound(chosen.confidence) });
      const fit = confidence.filter((bin) => bound(bin.confidence) >= lower);
      expect(chosen.measured?.reached).toBe(fit.length > 0);
      if (fit.length > 0) expect(chosen.confidence).toBe(fit[0]?.confidence);
      else for (const bin of confidence) expect(bound(bin.confidence)).toBeLessThanOrEqual(chosen.measured?.least ?? 0);
      if (of(higher).measured?.reached === true) expect(of(higher).confidence).toBeGreaterThanOrEqual(chosen.confidence);
      if (fit.length > 0) reached += 1;
      else unreached += 1;
    }), { numRuns: 10 * RUNS });
    expect(Math.min(reached, unreached)).toBeGreaterThan(0);
  });
});
