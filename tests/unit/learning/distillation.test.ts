/** Distillation: its loss and gradients against PyTorch and DeiT's own code (distillation-expected.py says how), and the step that an online teacher labels in. */
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { parameterSpecs, type Architecture } from '../../../recipe/index.ts';
import { createPredictor, decodeCheckpoint, encodeCheckpoint, encodeWeights, train } from '../../../worker/learning/index.ts';
import type { Batch, OnlineTeacher, TrainingSettings } from '../../../worker/learning/index.ts';
import { distillationLoss, teacherTargets } from '../../../worker/learning/distillation.ts';
import { initialState, initialWeights, stepVariables, trainingStep } from '../../../worker/learning/step.ts';
import { stepSeed } from '../../../worker/learning/draws.ts';
import { compile, interpret, loadTensorFlow, type Executable, type Tensor, type TensorFlow } from '../../../worker/tensorflow/index.ts';
import { architecture, batch, settings, threads } from './setting.ts';

interface Case { name: string; truth: number[]; targets: 'soft' | 'hard'; temperature: number; share: number; head: 'class' | 'token'; two: boolean; loss: number; gradient: number[]; second: number[] | null }
interface Expected { rows: number; classes: number; teacher: number[]; student: number[]; second: number[]; cases: Case[]; sizes: { temperature: number; small: number; smallWithout: number; large: number }[] }
const expected = JSON.parse(readFileSync(new URL('distillation-expected.json', import.meta.url), 'utf8')) as Expected;
const { rows, classes } = expected;

let engine: TensorFlow;
beforeAll(() => { engine = loadTensorFlow({ threads }); });

const matrix = (values: readonly number[]): Tensor => engine.tf.tensor2d([...values], [rows, classes]);
const close = (found: ArrayLike<number>, wanted: readonly number[], most: number): void => {
  expect(found).toHaveLength(wanted.length);
  expect(Math.max(...wanted.map((value, at) => Math.abs(value - found[at]!)))).toBeLessThan(most);
};

/** Loss, and its gradient by the logits of both heads. */
function lossAndGradients({ truth, targets, temperature, share, head, two }: Omit<Case, 'name' | 'loss' | 'gradient' | 'second'>, scale = 1): { loss: number; gradients: Float32Array[] } {
  const { tf } = engine;
  const wish = { teacher: 'stored', targets, temperature, share, head } as const;
  const scaled = (values: readonly number[]): Tensor => tf.mul(matrix(values), scale);
  const teacher = teacherTargets(engine, tf.logSoftmax(scaled(expected.teacher)), wish);
  const { value, grads } = tf.valueAndGrads((one: Tensor, other: Tensor) => tf.add<ReturnType<typeof tf.scalar>>(distillationLoss(engine, { truth: matrix(truth), teacher }, { class: one, distillation: two ? other : undefined }, wish), tf.mul(tf.sum(other), 0)))([scaled(expected.student), scaled(expected.second)]);
  return { loss: value.dataSync()[0]!, gradients: grads.map(gradient => gradient.dataSync() as Float32Array) };
}

describe('the loss', () => {
  it.each(expected.cases.map(each => [each.name, each] as const))('equals PyTorch\'s, and so does its gradient: %s', (_, each) => {
    const { loss, gradients } = lossAndGradients(each);
    // float32 against float64, of values up to 10.
    expect(Math.abs(loss - each.loss)).toBeLessThan(5e-6);
    close(gradients[0]!, each.gradient, 3e-6);
    close(gradients[1]!, each.second ?? Array<number>(rows * classes).fill(0), 3e-6);
  });

  it('has by T² a gradient whose size does not depend on T where logits are small against it, and would fall by T² without', () => {
    const norm = (temperature: number, scale: number): number => Math.hypot(...lossAndGradients({ truth: Array<number>(rows * classes).fill(0), targets: 'soft', temperature, share: 1, head: 'class', two: false }, scale).gradients[0]!);
    expect(expected.sizes.map(({ temperature }) => temperature)).toEqual([1, 2, 4, 8]);
    for (const { temperature, small, smallWithout, large } of expected.sizes) {
      expect(norm(temperature, 0.01) / small).toBeCloseTo(1, 3);
      expect(norm(temperature, 0.01) / expected.sizes[0]!.small).toBeCloseTo(1, 3);
      expect(small / smallWithout).toBeCloseTo(temperature ** 2, 6);
      expect(norm(temperature, 1)).toBeCloseTo(large, 5);
    }
  });

  it('is nothing where the student says what its teacher says', () => {
    const { tf } = engine;
    for (const temperature of [1, 8]) {
      const wish = { teacher: 'stored', targets: 'soft', temperature, share: 1, head: 'class' } as const;
      const loss = distillationLoss(engine, { truth: tf.zeros([rows, classes]), teacher: teacherTargets(engine, matrix(expected.teacher), wish) }, { class: matrix(expected.teacher) }, wish);
      expect(Math.abs(loss.dataSync()[0]!)).toBeLessThan(1e-5);
    }
  });

  it('takes a teacher that is sure beyond what a float can say', () => {
    const { tf } = engine;
    const said = tf.tensor2d([[0, -60000, -60000, -60000]]);
    for (const targets of ['soft', 'hard'] as const) {
      const wish = { teacher: 'stored', targets, temperature: 1, share: 1, head: 'class' } as const;
      // log softmax of zeros is -log 4.
      expect(distillationLoss(engine, { truth: tf.zeros([1, 4]), teacher: teacherTargets(engine, said, wish) }, { class: tf.zeros([1, 4]) }, wish).dataSync()[0]).toBeCloseTo(Math.log(4), 6);
    }
  });
});

const mixing = { mixupAlpha: 0.8, cutmixAlpha: 1, probability: 0.9, switchProbability: 0.5 } as const;
const vit: Architecture = { model: { name: 'deit-tiny', options: { patch: 4, width: 12, depth: 2, heads: 2, survival: 0.8, dropout: 0.1 } }, input: { height: 12, width: 12, channels: 3 }, classes: 5 };
const noisyTeacher = architecture('residual', { width: 4, blocks: 1, dropout: 0.5, survival: 0.5 });

function teacherOf(chosen: Architecture): OnlineTeacher {
  // Weights that tell classes apart, and running statistics that are not those of a batch.
  const weights = initialWeights(chosen, 7);
  return { architecture: chosen, weights: parameterSpecs(chosen).map(({ name, shape, role }) => ({ name, shape: [...shape], values: role === 'statistic' ? weights[name]!.map((value, at) => value + 0.01 * (at % 3)) : weights[name]!.map(value => value * 1.5) })) };
}

/** The labeled five with their class, the other seven without; with `stored`, what a teacher might have said of each. */
function distillationBatch(stored: boolean, step: number): Batch {
  const { images, targets } = batch(12, step);
  const width = stored ? 10 : 5;
  const rows = new Float32Array(12 * width);
  for (let row = 0; row < 12; row++) {
    if (row < 5) rows.set(targets.subarray(row * 5, row * 5 + 5), row * width);
    if (stored) for (let at = 0; at < 5; at++) rows[row * width + 5 + at] = Math.log(targets[row * 5 + at] === 1 ? 0.6 : 0.1);
  }
  return { images, targets: rows };
}

const distilled = (over: Partial<NonNullable<TrainingSettings['distillation']>> = {}, more: Partial<TrainingSettings> = {}): TrainingSettings =>
  settings({ distillation: { teacher: 'online', targets: 'soft', temperature: 2, share: 0.5, head: 'class', ...over }, ...more });

describe('the compiled step of distillation', () => {
  const randaugment = { name: 'randaugment', operations: 'paper14', layers: 2, magnitude: 9 } as const;
  const sgd = { name: 'sgd', learningRate: 0.01, weightDecay: 1e-4, momentum: 0.9, decay: 0, epsilon: 0 } as const;

  /** Both from one start. @returns their states after 20 steps, and the step's variables at its start */
  function both(chosen: Architecture, of: TrainingSettings, eachStep: (compiled: number, eager: number) => void): Record<'compiled' | 'eager' | 'start', Record<string, Float32Array>> {
    const teacher = of.distillation?.teacher === 'online' ? teacherOf(noisyTeacher) : undefined;
    const program = trainingStep(engine, chosen, of, teacher);
    // What a checkpoint holds is the student's alone.
    expect(Object.keys(program.variables)).toEqual(Object.keys(stepVariables(chosen, of)));
    const start = initialState(chosen, of);
    const [compiled, eager] = [compile(engine, program), interpret(engine, program)];
    for (const executable of [compiled, eager]) executable.write(start);
    for (let step = 0; step < 20; step++) {
      const feed = { ...distillationBatch(teacher === undefined, step), rate: Float32Array.of(0.003), seed: stepSeed(1, step) };
      const [outputs, reference] = [compiled.run(feed), eager.run(feed)];
      expect([outputs['finite']![0], reference['finite']![0]]).toEqual([1, 1]);
      eachStep(outputs['loss']![0]!, reference['loss']![0]!);
    }
    const states = { compiled: compiled.read(), eager: eager.read(), start };
    for (const executable of [compiled, eager]) executable.dispose();
    return states;
  }

  it.each([
    ['stored, soft', architecture('cnn'), distilled({ teacher: 'stored' })],
    ['stored, soft, batch norm, all noise', architecture('residual'), distilled({ teacher: 'stored', temperature: 8 }, { noise: randaugment, mixing })],
    ['stored, hard, mixed', architecture('cnn'), distilled({ teacher: 'stored', targets: 'hard', temperature: 1 }, { mixing })],
    ['online, hard, mixed: rounding changes no most probable class', architecture('cnn'), distilled({ targets: 'hard', temperature: 1 }, { mixing })],
  ] as const)('equals the eager one to the bit after 20 steps: %s', (_, chosen, of) => {
    const { compiled, eager, start } = both(chosen, of, (loss, reference) => expect(loss).toBe(reference));
    for (const [name, values] of Object.entries(eager)) expect(compiled[name], name).toEqual(values);
    for (const { name } of parameterSpecs(chosen)) expect(compiled[name], name).not.toEqual(start[name]);
  });

  // A graph makes one kernel of several in what has no gradient, as the teacher is, and takes another for attention's softmax; both add in another order. The bounds
  // are those of models.test.ts: of the loss, and of all weights as a share of how far training moved them.
  it.each([
    ['online, soft', architecture('cnn'), distilled({}, { optimizer: sgd })],
    ['online, soft, batch norm, all noise', architecture('residual'), distilled({}, { noise: randaugment, mixing, optimizer: sgd })],
    ['online, hard, token', vit, distilled({ targets: 'hard', temperature: 1, head: 'token' }, { mixing, optimizer: sgd })],
    ['online, soft, token', vit, distilled({ share: 0.1, temperature: 3, head: 'token' }, { optimizer: sgd })],
    ['online, soft, both heads alike', vit, distilled({}, { optimizer: sgd })],
  ] as const)('equals the eager one but for rounding after 20 steps: %s', (_, chosen, of) => {
    const { compiled, eager, start } = both(chosen, of, (loss, reference) => expect(Math.abs(loss / reference - 1)).toBeLessThan(1e-5));
    const distance = (a: Float32Array, b: Float32Array): number => Math.hypot(...a.map((value, at) => value - b[at]!));
    const all = (each: (name: string) => number): number => Math.hypot(...parameterSpecs(chosen).map(({ name }) => each(name)));
    expect(all(name => distance(compiled[name]!, eager[name]!)) / all(name => distance(eager[name]!, start[name]!))).toBeLessThan(1e-4);
    // Every parameter was reached by a gradient.
    for (const { name } of parameterSpecs(chosen)) expect(compiled[name], name).not.toEqual(start[name]);
  });
});

describe('an online teacher', () => {
  const still = (over: Partial<TrainingSettings> = {}): TrainingSettings => distilled({ share: 1, temperature: 4 }, { noise: { name: 'none' }, labelSmoothing: 0, ...over });
  const student = architecture('cnn', { width: 4, dropout: 0, dropout_features: 0 });
  const lossAt = (executable: Executable, feed: Batch, seed: number): number => executable.run({ ...feed, rate: Float32Array.of(0), seed: stepSeed(seed, 0) })['loss']![0]!;
  const open = (of: TrainingSettings, teacher?: OnlineTeacher): Executable => {
    const executable = compile(engine, trainingStep(engine, student, of, teacher));
    executable.write(initialState(student, of));
    return executable;
  };

  it('says of a clean image what it says where it labels: the loss is the stored one, whatever the seed of its dropout would be', async () => {
    const teacher = teacherOf(noisyTeacher);
    const predictor = await createPredictor(teacher.architecture, [...teacher.weights], 12);
    const online = distillationBatch(false, 0);
    const said = await predictor.logProbabilities(online.images, 12);
    predictor.dispose();
    const targets = new Float32Array(12 * 10);
    for (let row = 0; row < 12; row++) {
      targets.set(online.targets.subarray(row * 5, row * 5 + 5), row * 10);
      targets.set(said.subarray(row * 5, row * 5 + 5), row * 10 + 5);
    }
    const stored = distilled({ teacher: 'stored', share: 1, temperature: 4 }, { noise: { name: 'none' }, labelSmoothing: 0 });
    const [fromStore, fromTeacher] = [open(stored), open(still(), teacher)];
    const losses = [1, 2, 3].map(seed => lossAt(fromTeacher, online, seed));
    expect(new Set(losses).size).toBe(1);
    // Folded into its prediction, and layer by layer in the step: 1e-5 of log-probabilities.
    expect(Math.abs(losses[0]! - lossAt(fromStore, { images: online.images, targets }, 1))).toBeLessThan(1e-4);
    expect(losses[0]).toBeGreaterThan(1e-3);
    for (const executable of [fromStore, fromTeacher]) executable.dispose();
  });

  it('sees the image that its student sees: a student that is its teacher has nothing to learn of it, however noised and mixed', () => {
    const own = teacherOf(student);
    const noisy = still({ noise: { name: 'affine', degrees: 30, translatePixels: 2, scale: 0.3, flip: true }, mixing: { mixupAlpha: 0.8, cutmixAlpha: 1, probability: 1, switchProbability: 0.5 } });
    const executable = open(noisy, own);
    const weights = Object.fromEntries(own.weights.map(({ name, values }) => [name, values]));
    executable.write(initialState(student, noisy, weights));
    // No row with a label: the teacher's word alone.
    const feed = { images: batch(12).images, targets: new Float32Array(60) };
    for (const seed of [1, 2, 3]) expect(Math.abs(lossAt(executable, feed, seed))).toBeLessThan(1e-5);
    // With other weights there is much to learn, and of each noise something else.
    executable.write(initialState(student, noisy));
    const losses = [1, 2, 3].map(seed => lossAt(executable, feed, seed));
    expect(new Set(losses).size).toBe(3);
    for (const loss of losses) expect(loss).toBeGreaterThan(1e-3);
    executable.dispose();
  });

  it('leaves a training that goes on from a checkpoint as it was, and is no part of it', async () => {
    const of = distilled({}, { steps: 30 });
    const teacher = teacherOf(noisyTeacher);
    const kept: Uint8Array[] = [];
    const whole = await train(student, of, step => distillationBatch(false, step), { teacher, checkpointSteps: 10, onCheckpoint: state => { kept.push(encodeCheckpoint(student, of, state, 't')); return Promise.resolve(); } });
    expect(kept).toHaveLength(2);
    for (const bytes of kept) {
      const resumed = await train(student, of, step => distillationBatch(false, step), { teacher, resume: decodeCheckpoint(bytes, student, of, 't') });
      expect(encodeWeights(resumed.weights)).toEqual(encodeWeights(whole.weights));
    }
    // Another teacher is another student.
    const other = await train(student, of, step => distillationBatch(false, step), { teacher: teacherOf(architecture('cnn')) });
    expect(encodeWeights(other.weights)).not.toEqual(encodeWeights(whole.weights));
  });

  it('is asked for where it is wanted, and only there', () => {
    expect(() => trainingStep(engine, student, still())).toThrow('a teacher is given where it labels within the step');
    expect(() => trainingStep(engine, student, settings(), teacherOf(student))).toThrow('a teacher is given where it labels within the step');
  });
});
