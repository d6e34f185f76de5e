/** What a model's signature leaves open, and what it fixes: the misfits that no small fixture has. Expected log-probabilities were computed by hand in numpy. */
import { describe, expect, test } from 'vitest';
import { agreeOnInput, agreeOnKind, agreeOnOutput, type Signature } from '../../../worker/foreign/index.ts';
import { writeLogProbabilities } from '../../../worker/foreign/predictor.ts';

const image = { height: 32, width: 32, channels: 3 };
const signature = (shape: Signature['shape'], dataType = 'float32', name = 'x'): Signature => ({ name, dataType, shape });
const settings = { range: [0, 1] as [number, number] };
const unsuitable = (where: string, message: RegExp): Error => expect.objectContaining({ code: 'TEACHER_UNSUITABLE', where: `models.teacher.${where}`, message: expect.stringMatching(message) as string }) as Error;

describe('the input', () => {
  test.each([
    ['channels last', 'tfjs', [undefined, 224, 224, 3], {}, { layout: 'nhwc', height: 224, width: 224, channels: 3 }],
    ['channels first', 'savedmodel', [undefined, 3, 224, 200], {}, { layout: 'nchw', height: 224, width: 200, channels: 3 }],
    ['any size: the data\'s', 'onnx', [undefined, 3, undefined, undefined], {}, { layout: 'nchw', height: 32, width: 32, channels: 3 }],
    ['nothing told, ONNX: as PyTorch exports', 'onnx', undefined, {}, { layout: 'nchw', height: 32, width: 32, channels: 3 }],
    ['nothing told, TensorFlow', 'savedmodel', undefined, { height: 96, width: 64 }, { layout: 'nhwc', height: 96, width: 64, channels: 3 }],
    ['three rows and three channels: the recipe says', 'onnx', [undefined, 3, 64, 3], { layout: 'nhwc' }, { layout: 'nhwc', height: 3, width: 64, channels: 3 }],
  ] as const)('%s', (_, format, shape, written, expected) => {
    expect(agreeOnInput(format, [signature(shape)], { ...settings, ...written }, image).input).toMatchObject(expected);
  });

  test.each([
    ['bytes', [signature([undefined, 32, 32, 3], 'uint8')], 'input', /x is uint8, and float32/],
    ['half precision', [signature([undefined, 3, 32, 32], 'float16')], 'input', /x is float16, and float32/],
    ['flat images', [signature([undefined, 3072])], 'input', /x has the shape \[any, 3072\]/],
    ['a second input', [signature(undefined), signature([], 'bool', 'training')], 'input', /has the inputs x, training/],
    ['gray', [signature([undefined, 28, 28, 1])], 'input.channels', /takes images of 1 channels .* and those of the data have 3/],
  ] as const)('%s is refused', (_, inputs, where, message) => {
    expect(() => agreeOnInput('savedmodel', inputs, settings, image)).toThrow(unsuitable(where, message));
  });

  test('one number for all channels, and none for none', () => {
    expect(agreeOnInput('onnx', [signature(undefined)], { ...settings, std: 0.5 }, image).input).toMatchObject({ mean: [0, 0, 0], std: [0.5, 0.5, 0.5] });
  });
});

describe('the output', () => {
  test('of several is named by the recipe', () => {
    const outputs = [signature([undefined, 3], 'float32', 'logits'), signature([undefined, 512], 'float32', 'features')];
    expect(agreeOnOutput(outputs, { output: { name: 'logits' } }, ['a', 'b', 'c']).name).toBe('logits');
    expect(() => agreeOnOutput(outputs, { output: {} }, ['a', 'b', 'c'])).toThrow(unsuitable('output.name', /has the outputs logits, features: say which one tells the classes/));
  });

  const kindOf = (values: readonly number[], output: object = {}): string => agreeOnKind({ values: Float32Array.from(values), shape: [2, 3] }, 2, 'y', { output }, undefined, ['a', 'b', 'c']).output.kind;
  test('is told by what it gives', () => {
    expect(kindOf([0.2, 0.3, 0.5, 1, 0, 0])).toBe('probabilities');
    expect(kindOf([0.2, 0.3, 0.5, 1.5, -0.5, 0])).toBe('logits');
    // Every value and every sum within float16's rounding.
    expect(kindOf([0.2, 0.3, 0.504, 0.9995, 0, 0.0002])).toBe('probabilities');
  });
  test('that may be either is asked for, and is what the recipe says', () => {
    const sigmoid = [0.9, 0.8, 0.1, 0.2, 0.2, 0.2];
    expect(() => kindOf(sigmoid)).toThrow(unsuitable('output.kind', /from 0 to 1 and sum to 1\.80 for an image/));
    expect(kindOf(sigmoid, { kind: 'logits' })).toBe('logits');
    expect(() => kindOf(sigmoid, { kind: 'probabilities' })).toThrow(unsuitable('output.kind', /from 0 to 1 but sum to 1\.80/));
  });
  test('that is not finite is refused', () => {
    expect(() => kindOf([1, 2, 3, Number.NaN, 0, 0])).toThrow(unsuitable('input', /is not finite/));
  });
  test('that is no row an image is refused', () => {
    expect(() => agreeOnKind({ values: new Float32Array(24), shape: [2, 2, 2, 3] }, 2, 'y', { output: {} }, undefined, ['a', 'b', 'c'])).toThrow(unsuitable('output', /y is \[2, 2, 2, 3\] for 2 images/));
  });
});

describe('log-probabilities', () => {
  const of = (values: readonly number[], output: { kind: 'logits' | 'probabilities'; outputs: number; indices?: number[] }, classes: number): number[] => {
    const into = new Float32Array(classes);
    writeLogProbabilities(Float32Array.from(values), 1, { name: 'y', ...output }, into);
    return [...into];
  };
  test('of logits, also large ones', () => {
    // log_softmax([1, 2, 4]); of [1000, 1001, 1003] the same.
    for (const base of [0, 999]) of([base + 1, base + 2, base + 4], { kind: 'logits', outputs: 3 }, 3).forEach((value, at) => expect(value).toBeCloseTo([-3.16984602, -2.16984602, -0.16984602][at] ?? 0, 5));
  });
  test('of probabilities, where a 0 stays finite', () => {
    const [first, second, third] = of([0.75, 0.25, 0], { kind: 'probabilities', outputs: 3 }, 3);
    // ln 0.75, ln 0.25, and -126 ln 2.
    expect(first).toBeCloseTo(-0.28768207, 6);
    expect(second).toBeCloseTo(-1.38629436, 6);
    expect(third).toBeCloseTo(-87.3365448, 4);
  });
  test('of some of the outputs, made to sum to 1', () => {
    // 0.1 / 0.4 and 0.3 / 0.4.
    of([0.3, 0.6, 0.1], { kind: 'probabilities', outputs: 3, indices: [2, 0] }, 2).forEach((value, at) => expect(value).toBeCloseTo([-1.38629436, -0.28768207][at] ?? 0, 6));
  });
});
