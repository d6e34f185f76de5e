/** Books of what `compress` measures and chooses: I20 of checker.ts, from the facts and from what workers are handed; the choice by a reckoning of its own. */
import { COMPARED_FORMAT } from '../../../recipe/index.ts';
import type { Errors, MeasureResult, ObjectRef, Task, TaskResult } from '../../../proto/gen/alumnus/v1/task.ts';
import { comparisonSubject, fineTunedSubject, measuredOf, subjects } from '../../../proto/subjects.ts';
import { chosenOf, type RunState } from '../../../coordinator/run/index.ts';
import { must } from '../violation.ts';
import type { World } from '../world.ts';
import { besideSubjects, besideTry, type Models } from './models.ts';

const bookKey = (runId: string, subject: string): string => `${runId} ${subject}`;
const right = ({ wrong, total }: Errors = { wrong: 0, total: 0 }): number => total - wrong;

export class Measurements {
  readonly #world: World;
  readonly #models: Models;
  readonly #books = new Map<string, MeasureResult>();

  constructor(world: World, models: Models) {
    this.#world = world;
    this.#models = models;
  }

  /** They begin again with an earlier end of the journal. */
  clear(): void {
    this.#books.clear();
  }

  accepted(task: Task, result: TaskResult['result']): void {
    if (result?.$case !== 'measure' || task.spec?.$case !== 'measure') return;
    const key = bookKey(task.runId, measuredOf(task) ?? '');
    must(!this.#books.has(key), `${task.taskId} was measured before`);
    must(task.spec.value.weights.every((scheme, at) => result.value.weights[at]?.weights === scheme) && result.value.weights.length === task.spec.value.weights.length, `${task.taskId} was accepted without all that was asked for`);
    this.#books.set(key, result.value);
    this.#world.count('branch: a model is measured');
  }

  handedOut(task: Task, state: RunState): void {
    if (task.spec?.$case !== 'measure') return;
    const model = this.#toMeasure(state).get(measuredOf(task) ?? '');
    must(model !== undefined && task.spec.value.model?.key === model.key, `${task.taskId} measures ${task.spec.value.model?.key}, and that is ${model?.key ?? 'no model'}`);
    const disturbing = besideSubjects(state).filter((subject) => !this.#models.isOver(state, subject));
    must(disturbing.length === 0, `${task.taskId} measures while ${disturbing.join(', ')} may be trained`);
  }

  /** By subject, in the order of tables: the last teacher, the last student, and all that was trained beside them. */
  #toMeasure(state: RunState): Map<string, ObjectRef> {
    const { runId, recipe, promoted, iteration, iterations } = state;
    const final = (subject: string): string => (recipe.training.fine_tune?.teaches === true ? fineTunedSubject(subject) : subject);
    const teacher = iterations[iteration]?.teacher;
    return new Map([
      [subjects.teacher, promoted.find(({ model }) => model.key === teacher?.key)?.model] as const,
      [subjects.student, this.#models.of(runId, state, final(subjects.student))] as const,
      ...besideSubjects(state).map((subject) => [subject, this.#models.of(runId, besideTry(state), final(subject))] as const),
    ].flatMap(([subject, model]) => (model === undefined ? [] : [[subject, model] as const])));
  }

  /** @param before the run as it ends */
  succeeded(before: RunState): void {
    const { runId, recipe, promoted, iterations, iteration, measurements } = before;
    if (recipe.compress === undefined) return;
    const models = this.#toMeasure(before);
    for (const subject of models.keys()) must(this.#books.has(bookKey(runId, subject)) || measurements.get(subject)?.givenUp !== undefined, `${runId} ends, and ${subject} was neither measured nor given up`);
    const teacher = promoted.find(({ model }) => model.key === iterations[iteration]?.teacher?.key)?.evaluation.validation?.correct ?? 0;
    const ofTruth = (recipe.comparisons ?? []).filter(({ labels }) => labels === 'truth').map(({ name }) => comparisonSubject(name));
    const enough = [...models.keys()].filter((subject) => !ofTruth.includes(subject))
      .flatMap((subject) => (this.#books.get(bookKey(runId, subject))?.weights ?? []).map((form) => ({ subject, ...form })))
      .filter(({ validation }) => teacher === 0 || right(validation) / teacher >= (recipe.compress?.accuracy_kept ?? 1));
    // Sorting is stable: of equals the earlier stays first.
    const [smallest] = enough.toSorted((a, b) => (a.bytes[COMPARED_FORMAT] ?? 0) - (b.bytes[COMPARED_FORMAT] ?? 0) || right(b.validation) - right(a.validation));
    const chosen = chosenOf(before);
    const told = [smallest?.subject.replace(/^comparison\./, ''), smallest?.weights].join(' in ');
    must([chosen?.name, chosen?.weights].join(' in ') === told, `${runId} chooses ${chosen?.name} in ${chosen?.weights}, and the smallest that keeps enough is ${told}`);
    this.#world.count(`branch: ${chosen === undefined ? 'no model keeps enough' : 'the smallest that keeps enough is chosen'}`);
  }
}
