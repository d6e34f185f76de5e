/**
 * Fine-tuning as a run has it: after each training a second one that begins with its model, and so a second model in each iteration and
 * of the control. Which of the two is gated, promoted and labels is the recipe's choice (`teaches`); the other is evaluated and reported.
 * Pure. Not for: how it is done (worker/learning).
 * Invariants:
 *  1. Where the recipe has none, every function here answers as if there were no such thing, and no task's id changes.
 *  2. One model of an iteration is compared with the teacher: the candidate.
 *  3. A first teacher from elsewhere is not fine-tuned: nobody here could train it.
 */
import type { EvaluateResult, ObjectRef, TrainSpec } from '../../proto/gen/alumnus/v1/task.ts';
import { canonicalJson, type FineTune, type Recipe } from '../../recipe/index.ts';
import { currentIteration, subjects, type IterationState, type RunState, type Trained } from './state.ts';

/** Of the rate that training began with, where the recipe names no other. */
const RATE_SHARE = 0.1;

export interface Candidate {
  readonly trained: Trained | undefined;
  readonly evaluation: EvaluateResult | undefined;
}

const teaches = ({ recipe }: RunState): boolean => recipe.training.fine_tune?.teaches === true;

/** The model of an iteration that is gated and may be promoted. */
export const candidateOf = (state: RunState, { student, evaluation, fineTuned, fineTunedEvaluation, imported }: IterationState): Candidate =>
  (teaches(state) && imported === undefined ? { trained: fineTuned, evaluation: fineTunedEvaluation } : { trained: student, evaluation });

/** Who is paired with the present teacher when evaluated. */
export const candidateSubject = (state: RunState): string => (teaches(state) && currentIteration(state).imported === undefined ? subjects.fineTuned : subjects.student);

/** Whether a trained model still waits to be fine-tuned. */
export const fineTuneOwed = ({ recipe }: RunState, { trained, fineTuned, imported }: { readonly trained: unknown; readonly fineTuned?: unknown; readonly imported?: unknown }): boolean =>
  recipe.training.fine_tune !== undefined && imported === undefined && trained !== undefined && fineTuned === undefined;

/** Whether a model that was fine-tuned, or is going to be, still waits to be evaluated so. */
export const fineTunedEvaluationOwed = ({ recipe }: RunState, { fineTunedEvaluation, imported }: { readonly fineTunedEvaluation?: unknown; readonly imported?: unknown }): boolean =>
  recipe.training.fine_tune !== undefined && imported === undefined && fineTunedEvaluation === undefined;

type Shared = Omit<Recipe['training'], 'teacher' | 'student' | 'checkpoint_steps' | 'schedule' | 'fine_tune' | 'early_stop' | 'distill'>;

/** @param training the specification of the training whose model this begins with */
export function fineTuneSpec(training: TrainSpec, begin: ObjectRef, { steps, batch_labeled, learning_rate, image, freeze }: FineTune, shared: Shared, earlyStop: object | undefined): TrainSpec {
  const { optimizer } = shared;
  return {
    ...training, begin, image: training.image && { ...training.image, ...image }, unlabeled: undefined, selection: undefined, pseudoLabels: [], distill: undefined,
    trainingJson: canonicalJson({
      ...shared, optimizer: { ...optimizer, learning_rate: learning_rate ?? RATE_SHARE * optimizer.learning_rate }, schedule: { name: 'cosine', warmup_steps: 0 },
      steps, batch_labeled, batch_unlabeled: 0, noise: { input: { name: 'none' } }, freeze, early_stop: earlyStop,
    }),
  };
}
