/**
 * What a run will cost, as far as a recipe and its data say it: trainings with their steps and images, and what is to be
 * labeled. Pure. Not for: time, which depends on the fleet.
 */
import type { RunData } from '../proto/gen/alumnus/v1/events.ts';
import type { ImageSpec } from '../proto/gen/alumnus/v1/task.ts';
import { isImported, modelOfIteration, modelOptions, parameterCount, type ModelChoice, type Recipe } from '../recipe/index.ts';
import { integer, none, plain, plural } from './format.ts';
import { table } from './output.ts';

export interface Training {
  readonly title: string;
  readonly model: string;
  /** Undefined while the images' shape and the classes are not known. */
  readonly parameters: number | undefined;
  readonly steps: number;
  /** Of each step; where several workers share a training, of all of them together. */
  readonly images: number;
}

/** As the coordinator labels a model: `cnn width=16`. */
export function describeModel(choice: Readonly<Record<string, unknown>>): string {
  const options = Object.entries(choice).filter(([key]) => key !== 'model').map(([key, value]) => `${key}=${String(value)}`);
  return [String(choice['model']), ...options].join(' ');
}

/** The trainings of a run in which no student is refused, those beside the stages last. */
export function trainingsOf(recipe: Recipe, data: RunData | undefined): Training[] {
  const { teacher, student, replicas = 1, fine_tune: tuned } = recipe.training;
  const together = replicas === 'auto' ? 1 : replicas;
  const counted = (choice: ModelChoice, image: ImageSpec | undefined): number | undefined =>
    (image === undefined ? undefined : parameterCount({ model: { name: choice.model, options: modelOptions(choice) }, input: image, classes: data?.classNames.length ?? 0 }));
  const parameters = (choice: ModelChoice): number | undefined => counted(choice, data?.image);
  const tunedParameters = (choice: ModelChoice): number | undefined => counted(choice, data?.image && { ...data.image, ...tuned?.image });
  const training = (title: string, choice: ModelChoice, steps: number, images: number): Training => ({ title, model: describeModel(choice), parameters: parameters(choice), steps, images: images * together });
  const studentImages = student.batch_labeled + student.batch_unlabeled;
  const fineTuning = (title: string, choice: ModelChoice): Training[] => (tuned === undefined ? [] : [{ ...training(`${title} fine-tuned`, choice, tuned.steps, tuned.batch_labeled), parameters: tunedParameters(choice) }]);
  const rounds = Array.from({ length: recipe.rounds + 1 }, (_, iteration) => iteration).filter((iteration) => !isImported(recipe, iteration)).map((iteration) => {
    const choice = modelOfIteration(recipe, iteration);
    const own = iteration === 0 ? training('iteration 0', choice, teacher.steps, teacher.batch_labeled) : training(`iteration ${iteration}`, choice, student.steps, studentImages);
    return [own, ...fineTuning(`iteration ${iteration}`, choice)];
  }).flat();
  const besides = recipe.rounds === 0 ? [] : [...(recipe.control ? [{ name: 'control', model: undefined, steps: undefined }] : []), ...(recipe.comparisons ?? [])];
  return [...rounds, ...besides.flatMap(({ name, model = modelOfIteration(recipe, recipe.rounds), steps = student.steps }) => [training(name, model, steps, studentImages), ...fineTuning(name, model)])];
}

/** @param data undefined before a coordinator has looked at the datasets */
export function costText(recipe: Recipe, data: RunData | undefined): string {
  const trainings = trainingsOf(recipe, data);
  const seen = trainings.reduce((sum, each) => sum + each.steps * each.images, 0);
  const unlabeled = data?.unlabeled?.samples;
  const { on_refusal: onRefusal, tries_max: triesMax } = recipe.promotion;
  const retried = onRefusal === 'retry' && triesMax > 1 && recipe.rounds > 0 ? ` A round whose student is refused is trained again, up to ${triesMax} times in all.` : '';
  const shared = recipe.training.replicas === 'auto' ? ' Each training is shared by as many workers as there are, and sees as many times these images.' : '';
  const labeled = recipe.rounds === 0 ? '' : unlabeled === undefined
    ? ` All unlabeled images are labeled ${recipe.rounds === 1 ? 'once' : `${recipe.rounds} times`}.`
    : ` Images to label: ${integer(unlabeled)} in ${plural(recipe.rounds, 'round')}, ${integer(unlabeled * recipe.rounds)} in all.`;
  return `${table(
    ['training', 'model', 'parameters', 'steps', 'images a step', 'images'],
    trainings.map((each) => [each.title, plain(each.model), each.parameters === undefined ? none : integer(each.parameters), integer(each.steps), integer(each.images), integer(each.steps * each.images)]),
    [2, 3, 4, 5],
  )}\n${plural(trainings.length, 'training')} see ${recipe.training.early_stop === undefined ? '' : 'at most '}${integer(seen)} images.${shared}${labeled}${retried}`;
}
