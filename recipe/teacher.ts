/**
 * `models.teacher` of a recipe: a first teacher that was trained elsewhere, by the URL where it lies, with what it takes and
 * gives. What the model's own signature says may be left out. Not for: reading the model or holding it against the data
 * (the worker's import task), nor its classes against the data's (the coordinator, when a run is submitted).
 */
import { z } from 'zod';
import { AlumnusError } from '../proto/errors.ts';

/** A model's side beyond it is a typing error: no image classifier in use takes more than some 1,000. */
const SIDE_MAX = 4_096;
const OUTPUTS_MAX = 100_000;
const NAME_MAX = 512;

const side = z.int().min(1).max(SIDE_MAX);
const named = z.string().min(1).max(NAME_MAX);
const perChannel = z.union([z.number(), z.array(z.number()).min(1).max(3)]);

/** Why it is no place of a model; undefined where it may be one. */
function urlProblem(url: string): string | undefined {
  if (!/^(file:\/\/\/|https?:\/\/[^/?#]|s3:\/\/[^/?#])/.test(url) || !URL.canParse(url)) return 'write file:///folder/model, https://host/model.onnx, or s3://bucket/model?endpoint=https://host:port, of the model\'s folder or file';
  const { username, password } = new URL(url);
  return username === '' && password === '' ? undefined : 'holds credentials, and a recipe is no place for them: the keys of a bucket are in the workers\' environment';
}

const input = z.strictObject({
  name: named.optional().describe('The input that takes the images. Default the only one.'),
  height: side.optional().describe('Of the images it takes, in pixels; images of the data are resized to it, bilinearly. Default the model\'s own, else the data\'s.'),
  width: side.optional(),
  channels: z.union([z.literal(1), z.literal(3)]).optional().describe('Default the model\'s own, else the data\'s.'),
  layout: z.enum(['nhwc', 'nchw']).optional().describe('nhwc: [batch, height, width, channels], as TensorFlow; nchw: [batch, channels, height, width], as PyTorch. Default what its shape tells, else nchw for onnx and nhwc for the others.'),
  range: z.tuple([z.number(), z.number()]).refine(([low, high]) => low < high, 'write the lower number first').default([0, 1])
    .describe('What pixels of 0 and 255 become, before mean and std. Default [0, 1]; a model with a rescaling of its own takes [0, 255], one of Keras\'s "tf" mode [-1, 1].'),
  mean: perChannel.optional().describe('Taken from each channel after range: one number, or one a channel. Default 0; timm and torchvision: [0.485, 0.456, 0.406].'),
  std: perChannel.refine((value) => [value].flat().every((each) => each > 0), 'must be above 0').optional().describe('What that is divided by. Default 1; timm and torchvision: [0.229, 0.224, 0.225].'),
}).superRefine((settings, context) => {
  for (const field of ['mean', 'std'] as const) {
    const value = settings[field];
    const channels = settings.channels ?? 3;
    if (Array.isArray(value) && value.length !== 1 && value.length !== channels) context.addIssue({ code: 'custom', path: [field], message: `has ${value.length} numbers for ${channels} channels` });
  }
});

const distinct = (list: readonly unknown[]): boolean => new Set(list).size === list.length;

const output = z.strictObject({
  name: named.optional().describe('The output that tells the classes. Default the only one.'),
  kind: z.enum(['logits', 'probabilities']).optional().describe('Default what a few images show: probabilities where each row is from 0 to 1 and sums to 1.'),
  classes: z.array(z.string().min(1).max(NAME_MAX)).min(2).max(OUTPUTS_MAX).refine(distinct, 'holds a name twice').optional()
    .describe('What the model calls its classes, in the order of its outputs: those of the data are found among them by name. Without it the model\'s outputs are the data\'s classes, in their order.'),
  indices: z.array(z.int().min(0).max(OUTPUTS_MAX - 1)).min(2).refine(distinct, 'holds an index twice').optional()
    .describe('Instead of classes: for each class of the data, in its order, the index of the model\'s output, from 0.'),
}).superRefine(({ classes, indices }, context) => {
  if (classes !== undefined && indices !== undefined) context.addIssue({ code: 'custom', path: ['indices'], message: 'is written beside classes: write one of the two' });
});

export const teacherSchema = z.strictObject({
  url: z.string().superRefine((url, context) => {
    const problem = urlProblem(url);
    if (problem !== undefined) context.addIssue({ code: 'custom', message: problem });
  }).describe('Where the model lies, as workers reach it: the folder of a SavedModel; the folder or model.json of a TF.js model; the folder or .onnx file of an ONNX model.'),
  format: z.enum(['savedmodel', 'tfjs', 'onnx']).optional().describe('Default told by what lies there: saved_model.pb, model.json, or a name that ends in .onnx.'),
  input: input.prefault({}),
  output: output.prefault({}),
});

export type ForeignTeacher = z.infer<typeof teacherSchema>;

/** What tables call it: `birds-b3 (imported)`, by the last part of its URL that says something. */
export function foreignTeacherName({ url }: ForeignTeacher): string {
  const parts = decodeURIComponent(new URL(url).pathname).split('/').filter((part) => part !== '' && !['model.json', 'model.onnx'].includes(part));
  return `${parts.at(-1) ?? new URL(url).host} (imported)`;
}

/**
 * For each class of the data the index of the model's output; undefined where the outputs are the data's classes in their order.
 * @throws AlumnusError RECIPE_INVALID where the lists of the recipe do not cover the data's classes
 */
export function outputIndices({ output: { classes, indices } }: Pick<ForeignTeacher, 'output'>, classNames: readonly string[]): number[] | undefined {
  if (indices !== undefined) {
    if (indices.length !== classNames.length) throw new AlumnusError('RECIPE_INVALID', `has ${indices.length} indices for the ${classNames.length} classes of the data (${told(classNames)})`, { where: 'models.teacher.output.indices' });
    return [...indices];
  }
  if (classes === undefined) return undefined;
  const missing = classNames.filter((name) => !classes.includes(name));
  if (missing.length > 0) throw new AlumnusError('RECIPE_INVALID', `does not name ${told(missing)} of the data's classes; name them there as the data does, or write indices instead`, { where: 'models.teacher.output.classes' });
  return classNames.map((name) => classes.indexOf(name));
}

/** Names in a sentence: more of them nobody reads. */
const NAMES_TOLD_MAX = 8;
const told = (names: readonly string[]): string => (names.length <= NAMES_TOLD_MAX ? names.join(', ') : `${names.slice(0, NAMES_TOLD_MAX).join(', ')} and ${names.length - NAMES_TOLD_MAX} more`);
