/**
 * What a model from elsewhere takes and gives, held against what the recipe says of it and against the data, before
 * anything is labeled. Pure. Whatever does not fit is one TEACHER_UNSUITABLE that names both sides and the recipe's field.
 */
import { AlumnusError } from '../../proto/errors.ts';
import { outputIndices, type ForeignTeacher, type ImageShape } from '../../recipe/index.ts';
import type { ModelFormat, Signature, Values } from './model.ts';

/** How images of the data become what the model takes. */
export interface ForeignInput extends ImageShape {
  readonly name: string;
  readonly layout: 'nhwc' | 'nchw';
  /** Images in each call; undefined: any number. */
  readonly batch?: number;
  /** What 0 and 255 become. */
  readonly range: readonly [number, number];
  /** After that, of each channel: minus `mean`, divided by `std`. */
  readonly mean: readonly number[];
  readonly std: readonly number[];
}

export interface ForeignOutput {
  readonly name: string;
  readonly kind: 'logits' | 'probabilities';
  /** How many classes the model tells. */
  readonly outputs: number;
  /** For each class of the data the model's output; absent where they are the same in the same order. */
  readonly indices?: readonly number[];
}

const unsuitable = (field: string, what: string): AlumnusError => new AlumnusError('TEACHER_UNSUITABLE', what, { where: `models.teacher.${field}` });

const shapeText = ({ shape }: Signature): string => (shape === undefined ? 'a shape that it does not tell' : `[${shape.map((size) => size ?? 'any').join(', ')}]`);

const layouts = { nhwc: { height: 1, width: 2, channels: 3 }, nchw: { height: 2, width: 3, channels: 1 } } as const;

const isChannels = (size: number | undefined): boolean => size === 1 || size === 3;

function layoutOf(format: ModelFormat, shape: Signature['shape']): 'nhwc' | 'nchw' {
  const [last, first] = [isChannels(shape?.[3]), isChannels(shape?.[1])];
  if (last !== first) return last ? 'nhwc' : 'nchw';
  return format === 'onnx' ? 'nchw' : 'nhwc';
}

/** @throws AlumnusError TEACHER_UNSUITABLE */
export function agreeOnInput(format: ModelFormat, inputs: readonly Signature[], settings: ForeignTeacher['input'], image: ImageShape): { input: ForeignInput; notes: string[] } {
  const names = inputs.map(({ name }) => name).join(', ');
  const chosen = settings.name === undefined ? inputs[0] : inputs.find(({ name }) => name === settings.name);
  if (chosen === undefined) throw unsuitable('input.name', settings.name === undefined ? 'the model has no input' : `the model has no input "${settings.name}"; it has ${names}`);
  if (inputs.length > 1) throw unsuitable('input', `the model has the inputs ${names}, and images are all it can be given: save it with that one input`);
  if (chosen.dataType !== 'float32') throw unsuitable('input', `the model's input ${chosen.name} is ${chosen.dataType}, and float32 is what it can be given`);
  const { shape } = chosen;
  if (shape !== undefined && shape.length !== 4) throw unsuitable('input', `the model's input ${chosen.name} has the shape ${shapeText(chosen)}; images are [batch, height, width, channels] or [batch, channels, height, width]`);
  const layout = settings.layout ?? layoutOf(format, shape);
  const sizeOf = (side: keyof ImageShape): number => {
    const [asked, own] = [settings[side], shape?.[layouts[layout][side]]];
    if (asked !== undefined && own !== undefined && asked !== own) throw unsuitable(`input.${side}`, `the recipe says ${asked}, and the model's input ${chosen.name} is ${shapeText(chosen)} (${layout}), of which that is ${own}`);
    return asked ?? own ?? image[side];
  };
  const input = { height: sizeOf('height'), width: sizeOf('width'), channels: sizeOf('channels') };
  if (input.channels !== image.channels) throw unsuitable('input.channels', `the model takes images of ${input.channels} channels (its input ${chosen.name} is ${shapeText(chosen)}, ${layout}), and those of the data have ${image.channels}`);
  const perChannel = (field: 'mean' | 'std', byDefault: number): number[] => {
    const given = [settings[field] ?? byDefault].flat();
    if (given.length !== 1 && given.length !== input.channels) throw unsuitable(`input.${field}`, `the recipe gives ${given.length} numbers, and the model's images have ${input.channels} channels`);
    return Array.from({ length: input.channels }, (_, channel) => given[given.length === 1 ? 0 : channel] ?? byDefault);
  };
  const batch = shape?.[0];
  const resized = input.height !== image.height || input.width !== image.width;
  return {
    input: { name: chosen.name, ...input, layout, ...(batch === undefined ? {} : { batch }), range: settings.range, mean: perChannel('mean', 0), std: perChannel('std', 1) },
    notes: [
      ...(resized ? [`images of ${image.height}x${image.width} are resized to the ${input.height}x${input.width} that it takes, bilinearly`] : []),
      ...(batch === undefined ? [] : [`it takes ${batch} ${batch === 1 ? 'image' : 'images'} a call, whatever labels.batch_size says`]),
    ],
  };
}

/** @returns the output's name, and for each class of the data the model's output. @throws AlumnusError TEACHER_UNSUITABLE, RECIPE_INVALID */
export function agreeOnOutput(outputs: readonly Signature[], teacher: Pick<ForeignTeacher, 'output'>, classNames: readonly string[]): { name: string; indices: number[] | undefined } {
  const names = outputs.map(({ name }) => name).join(', ');
  const wanted = teacher.output.name;
  const chosen = wanted === undefined ? outputs[0] : outputs.find(({ name }) => name === wanted);
  if (chosen === undefined) throw unsuitable('output.name', wanted === undefined ? 'the model has no output' : `the model has no output "${wanted}"; it has ${names}`);
  if (wanted === undefined && outputs.length > 1) throw unsuitable('output.name', `the model has the outputs ${names}: say which one tells the classes`);
  if (chosen.dataType !== 'float32') throw unsuitable('output', `the model's output ${chosen.name} is ${chosen.dataType}, and scores of classes are float32`);
  return { name: chosen.name, indices: outputIndices(teacher, classNames) };
}

/** How far from 1 the probabilities of an image may sum: float16 models round each. */
const SUM_TOLERANCE = 0.01;
/** Below 0 and above 1 by rounding. */
const EDGE_TOLERANCE = 1e-3;

/**
 * What the model gave for a few images is what it was said to give.
 * @param given of `count` images
 * @throws AlumnusError TEACHER_UNSUITABLE
 */
export function agreeOnKind(given: Values, count: number, name: string, teacher: Pick<ForeignTeacher, 'output'>, indices: readonly number[] | undefined, classNames: readonly string[]): { output: ForeignOutput; notes: string[] } {
  const { shape, values } = given;
  const outputs = shape[1] ?? 0;
  if (shape.length !== 2 || shape[0] !== count) throw unsuitable('output', `the model's output ${name} is [${shape.join(', ')}] for ${count} images, and [${count}, classes] is asked for`);
  if (indices === undefined && outputs !== classNames.length) {
    throw unsuitable('output.classes', `the model tells ${outputs} classes, and the data has ${classNames.length} (${classNames.slice(0, 8).join(', ')}${classNames.length > 8 ? ', …' : ''}): name the model's classes in output.classes, or the outputs that are the data's in output.indices`);
  }
  const beyond = indices?.find((index) => index >= outputs);
  if (beyond !== undefined) throw unsuitable('output.indices', `output ${beyond} is asked for, and the model tells ${outputs} classes (0 to ${outputs - 1})`);
  if (teacher.output.classes !== undefined && teacher.output.classes.length !== outputs) throw unsuitable('output.classes', `the recipe names ${teacher.output.classes.length} classes of the model, and it tells ${outputs}`);
  if (!values.every(Number.isFinite)) throw unsuitable('input', `the model's output ${name} is not finite for images of the data: see input.range, mean and std`);
  const within = values.every((value) => value >= -EDGE_TOLERANCE && value <= 1 + EDGE_TOLERANCE);
  const sums = Array.from({ length: count }, (_, row) => values.subarray(row * outputs, (row + 1) * outputs).reduce((sum, value) => sum + value, 0));
  const looksLike = within && sums.every((sum) => Math.abs(sum - 1) <= SUM_TOLERANCE) ? 'probabilities' : within ? 'neither' : 'logits';
  const asked = teacher.output.kind;
  const off = sums.reduce((most, sum) => (Math.abs(sum - 1) > Math.abs(most - 1) ? sum : most), 1);
  if (asked === 'probabilities' && looksLike !== 'probabilities') throw unsuitable('output.kind', `the recipe says probabilities, and the model's outputs are ${within ? `from 0 to 1 but sum to ${off.toPrecision(3)} for an image` : 'not within 0 and 1'}`);
  if (asked === 'logits' && looksLike === 'probabilities') throw unsuitable('output.kind', 'the recipe says logits, and the model\'s outputs are probabilities already: softmax of those would make every label unsure');
  if (asked === undefined && looksLike === 'neither') throw unsuitable('output.kind', `the model's outputs are from 0 to 1 and sum to ${off.toPrecision(3)} for an image, so they are no probabilities of one class each (a sigmoid for each class?): take a model with a softmax or with logits, or say kind: logits if these are`);
  const kind = asked ?? (looksLike === 'probabilities' ? 'probabilities' : 'logits');
  return {
    output: { name, kind, outputs, ...(indices === undefined ? {} : { indices }) },
    notes: [
      ...(asked === undefined ? [`its outputs are taken for ${kind}, as those of ${count} images look`] : []),
      ...(indices === undefined ? [`its ${outputs} outputs are taken for the data's classes in their order: ${classNames.slice(0, 8).join(', ')}${classNames.length > 8 ? ', …' : ''}`] : indices.length < outputs ? [`of its ${outputs} classes the ${indices.length} of the data are taken, and their probabilities made to sum to 1`] : []),
    ],
  };
}
