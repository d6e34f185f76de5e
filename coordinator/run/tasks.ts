/**
 * Which tasks a run has now: derived from its state, never stored. A task's id covers run, iteration, stage, subject,
 * try, seed and the digests of all that goes in, so an id names one piece of work for ever.
 */
import { createHash } from 'node:crypto';
import { invariant } from '../../proto/errors.ts';
import { Stage, type ImportSpec, type ObjectRef, type PartRef, type Task, type TrainSpec } from '../../proto/gen/alumnus/v1/task.ts';
import { stageName } from '../../proto/stages.ts';
import { canonicalJson, isImported, modelOfIteration, modelOptions, type Recipe } from '../../recipe/index.ts';
import { besidesOwed, besideState, labelsOf, mayEvaluate, pairedWith, type Beside } from './beside.ts';
import { imagesOf, measurementsOwed, measureSpec } from './compress.ts';
import { distillOf, distillSpec, pseudoLabelsOf, shardsToLabel } from './distill.ts';
import { driftSpec } from './drift.ts';
import { candidateSubject, fineTunedEvaluationOwed, fineTuneOwed, fineTuneSpec } from './fine-tune.ts';
import { fingerprintings } from './near-duplicates.ts';
import { labeledPart, leftOutOf } from './reviews.ts';
import { roundTasks, sharingOf } from './rounds.ts';
import { currentIteration, fineTunedSubject, measureSubject, subjects, taskIdPrefix, type IterationState, type RunState } from './state.ts';
import { thresholdOf } from './threshold.ts';

/** Validation subsets on which the gate's counts are also reported: what a small team's few labels would have told. */
export const PAIRED_SUBSETS: readonly number[] = [500];
/** Pictures of each kind in a report's gallery: three rows on a desktop page. */
const GALLERY_PER_KIND = 24;

/** A 31-bit seed for one purpose, independent of those for other purposes. */
export function deriveSeed(seed: number, ...purpose: readonly (string | number)[]): number {
  return createHash('sha256').update([seed, ...purpose].join('/')).digest().readUInt32BE(0) >>> 1;
}

type Spec = NonNullable<Task['spec']>;

/** @param drawsAs of whom it has the seed, where that is another subject. */
function task(state: RunState, iteration: number, stage: Stage, subject: string, attempt: number, work: number, affinity: string[], spec: Spec, drawsAs = subject): Task {
  const seed = deriveSeed(state.recipe.seed, iteration, stageName(stage), drawsAs, attempt);
  // The whole specification is hashed: it names every input by digest and holds its part of the recipe.
  const digest = createHash('sha256').update(canonicalJson({ run: state.runId, iteration, stage, subject, attempt, seed, spec })).digest('hex');
  const taskId = `${taskIdPrefix({ iteration, stage, subject, try: attempt })}${digest.slice(0, 16)}`;
  return { taskId, runId: state.runId, iteration, stage, subject, try: attempt, seed, affinity, outputPrefix: `runs/${state.runId}/${taskId}`, work, spec, checkpointSteps: 0, checkpoints: [] };
}

const part = (value: PartRef | undefined, name: string): PartRef => {
  invariant(value !== undefined, `a submitted run has its ${name} part`);
  return value;
};

/** The last training of each subject by its run's recipe: of a large set its specification is dear to hash, and each of its rounds' tasks is derived from it. */
const derived = new WeakMap<Recipe, Map<string, { readonly from: readonly unknown[]; readonly task: Task }>>();

/** What a training is, but for the run that it is of. */
interface Wanted {
  readonly iteration: number;
  readonly attempt: number;
  /** The iteration whose selected labels it learns from; undefined where it learns from none. */
  readonly from: IterationState | undefined;
  /** Where it is none of the stages'. */
  readonly beside?: Beside;
}

/**
 * The training that one worker alone would do; a function of the state, whether or not it was asked for before.
 * @param begin the trained model, where it is to be fine-tuned
 */
function trainTask(state: RunState, wanted: Wanted, begin?: ObjectRef): Task {
  const { iteration, attempt, from } = wanted;
  const subject = wanted.beside?.subject ?? subjects.student;
  const inputs = [state.runId, state.data, iteration, attempt, from?.selection, from?.labels, begin?.sha256, state.reviews];
  const known = derived.get(state.recipe) ?? new Map<string, { from: readonly unknown[]; task: Task }>();
  derived.set(state.recipe, known);
  let last = known.get(subject);
  if (last === undefined || !inputs.every((input, at) => input === last?.from[at])) known.set(subject, last = { from: inputs, task: deriveTraining(state, wanted, subject, begin) });
  return last.task;
}

function deriveTraining(state: RunState, { iteration, attempt, from, beside }: Wanted, subject: string, begin: ObjectRef | undefined): Task {
  const { recipe, data } = state;
  // How often checkpoints are written is no input: the weights come out the same.
  // Nor is with how many others it is shared an input of the training as a whole: that is what each part is told.
  const { teacher, student, checkpoint_steps: checkpointSteps, replicas: _replicas, sharing: _sharing, schedule: { decay_epochs: decayEpochs, ...schedule }, fine_tune: tuned, early_stop: early, distill: _distill, ...shared } = recipe.training;
  const comparison = beside?.comparison;
  const distill = from && distillOf(recipe, comparison);
  const choice = comparison?.model ?? modelOfIteration(recipe, iteration);
  const isTeacher = from === undefined && beside === undefined;
  const phase = isTeacher
    ? { steps: teacher.steps, batch_labeled: teacher.batch_labeled, batch_unlabeled: 0 }
    : {
      steps: comparison?.steps ?? student.steps,
      // Who learns from labeled images alone sees as many images a step as the student: the comparison is of labels, not of compute.
      ...(from === undefined ? { batch_labeled: student.batch_labeled + student.batch_unlabeled, batch_unlabeled: 0 } : { batch_labeled: student.batch_labeled, batch_unlabeled: student.batch_unlabeled }),
    };
  // Who learns from a selection learns the labels that people gave until then; all others may have begun before.
  const labeled = part(from === undefined ? data.labeled : labeledPart(state, from.iteration), 'labeled');
  // One seed for all trainings of a run: what one of them is measured on none has seen, nor what it began with. Where people gave labels meanwhile the
  // labeled part has grown, and with it what is held out, by images that an earlier training may have learned from.
  const earlyStop = early && { ...early, seed: deriveSeed(recipe.seed, 'hold-out') };
  // Of those alone the rate falls as the student's does, though their batches hold more labeled images.
  const decay = decayEpochs === undefined ? {} : { decay_steps: decayEpochs * labeled.samples * (1 - (early?.holdout ?? 0)) / (isTeacher ? teacher : student).batch_labeled };
  const spec: TrainSpec = {
    model: { name: choice.model, options: modelOptions(choice) },
    image: data.image,
    classNames: data.classNames,
    labeled,
    unlabeled: from === undefined ? undefined : part(data.unlabeled, 'unlabeled'),
    selection: from?.selection?.selection,
    pseudoLabels: from === undefined ? [] : pseudoLabelsOf(from),
    labelKind: comparison?.kind ?? recipe.labels.kind,
    trainingJson: canonicalJson({ ...shared, ...phase, schedule: { ...schedule, ...decay }, noise: comparison?.noise ?? recipe.noise, early_stop: earlyStop, distill }),
    distill: from && distill && distillSpec(state, from, distill),
    ...(comparison?.labels === 'truth' ? { truth: data.truth, labelNoise: comparison.label_noise } : {}),
  };
  // A comparison begins with the student's weights and draws what it draws: what is compared is what it says.
  const drawsAs = comparison === undefined ? subject : subjects.student;
  if (begin !== undefined && tuned !== undefined) {
    return { ...task(state, iteration, Stage.TRAIN, fineTunedSubject(subject), attempt, tuned.steps, [], { $case: 'train', value: fineTuneSpec(spec, begin, tuned, shared, earlyStop) }, fineTunedSubject(drawsAs)), checkpointSteps };
  }
  return { ...task(state, iteration, Stage.TRAIN, subject, attempt, phase.steps, [], { $case: 'train', value: spec }, drawsAs), checkpointSteps };
}

/** In the place of iteration 0's training. The labeled set has the few images that the model is tried on: it is not judged here. */
function importTask(state: RunState, attempt: number): Task {
  const { recipe, data } = state;
  const spec: ImportSpec = { teacherJson: canonicalJson(recipe.models.teacher), image: data.image, classNames: data.classNames, probe: part(data.labeled, 'labeled').shards[0] };
  return task(state, 0, Stage.TRAIN, subjects.teacher, attempt, 0, [], { $case: 'import', value: spec });
}

/** Absent, and so no part of a task's id, but for the ablation. Mixing is no noise of a teacher: a mixed image has no label to be stored for it. */
const teacherNoise = ({ labels, noise: { input, erasing } }: Recipe): string | undefined => (labels.noised_teacher ? canonicalJson({ input, erasing }) : undefined);

/** @param baseline whose predictions on validation it is paired with */
function evaluateTask(state: RunState, iteration: number, subject: string, attempt: number, model: ObjectRef | undefined, baseline: ObjectRef | undefined): Task | undefined {
  const { data } = state;
  if (model === undefined) return undefined;
  const validation = part(data.validation, 'validation');
  const corrupted = (data.corrupted?.parts ?? []).reduce((sum, each) => sum + (each.validation?.samples ?? 0) + (each.test?.samples ?? 0), 0);
  return task(state, iteration, Stage.EVALUATE, subject, attempt, validation.samples + (data.test?.samples ?? 0) + corrupted, [], {
    $case: 'evaluate',
    value: { model, validation, test: data.test, baseline, pairedSubsets: [...PAIRED_SUBSETS], batchSize: state.recipe.labels.batch_size, corrupted: data.corrupted },
  });
}

/** The training itself, or what its round has open where several workers share it. */
function tasksOfTraining(state: RunState, training: Task | undefined): Task[] {
  if (training === undefined) return [];
  if (sharingOf(state.recipe) === undefined) return [training];
  return roundTasks(state, training).map(({ subject, spec, own, work, checkpointSteps }) => {
    const place = { iteration: training.iteration, stage: training.stage, subject, try: training.try };
    // The training's own id covers the training; to hash it again for each replica of each round would be dear where it names many shards.
    const digest = createHash('sha256').update(canonicalJson({ training: training.taskId, subject, spec: own })).digest('hex');
    const taskId = `${taskIdPrefix(place)}${digest.slice(0, 16)}`;
    // Who has this training's data decoded already is preferred.
    return { ...training, ...place, taskId, affinity: [training.taskId], outputPrefix: `runs/${state.runId}/${taskId}`, work, spec, checkpointSteps };
  });
}

/** The present iteration's training, or its fine-tuning. @param begin as of `trainTask` */
function trainStudent(state: RunState, begin?: ObjectRef): Task {
  const current = currentIteration(state);
  return trainTask(state, { iteration: state.iteration, attempt: current.try, from: state.iteration === 0 ? undefined : current }, begin);
}
const trainBeside = (state: RunState, beside: Beside, begin?: ObjectRef): Task => trainTask(state, { iteration: state.recipe.rounds, attempt: 0, from: labelsOf(state, beside), beside }, begin);

const studentTraining = (state: RunState): Task | undefined =>
  (state.stage === Stage.TRAIN && currentIteration(state).student === undefined && !isImported(state.recipe, state.iteration) ? trainStudent(state) : undefined);

/** The trainings that are open, as one worker alone would do them: the stage's, then those beside it. */
export const openTrainings = (state: RunState): Task[] => [
  studentTraining(state), ...besidesOwed(state).filter(({ subject }) => besideState(state, subject).trained === undefined).map((beside) => trainBeside(state, beside)),
].filter((training) => training !== undefined);

/** The tasks of the present stage that have no accepted result yet. */
function stageTasks(state: RunState): Task[] {
  const { recipe, data, iteration } = state;
  const current = currentIteration(state);
  switch (state.stage) {
    case Stage.LABEL: {
      const teacher = current.teacher;
      invariant(teacher !== undefined, 'an iteration that labels has a teacher');
      return shardsToLabel(state)
        .filter(({ subject }) => !current.labels.has(subject) && !current.quarantined.has(subject))
        .map(({ subject, shard }) => task(state, iteration, Stage.LABEL, subject, 0, shard.samples, [teacher.sha256, shard.ref?.sha256 ?? ''], {
          $case: 'label', value: { teacher, shard, batchSize: recipe.labels.batch_size, teacherNoiseJson: teacherNoise(recipe) },
        }));
    }
    case Stage.SELECT: {
      if (current.selection !== undefined) return [];
      const looking = fingerprintings(state);
      if (looking.length > 0) return looking.map(({ subject, spec, work }) => task(state, iteration, Stage.SELECT, subject, 0, work, [spec.shard?.ref?.sha256 ?? ''].filter((digest) => digest !== ''), { $case: 'fingerprint', value: spec }));
      return [task(state, iteration, Stage.SELECT, subjects.selection, 0, current.labels.size, [], {
        $case: 'select',
        value: {
          teacherSha256: current.teacher?.sha256 ?? '', shards: pseudoLabelsOf(current), threshold: thresholdOf(state).confidence, balance: recipe.labels.balance,
          budgetPerClass: recipe.labels.budget_per_class, copiesMax: recipe.labels.copies_max, classes: data.classNames.length, drift: driftSpec(state),
          leftOut: leftOutOf(state, iteration),
        },
      })];
    }
    case Stage.TRAIN:
      if (current.student === undefined) return isImported(recipe, iteration) ? [importTask(state, current.try)] : tasksOfTraining(state, studentTraining(state));
      // One worker does it, however many shared the training: it is short.
      return fineTuneOwed(state, { ...current, trained: current.student }) ? [trainStudent(state, current.student.result.model)] : [];
    case Stage.EVALUATE: {
      const tasks: Task[] = [];
      const evaluated = (subject: string, model: ObjectRef | undefined): Task[] =>
        [evaluateTask(state, iteration, subject, current.try, model, subject === candidateSubject(state) ? state.teacher?.evaluation.evaluation : undefined)].filter((each) => each !== undefined);
      if (current.evaluation === undefined) tasks.push(...evaluated(subjects.student, current.student?.result.model));
      if (fineTunedEvaluationOwed(state, current)) tasks.push(...evaluated(subjects.fineTuned, current.fineTuned?.result.model));
      if (auditWanted(state)) {
        tasks.push(task(state, iteration, Stage.EVALUATE, subjects.audit, current.try, current.labels.size, [], {
          $case: 'audit',
          value: { unlabeled: data.unlabeled, truth: data.truth, selection: current.selection?.selection, pseudoLabels: pseudoLabelsOf(current), classNames: data.classNames, image: data.image, galleryPerKind: GALLERY_PER_KIND, threshold: thresholdOf(state).confidence },
        }));
      }
      return tasks;
    }
    default:
      return [];
  }
}

/** The audit reports only: it is owed once an iteration, where the true labels are known and nobody gave it up. */
export function auditWanted(state: RunState): boolean {
  const { selection, audit, auditGivenUp } = currentIteration(state);
  return state.data.truth !== undefined && selection !== undefined && audit === undefined && auditGivenUp === undefined;
}

/** Those beside the stages alone, which are few where a stage has many. */
export const besideTasks = (state: RunState): Task[] => [...besidesOwed(state).flatMap((beside) => tasksBeside(state, beside)), ...measureTasks(state)];

const measureTasks = (state: RunState): Task[] => measurementsOwed(state).map(({ subject, model }) => {
  const spec = measureSpec(state, model);
  return task(state, state.iteration, Stage.EVALUATE, measureSubject(subject), currentIteration(state).try, imagesOf(spec), [], { $case: 'measure', value: spec });
});

function tasksBeside(state: RunState, beside: Beside): Task[] {
  const { subject } = beside;
  const known = besideState(state, subject);
  const { trained, fineTuned, evaluation } = known;
  if (trained === undefined) return tasksOfTraining(state, trainBeside(state, beside));
  if (fineTuneOwed(state, { trained, fineTuned })) return [trainBeside(state, beside, trained.result.model)];
  if (!mayEvaluate(state, beside)) return [];
  const baseline = pairedWith(state, beside)?.evaluation;
  return [
    evaluation === undefined ? evaluateTask(state, state.recipe.rounds, subject, 0, trained.result.model, baseline) : undefined,
    fineTunedEvaluationOwed(state, known) ? evaluateTask(state, state.recipe.rounds, fineTunedSubject(subject), 0, fineTuned?.result.model, baseline) : undefined,
  ].filter((each) => each !== undefined);
}

/** All open tasks, in the order in which they should be granted: those of the stage, then those beside it. */
export const openTasks = (state: RunState): Task[] => (state.phase === 'running' ? [...stageTasks(state), ...besideTasks(state)] : []);
