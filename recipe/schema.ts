/**
 * The recipe: what a user writes, as one schema. Each field's description gives its meaning, unit, range and default;
 * the same schema validates, fills in defaults, and is published as JSON Schema for editors.
 * Not for: anything that needs the data or a worker (that a dataset exists, that a split is large enough) — the
 * coordinator checks those when a run is submitted.
 */
import { z } from 'zod';
import { invariant } from '../proto/errors.ts';
import { BATCH_MAX, positiveInteger, share, STEPS_MAX } from './bounds.ts';
import { COMPARISONS_MAX, comparisonSchema } from './comparison.ts';
import { compressionProblems, compressSchema } from './compress.ts';
import { distillationProblems, distillSchema } from './distill.ts';
import { modelChoice } from './model-choice.ts';
import { findModel } from './models/index.ts';
import { noiseSchema } from './noise.ts';
import { teacherSchema } from './teacher.ts';

const name = z.string().regex(/^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$/, 'use 1 to 63 of a-z, 0-9, ".", "_" and "-", beginning and ending with a letter or digit');
/** A dataset, or a version of it: `photos`, the newest; `photos@2`. */
const datasetReference = z.string().regex(/^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?(@[1-9]\d{0,7})?$/, 'use 1 to 63 of a-z, 0-9, ".", "_" and "-", beginning and ending with a letter or digit; @N behind it names a version');
const partReference = z.string().regex(/^[a-z0-9][a-z0-9._-]*(@[1-9]\d{0,7})?(#(labeled|unlabeled|validation|test))?$/, 'write DATASET or DATASET#PART, where PART is labeled, unlabeled, validation or test');

const ROUNDS_MAX = 20;
/** One worker reads every replica's state, one after another, to merge them; the paper saw little gain beyond eight. */
export const REPLICAS_MAX = 64;
/** Beyond the largest that any model of ours was published for. */
const SIDE_MAX = 4_096;
/** Of one training: they travel in the journal. */
const HELD_OUT_MEASUREMENTS_MAX = 1_000;
/** Of labels: the published one. */
const THRESHOLD = 0.3;
/** More than a thousand devices for ten years, and ten years: beyond them a limit is a typing error, not a limit. */
export const DEVICE_HOURS_MAX = 100_000_000;
export const WALL_HOURS_MAX = 87_600;

const optimizer = z.strictObject({
  name: z.enum(['adamw', 'sgd', 'rmsprop']).default('adamw').describe('adamw: decoupled weight decay; sgd: Nesterov momentum; rmsprop: TensorFlow\'s, with momentum, as the published code of EfficientNet and Noisy Student.'),
  learning_rate: z.number().gt(0).max(10).default(0.001),
  weight_decay: z.number().min(0).max(1).default(0.0001).describe('Skips biases and norms.'),
  momentum: z.number().min(0).lt(1).default(0.9).describe('Of sgd and rmsprop.'),
  decay: z.number().min(0).lt(1).optional().describe('Of rmsprop: of the mean of squared gradients. Default 0.9.'),
  epsilon: z.number().gt(0).max(1).optional().describe('Of rmsprop: added to that mean, inside the square root. Default 0.001.'),
});

const teacherPhase = z.strictObject({
  steps: positiveInteger(STEPS_MAX).default(1000),
  batch_labeled: positiveInteger(BATCH_MAX).default(64),
});

const studentPhase = z.strictObject({
  steps: positiveInteger(STEPS_MAX).default(2500),
  batch_labeled: z.int().min(0).max(BATCH_MAX).default(32).describe('Labeled images in each batch; 0, pseudo-labeled ones alone, only where fine_tune brings the labeled ones later.'),
  batch_unlabeled: positiveInteger(BATCH_MAX).default(96).describe('Pseudo-labeled images in each batch, drawn together with the labeled ones; the loss is the mean over both.'),
});

/** DiLoCo (arXiv 2311.08105). */
const sharing = z.strictObject({
  local_steps: positiveInteger(STEPS_MAX).default(100).describe('Steps that each replica makes in a round (H) before replicas are merged; the last round has what is left. Default 100; the paper has 500.'),
  outer: z
    .strictObject({
      learning_rate: z.number().gt(0).max(10).default(0.7).describe('Default 0.7.'),
      momentum: z.number().min(0).lt(1).default(0.9).describe('Default 0.9.'),
    })
    .prefault({})
    .describe('The merge\'s step along the mean of the replicas\' differences, by SGD with Nesterov momentum. The defaults are the paper\'s. A round of one replica makes none.'),
  quorum: z.number().gt(0).max(1).default(0.75).describe('Share of a round\'s replicas whose results are enough to merge, at least one. Above 0 to 1, default 0.75.'),
  straggler_wait: z.number().min(0).max(100).default(0.5).describe('Once a quorum is there, what is missing is waited for as long as this share of the time that the quorum took. 0 to 100, default 0.5.'),
});

const fineTune = z.strictObject({
  steps: positiveInteger(STEPS_MAX).describe('Steps; the paper has 1.5 passes over the labeled images.'),
  batch_labeled: positiveInteger(BATCH_MAX).default(64).describe('Labeled images in each batch; there are no others.'),
  learning_rate: z.number().gt(0).max(10).optional().describe('At the first step; falls to 0 by half a cosine. Default: a tenth of optimizer.learning_rate.'),
  image: z.strictObject({ height: positiveInteger(SIDE_MAX), width: positiveInteger(SIDE_MAX) }).optional().describe('Size of the images in pixels, and from then on of what the model takes; not below the data\'s, which is the default.'),
  freeze: share.default(0.5).describe('Share of the model\'s parts (stem, blocks, …), from the input on, that stay as they are. 0: none; 1: all but the classifier. Default 0.5.'),
  teaches: z.boolean().default(false).describe('Which of the two models is gated, promoted and labels. false: the one before; the fine-tuned one is evaluated and reported. true: the fine-tuned one.'),
});

const earlyStop = z.strictObject({
  every_steps: positiveInteger(STEPS_MAX).describe('Steps between two measurements of the loss on the labeled images held out.'),
  patience: positiveInteger(HELD_OUT_MEASUREMENTS_MAX).default(3).describe('Measurements without improvement after which training stops. Default 3.'),
  min_delta: z.number().min(0).max(100).default(0).describe('How much lower the loss must be to count as improvement, in nats. Default 0.'),
  holdout: z.number().gt(0).max(0.5).default(0.1).describe('Share of each class\'s labeled images, rounded down, that is held out of every training of the run to measure on. Default 0.1.'),
});

const nearDuplicates = z.strictObject({
  distance: z.int().min(0).max(7).default(6).describe('Bits of 64 in which the perceptual hashes of two near-duplicates may differ. 0 to 7, default 6.'),
  correlation: z.number().gt(0).max(1, 'is at most 1: 99 % is 0.99').default(0.99).describe('Least correlation of their low-pass versions, above 0 to 1. Default 0.99.'),
});

export const recipeSchema = z
  .strictObject({
    apiVersion: z.literal('alumnus/v1').default('alumnus/v1'),
    kind: z.literal('Recipe').default('Recipe'),
    name: name.describe('Shown in lists; run ids begin with it.'),
    seed: z.int().min(0).max(2 ** 31 - 1).default(1).describe('Everything random in a run derives from it.'),
    weight: z.number().gt(0).max(100).default(1).describe('Share of the fleet against other runs.'),
    rounds: z.int().min(0).max(ROUNDS_MAX).default(3).describe('Iterations after iteration 0; 0 trains a teacher and stops.'),
    data: z.strictObject({
      dataset: datasetReference.optional().describe('The dataset whose parts are used where none is named below: NAME, its newest version, or NAME@N.'),
      labeled: partReference.optional(),
      unlabeled: partReference.optional(),
      validation: partReference.optional().describe('Decides promotions; no training sees it.'),
      test: partReference.optional().describe('Reported, never decided on.'),
      corrupted: name.optional().describe('What the names of the corrupted datasets begin with, as `alumnus dataset corrupt` made them of the dataset that has validation and test: every model is measured on them, too. Absent: on none.'),
      near_duplicates: nearDuplicates.optional().describe('Before the first selection, look for unlabeled images that look like one of validation or test (encoded again, brighter or, where they are not tiny, resized), and leave them out of every selection. Absent: only exact copies are refused.'),
      unlabeled_at_least: z.int().min(0).default(0).describe('Refuse to start with fewer unlabeled samples.'),
    }),
    models: z.strictObject({
      ladder: z.array(modelChoice).min(1).max(ROUNDS_MAX + 1).describe('The model of each iteration, iteration 0 first (with models.teacher iteration 1 first, since iteration 0 trains nothing); the last one serves all later ones. Equal or larger from step to step, but with training.distill.'),
      // Not there, rather than there and off: a recipe from before it is the same recipe.
      teacher: teacherSchema.optional().describe('A first teacher from elsewhere: iteration 0 imports it instead of training one.'),
    }),
    training: z
      .strictObject({
        teacher: teacherPhase.prefault({}),
        student: studentPhase.prefault({}),
        optimizer: optimizer.prefault({}),
        schedule: z
          .strictObject({
            name: z.enum(['cosine', 'exponential', 'constant']).default('cosine'),
            warmup_steps: z.int().min(0).max(STEPS_MAX).default(0),
            decay_factor: z.number().gt(0).lt(1).optional().describe('Of exponential: what the rate is multiplied by at each decay. Default 0.97.'),
            decay_steps: positiveInteger(STEPS_MAX).optional().describe('Of exponential: a decay every so many steps, in stairs counted from the first step. Default: 146 decays over the training, evenly, as 2.4 epochs of 350.'),
            decay_epochs: z.number().gt(0).max(STEPS_MAX).optional().describe('The same in epochs, passes over the labeled images by the labeled part of the batches; 2.4 in the published code.'),
          })
          .prefault({}),
        ema_decay: z.number().min(0).lt(1).default(0.995).describe('Exponential moving average of the weights; what labels and is evaluated.'),
        label_smoothing: z.number().min(0).max(0.5).default(0),
        clip_norm: z.number().min(0).max(1_000_000).optional().describe('Upper bound of the gradients\' norm, all of them taken together, before weight decay; 0, the default, is none.'),
        fine_tune: fineTune.optional().describe('After training: a model of its own, fine-tuned on the labeled images without noise, at the same size or a larger one. Absent: none.'),
        // Not there, rather than there and off: what a task hashes of an old recipe must stay as it was.
        distill: distillSchema.optional().describe('How students learn from their teacher beyond its labels: knowledge distillation. Of the students alone, not of iteration 0 nor the control; a student may then be smaller than its teacher. Absent: pseudo-labels are learned as labels are.'),
        early_stop: earlyStop.optional().describe('Of every training: stops where the loss on labeled images held out falls no more, and hands back the weights that had the least. Absent: every training has all its steps.'),
        checkpoint_steps: z.int().min(0).max(STEPS_MAX).default(1000).describe('Steps between two checkpoints, from which another worker goes on where one is lost; 0: none. Weights come out the same with and without. Default 1000.'),
        replicas: z.union([z.literal('auto'), positiveInteger(REPLICAS_MAX)], { error: `write a number of workers, 1 to ${REPLICAS_MAX}, or auto` }).optional().meta({ default: 1, description: `Workers that share each training, 1 to ${REPLICAS_MAX}; auto: as many as the fleet has when a round begins. Each makes all steps of the schedule, so N replicas see N times as many images. Default 1: one worker, no rounds.` }),
        sharing: sharing.optional().describe('How replicas share a training; without it the defaults. Not where replicas is not named.'),
      })
      .superRefine((training, context) => {
        if (training.sharing !== undefined && training.replicas === undefined) context.addIssue({ code: 'custom', path: ['sharing'], message: 'says how replicas share a training: name training.replicas, too' });
        if (training.early_stop !== undefined && training.replicas !== undefined && training.replicas !== 1) context.addIssue({ code: 'custom', path: ['early_stop'], message: 'ends a training by what one worker measures: leave it out, or training.replicas' });
      })
      // One worker's training is written as it was before there were replicas: what a task hashes, and a run's first fact, stay as they were.
      .transform(({ replicas, sharing: shared, ...training }): typeof training & { replicas?: number | 'auto'; sharing?: z.output<typeof sharing> } =>
        (replicas === undefined || replicas === 1 ? training : { ...training, replicas, sharing: shared ?? sharing.parse({}) }))
      .prefault({}),
    noise: noiseSchema.prefault({}).describe('Every model trains noised; labels are written on clean input (but for labels.noised_teacher).'),
    labels: z
      .strictObject({
        kind: z.enum(['soft', 'hard']).default('soft'),
        threshold: share.optional().meta({ default: THRESHOLD, description: `Least confidence of a pseudo-label that is kept. Default ${THRESHOLD} where no precision is written.` }),
        precision: z.number().gt(0).lt(1).optional().describe('Instead of threshold: how often the labels that are kept should be right, above 0 and below 1. Each teacher\'s threshold is the least confidence whose predictions on validation are right at least so often, by the 95 % lower bound.'),
        balance: z.enum(['classes', 'none']).default('classes'),
        budget_per_class: z.int().min(0).default(0).describe('Pseudo-labels a class; 0: eligible / classes.'),
        copies_max: z.int().min(1).max(100).default(10).describe('How often one sample may be repeated to fill its class.'),
        batch_size: positiveInteger(BATCH_MAX).default(500).describe('Images a prediction.'),
        drift: z.boolean().optional().describe('Compare the labels of each teacher with those of the one before: which change their class, by pair of classes and by shard, and a warning where they grow surer and validation does not say that they grow better. Reads every label table of both once more. Absent: not.'),
        noised_teacher: z.boolean().default(false).describe('An ablation, to measure what clean labels are worth: the teacher labels with noise.input, noise.erasing, dropout and stochastic depth. Leave it false to train.'),
      })
      .superRefine((labels, context) => {
        if (labels.threshold !== undefined && labels.precision !== undefined) context.addIssue({ code: 'custom', path: ['precision'], message: 'is written beside threshold: write one of the two' });
      })
      .transform((labels) => (labels.threshold === undefined && labels.precision === undefined ? { ...labels, threshold: THRESHOLD } : labels))
      .prefault({}),
    promotion: z
      .strictObject({
        require: z.enum(['not-worse', 'better']).default('not-worse').describe('not-worse: promote unless significantly worse; better: promote only if significantly better.'),
        alpha: z.number().gt(0).lt(1).default(0.05).describe('Level of the paired test, divided by the tries so far in the run.'),
        on_refusal: z.enum(['keep-teacher', 'retry', 'stop', 'wait']).default('keep-teacher').describe('keep-teacher: next round with the old teacher; retry: the same round with another seed, at most tries_max times; stop: end the run with the best; wait: pause for a person.'),
        tries_max: z.int().min(1).max(10).default(2),
        corruption_error_most: z.number().gt(0).max(100).optional().describe('With data.corrupted: how many times the present teacher\'s mean corruption error on validation a student\'s may be, or it is refused. 1: no worse. Absent: reported only.'),
      })
      .prefault({}),
    guards: z
      .strictObject({
        class_share_least: share.default(0.1).describe('Of the share that a class has of validation, how much it must have of the eligible pseudo-labels, or the run pauses before it trains on them. Share from 0 (never asked) to 1, default 0.1.'),
        class_share_most: z.number().gt(0).max(1).default(0.75).describe('Share of the eligible pseudo-labels above which one class pauses the run before it trains on them; classes that have more than half of it on validation are not asked. Above 0 to 1 (never asked), default 0.75.'),
        calibration_error_most: share.default(0.3).describe('Expected calibration error on validation (15 bins, without temperature) above which a model that is too sure of itself (its best temperature is above 1) and is to write labels is not promoted before a person has seen it. 0 to 1 (never asked), default 0.3.'),
      })
      .prefault({})
      .describe('What in a teacher\'s labels pauses the run until a person resumes it.'),
    tolerance: z
      .strictObject({
        quarantined_share: share.default(0.05).describe('Share of a stage\'s shards that may be quarantined before the run pauses.'),
        attempts: z.int().min(1).max(20).default(3).describe('Different workers a task fails on (or times, on a smaller fleet) before it is quarantined.'),
        class_coverage: share.default(0.1).describe('Where shards were quarantined: the share of its budget (labels.budget_per_class, or eligible / classes) that each class must still have in eligible labels, or the run pauses. Share from 0 (never asked) to 1, default 0.1. Asked only where labels.balance is classes.'),
      })
      .prefault({}),
    budget: z
      .strictObject({
        device_hours: z.number().min(0).max(DEVICE_HOURS_MAX).default(0).describe('Hours of device time that the run may take, failed attempts included, before it pauses. Default 0: no limit.'),
        wall_hours: z.number().min(0).max(WALL_HOURS_MAX).default(0).describe('Hours from submission, time paused left out, before the run pauses. Default 0: no limit.'),
      })
      .prefault({})
      .describe('When one of these is spent the run pauses: what is under way may finish, nothing more is begun. `alumnus run budget` changes them later.'),
    control: z.boolean().default(false).describe('Also train the final student\'s architecture on the labeled images alone, same noise, same steps.'),
    // Not there, rather than there and empty: a recipe from before it is the same recipe.
    comparisons: z.array(comparisonSchema).min(1).max(COMPARISONS_MAX).optional().describe('More trainings beside the stages, each the last student with something else about it. Evaluated and reported; they decide nothing.'),
    compress: compressSchema.optional().describe('Once everything is trained, measure what each model costs and keeps of its teacher\'s accuracy, with its kernels stored in fewer bytes, and choose the smallest that keeps enough. It decides nothing else. Absent: nothing is measured.'),
  })
  .superRefine((recipe, context) => {
    const { ladder, teacher: imported } = recipe.models;
    const trainings = imported === undefined ? recipe.rounds + 1 : recipe.rounds;
    if (trainings === 0) context.addIssue({ code: 'custom', path: ['rounds'], message: 'is 0, and with models.teacher iteration 0 trains nothing: ask for a round' });
    else if (ladder.length > trainings) {
      context.addIssue({ code: 'custom', path: ['models', 'ladder'], message: `has ${ladder.length} models for ${trainings} iterations${imported === undefined ? '' : ' that train (iteration 0 imports models.teacher)'}: raise rounds or take ${ladder.length - trainings} out` });
    }
    if (imported !== undefined && recipe.labels.noised_teacher) {
      context.addIssue({ code: 'custom', path: ['labels', 'noised_teacher'], message: 'cannot be asked of models.teacher: a model from elsewhere predicts clean, as it was saved' });
    }
    for (const problem of [...distillationProblems(recipe), ...compressionProblems(recipe)]) context.addIssue({ code: 'custom', ...problem });
    for (let step = 1; step < ladder.length && recipe.training.distill === undefined; step += 1) {
      const [smaller, larger] = [ladder[step - 1], ladder[step]];
      const [teacher, student] = [findModel(smaller?.model ?? ''), findModel(larger?.model ?? '')];
      if (smaller === undefined || larger === undefined || teacher === undefined || teacher.family !== student?.family) continue;
      for (const [key, option] of Object.entries(student.options)) {
        if (option.size !== true) continue;
        const [before, after] = [Number(smaller[key] ?? teacher.options[key]?.default), Number(larger[key] ?? option.default)];
        if (after < before) context.addIssue({ code: 'custom', path: ['models', 'ladder', step, key], message: `shrinks from ${before} to ${after}: a student is equal to its teacher or larger` });
      }
    }
    for (const part of ['labeled', 'unlabeled', 'validation'] as const) {
      if (recipe.data.dataset === undefined && recipe.data[part] === undefined && !(part === 'unlabeled' && recipe.rounds === 0)) {
        context.addIssue({ code: 'custom', path: ['data', part], message: 'name a dataset here, or one for all parts in data.dataset' });
      }
    }
    const names = (recipe.comparisons ?? []).map((each) => each.name);
    names.forEach((each, at) => {
      if (names.indexOf(each) < at) context.addIssue({ code: 'custom', path: ['comparisons', at, 'name'], message: `${each} is the name of an earlier one` });
      if (each === 'control') context.addIssue({ code: 'custom', path: ['comparisons', at, 'name'], message: 'control is the name of the one that `control: true` asks for' });
    });
    (recipe.comparisons ?? []).forEach(({ steps }, at) => {
      if (steps !== undefined && recipe.training.schedule.warmup_steps >= steps) context.addIssue({ code: 'custom', path: ['comparisons', at, 'steps'], message: `must be more than training.schedule.warmup_steps, ${recipe.training.schedule.warmup_steps}` });
    });
    if (names.length > 0 && recipe.rounds === 0) context.addIssue({ code: 'custom', path: ['comparisons'], message: 'are compared with the last student, and with rounds: 0 there is none' });
    if (recipe.promotion.corruption_error_most !== undefined && recipe.data.corrupted === undefined) {
      context.addIssue({ code: 'custom', path: ['promotion', 'corruption_error_most'], message: 'asks how models bear corrupted images: name them in data.corrupted, too' });
    }
    const { schedule } = recipe.training;
    for (const field of ['decay_factor', 'decay_steps', 'decay_epochs'] as const) {
      if (schedule[field] !== undefined && schedule.name !== 'exponential') context.addIssue({ code: 'custom', path: ['training', 'schedule', field], message: `belongs to the schedule "exponential", and this one is "${schedule.name}"` });
    }
    if (schedule.decay_steps !== undefined && schedule.decay_epochs !== undefined) context.addIssue({ code: 'custom', path: ['training', 'schedule', 'decay_epochs'], message: 'give decay_steps or decay_epochs, not both' });
    for (const field of ['decay', 'epsilon'] as const) {
      if (recipe.training.optimizer[field] !== undefined && recipe.training.optimizer.name !== 'rmsprop') context.addIssue({ code: 'custom', path: ['training', 'optimizer', field], message: `belongs to the optimizer "rmsprop", and this one is "${recipe.training.optimizer.name}"` });
    }
    const { student, fine_tune: tuned, early_stop: early } = recipe.training;
    if (student.batch_labeled === 0 && tuned === undefined) context.addIssue({ code: 'custom', path: ['training', 'student', 'batch_labeled'], message: 'may be 0 only beside training.fine_tune: the student would never see a labeled image' });
    if (student.batch_labeled === 0 && schedule.decay_epochs !== undefined) context.addIssue({ code: 'custom', path: ['training', 'schedule', 'decay_epochs'], message: 'counts passes over the labeled images, of which the students\' batches have none: give decay_steps' });
    if (early !== undefined) {
      const longest = Math.max(recipe.training.teacher.steps, student.steps, tuned?.steps ?? 0);
      if (longest > early.every_steps * HELD_OUT_MEASUREMENTS_MAX) context.addIssue({ code: 'custom', path: ['training', 'early_stop', 'every_steps'], message: `must be at least ${Math.ceil(longest / HELD_OUT_MEASUREMENTS_MAX)}: a training of ${longest} steps would be measured more than ${HELD_OUT_MEASUREMENTS_MAX} times` });
    }
    if (schedule.warmup_steps >= Math.min(imported === undefined ? recipe.training.teacher.steps : Infinity, recipe.training.student.steps)) {
      context.addIssue({ code: 'custom', path: ['training', 'schedule', 'warmup_steps'], message: 'must be fewer than the steps of every training' });
    }
  });

export type Recipe = z.infer<typeof recipeSchema>;
/** What a user may write: defaults left out. */
export type RecipeInput = z.input<typeof recipeSchema>;
export type ModelChoice = Recipe['models']['ladder'][number];
export type Training = Recipe['training'];
export type Sharing = z.output<typeof sharing>;
export type Noise = Recipe['noise'];
export type FineTune = NonNullable<Training['fine_tune']>;

/**
 * A recipe as a journal holds it, with the defaults of the release that took it. A field that this release did not know
 * means what its absence meant then, which is not always today's default.
 * @param recipeJson canonical JSON of a recipe that was valid when it was journalled.
 */
export function journalledRecipe(recipeJson: string): Recipe {
  const written = JSON.parse(recipeJson) as { readonly tolerance?: object; readonly guards?: object };
  // Before these could be asked, a run went on with whatever classes and confidence it had.
  return recipeSchema.parse({ ...written, tolerance: { class_coverage: 0, ...written.tolerance }, guards: { class_share_least: 0, class_share_most: 1, calibration_error_most: 1, ...written.guards } });
}

/** The recipe's schema as JSON Schema (draft 2020-12), for editors. */
export const recipeJsonSchema = (): unknown => ({
  $id: 'https://alumnus.dev/schemas/recipe-v1.json',
  title: 'Alumnus recipe',
  ...z.toJSONSchema(recipeSchema, { io: 'input', unrepresentable: 'any' }),
});

/** Whether that iteration imports its model from elsewhere, and so trains none. */
export const isImported = (recipe: Recipe, iteration: number): boolean => iteration === 0 && recipe.models.teacher !== undefined;

/** The ladder's step of an iteration that trains, from 0; its last one when the rounds go on beyond it. */
export function ladderStep({ models: { ladder, teacher } }: Recipe, iteration: number): number {
  return Math.min(teacher === undefined ? iteration : iteration - 1, ladder.length - 1);
}

/** The model that an iteration trains: the ladder's step. Not for one that imports its model. */
export function modelOfIteration(recipe: Recipe, iteration: number): ModelChoice {
  invariant(!isImported(recipe, iteration), 'an iteration that imports its model trains none');
  const choice = recipe.models.ladder[ladderStep(recipe, iteration)];
  if (choice === undefined) throw new Error('invariant broken: a validated recipe has a ladder');
  return choice;
}

/** A model's options with defaults filled in. */
export function modelOptions(choice: ModelChoice): Record<string, number> {
  const options = findModel(choice.model)?.options ?? {};
  return Object.fromEntries(Object.entries(options).map(([key, option]) => [key, Number(choice[key] ?? option.default)]));
}
