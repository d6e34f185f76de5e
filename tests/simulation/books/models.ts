/**
 * Books of models, those of the stages and those beside them: I19 of checker.ts and what fine-tuning begins with, from the facts and from what workers are
 * handed. What the gate decided is the fold's to say.
 */
import type { StudentPromoted, TaskPlace } from '../../../proto/gen/alumnus/v1/events.ts';
import { Stage, type ObjectRef, type Task, type TaskResult } from '../../../proto/gen/alumnus/v1/task.ts';
import { besideOf, comparisonSubject, fineTunedSubject, isFineTuned, partOf, subjects } from '../../../proto/subjects.ts';
import type { RunState } from '../../../coordinator/run/index.ts';
import { must } from '../violation.ts';
import type { World } from '../world.ts';

type Try = Pick<TaskPlace, 'iteration' | 'try'>;
const bookKey = (runId: string, { iteration, try: attempt }: Try, subject: string): string => `${runId} i${iteration} ${subject} t${attempt}`;

/** Of a training beside the stages: the last iteration's, whatever its tries. */
export const besideTry = ({ recipe }: RunState): Try => ({ iteration: recipe.rounds, try: 0 });
export const besideSubjects = ({ recipe: { rounds, control, comparisons = [] } }: RunState): string[] => (rounds === 0 ? [] : [...(control ? [subjects.control] : []), ...comparisons.map(({ name }) => comparisonSubject(name))]);

export class Models {
  readonly #world: World;
  /** What each training made, by the subject of the training as a whole; and its evaluation. */
  readonly #trained = new Map<string, ObjectRef>();
  readonly #evaluated = new Map<string, ObjectRef>();

  constructor(world: World) {
    this.#world = world;
  }

  /** They begin again with an earlier end of the journal. */
  clear(): void {
    this.#trained.clear();
    this.#evaluated.clear();
  }

  of(runId: string, at: Try, subject: string): ObjectRef | undefined {
    return this.#trained.get(bookKey(runId, at, subject));
  }

  accepted(task: Task, result: TaskResult['result']): void {
    const { runId } = task;
    const model = result?.$case === 'train' ? result.value.model : result?.$case === 'merge' ? result.value.trained?.model : undefined;
    if (model !== undefined) {
      const key = bookKey(runId, task, partOf(task)?.training ?? task.subject);
      must(!this.#trained.has(key), `${key} was trained twice`);
      this.#trained.set(key, model);
    }
    if (result?.$case !== 'evaluate' || result.value.evaluation === undefined) return;
    const key = bookKey(runId, task, task.subject);
    must(!this.#evaluated.has(key), `${key} was evaluated twice`);
    this.#evaluated.set(key, result.value.evaluation);
    if (besideOf(task) !== undefined) this.#world.count(`branch: a model beside the stages is evaluated (${kindOf(task)})`);
  }

  handedOut(task: Task, state: RunState): void {
    const { taskId, runId, spec } = task;
    if (spec?.$case === 'train' && isFineTuned(task)) {
      const trained = this.of(runId, task, besideOf(task) ?? subjects.student);
      must(trained !== undefined && spec.value.begin?.sha256 === trained.sha256, `${taskId} begins with ${spec.value.begin?.sha256}, and ${trained?.sha256 ?? 'nothing'} was trained`);
      this.#world.count(`branch: a model is fine-tuned (${besideOf(task) === undefined ? state.recipe.training.fine_tune?.teaches === true ? 'teaches' : 'reports' : kindOf(task)})`);
    }
    if (spec?.$case !== 'evaluate') return;
    const model = this.of(runId, task, task.subject);
    must(model !== undefined && spec.value.model?.key === model.key, `${taskId} evaluates ${spec.value.model?.key}, and ${model?.key ?? 'nothing'} was trained`);
    must(spec.value.corrupted?.parts.length === state.data.corrupted?.parts.length, `${taskId} measures other corruptions than were submitted`);
    if (spec.value.corrupted !== undefined) this.#world.count('branch: a model is evaluated on corrupted images');
    const [candidate] = this.#candidateOf(state);
    const teacher = state.iterations[task.iteration]?.teacher;
    if (task.subject === candidate) must(spec.value.baseline?.key === state.promoted.find(({ model }) => model.key === teacher?.key)?.evaluation.evaluation?.key, `${taskId} is paired with another than its teacher`);
    if (kindOf(task) !== 'comparison') return;
    const decided = state.iterations[state.iteration];
    const paired = this.#evaluated.get(bookKey(runId, { iteration: state.iteration, try: state.try }, candidate));
    must(state.stage === Stage.PROMOTE && decided?.decision !== undefined, `${taskId} is evaluated before the last gate is decided`);
    must(paired !== undefined && spec.value.baseline?.key === paired.key, `${taskId} is paired with another than the last student`);
  }

  /** The subject and the model that the gate is about. */
  #candidateOf(state: RunState): [subject: string, model: ObjectRef | undefined] {
    const subject = state.recipe.training.fine_tune?.teaches === true ? fineTunedSubject(subjects.student) : subjects.student;
    return [subject, this.of(state.runId, state, subject)];
  }

  /** By its key, which names its task: one beside the stages may come to the very bytes. */
  promoted(runId: string, { model }: StudentPromoted, before: RunState | undefined): void {
    const [subject, candidate] = before === undefined ? [] : this.#candidateOf(before);
    must(candidate !== undefined && model?.key === candidate.key, `${model?.key} was promoted in ${runId}, and ${subject} is ${candidate?.key ?? 'not trained'}`);
  }

  /** Nobody who was to be trained beside the stages is forgotten. @param before the run as it ends */
  succeeded(runId: string, best: ObjectRef | undefined, before: RunState): void {
    must(before.promoted.some(({ model }) => model.key === best?.key), `${runId} returns ${best?.key}, which was never promoted`);
    for (const subject of besideSubjects(before)) {
      must(this.isOver(before, subject), `${runId} ends, and ${subject} was neither evaluated nor given up`);
      if (!isComing(before, subject)) this.#world.count('branch: a comparison is left out, its run ends before');
    }
  }

  /** Whether nothing more is to come of a training beside the stages. */
  isOver(state: RunState, subject: string): boolean {
    const known = subject === subjects.control ? state.control : state.comparisons.get(subject);
    const evaluated = [subject, ...(state.recipe.training.fine_tune === undefined ? [] : [fineTunedSubject(subject)])].every((each) => this.#evaluated.has(bookKey(state.runId, besideTry(state), each)));
    return evaluated || known?.givenUp !== undefined || !isComing(state, subject);
  }
}

/** Whether what it learns from is there. */
function isComing({ recipe: { comparisons = [], rounds }, iterations }: RunState, subject: string): boolean {
  const comparison = comparisons.find(({ name }) => comparisonSubject(name) === subject);
  return comparison === undefined || comparison.labels === 'none' || iterations[rounds]?.selection !== undefined;
}

const kindOf = (task: Pick<TaskPlace, 'stage' | 'subject'>): string => {
  const beside = besideOf(task);
  return beside === undefined ? 'stage' : beside === subjects.control ? 'control' : 'comparison';
};
