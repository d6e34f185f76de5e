/**
 * One training step and one prediction, clean or noised, as programs. The step: noise the input, forward, loss, gradients, optimizer,
 * moving average, running statistics. Where the loss or any gradient is not finite, nothing moves, inside the graph.
 * Not for: the loop around them (train.ts, predict.ts).
 * Invariants: what draws does so from its seed input only; the clean prediction has no seed. What fine-tuning freezes is read by the step
 * and never written: it has no gradient, no slots and no average.
 */
import { invariant } from '../../proto/errors.ts';
import { operations } from '../tensorflow/index.ts';
import type { Program, Tensor, TensorFlow, Tensors, TensorSpec } from '../tensorflow/index.ts';
import { distillationLoss, teacherTargets } from './distillation.ts';
import { seededDraws } from './draws.ts';
import { effectiveDecay, movingAverage } from './ema.ts';
import { foldedLayers, unfolded } from './folded.ts';
import { cleanLayers, fineTuningLayers, noisedLayers, noisedPredictionLayers } from './layers.ts';
import type { Architecture, ParameterSpec } from '../../recipe/index.ts';
import { smoothLabels, softCrossEntropy } from './losses.ts';
import { buildModel, frozenParameters, parameterSpecs } from '../../recipe/index.ts';
import { mix, noiseImages } from './noise/index.ts';
import { clipByGlobalNorm, initialSlots, makeOptimizer } from './optimizers.ts';
import { seedFor, truncatedNormal } from './random.ts';
import type { ImageNoise, OnlineTeacher, PredictingHead, TensorData, TrainingSettings } from './types.ts';

const sizeOf = (shape: readonly number[]): number => shape.reduce((product, size) => product * size, 1);
const slotName = (slot: string, parameter: string): string => `optimizer/${slot}/${parameter}`;
export const averageName = (parameter: string): string => `ema/${parameter}`;
/** Of updates made: what bias corrections and the moving average count by. */
export const countName = 'optimizer/count';

const float = (shape: readonly number[]): TensorSpec => ({ shape, dataType: 'float32' });

/** Pixel values to what models take. */
const scalePixels = (engine: TensorFlow, images: Tensor): Tensor => engine.tf.mul(images, 1 / 255);

export const trainable = (spec: ParameterSpec): boolean => spec.role !== 'statistic';

type Tuned = Pick<TrainingSettings, 'fineTuning'>;

const nothing: ReadonlySet<string> = new Set();
const frozenBy = (architecture: Architecture, { fineTuning }: Tuned): ReadonlySet<string> => (fineTuning === undefined ? nothing : frozenParameters(architecture, fineTuning.freeze));

/** What gradients move. */
function trainedSpecs(architecture: Architecture, settings: Tuned): ParameterSpec[] {
  const frozen = frozenBy(architecture, settings);
  return parameterSpecs(architecture).filter(spec => trainable(spec) && !frozen.has(spec.name));
}

/** What a training hands back of its step's variables, in the architecture's order: the weights' moving averages, batch normalization's running statistics, and what was frozen. */
export function averagedWeights(architecture: Architecture, settings: Tuned, variables: Readonly<Record<string, Float32Array>>): TensorData[] {
  const trained = new Set(trainedSpecs(architecture, settings).map(({ name }) => name));
  return parameterSpecs(architecture).map(({ name, shape }) => {
    const values = variables[trained.has(name) ? averageName(name) : name];
    invariant(values !== undefined, `the step holds ${name}`);
    return { name, shape: [...shape], values };
  });
}

/** The weights of step 0: a pure function of architecture and seed. */
export function initialWeights(architecture: Architecture, seed: number): Record<string, Float32Array> {
  return Object.fromEntries(parameterSpecs(architecture).map(({ name, shape, initial }) => [name, initial.kind === 'constant'
    ? new Float32Array(sizeOf(shape)).fill(initial.value)
    : truncatedNormal(sizeOf(shape), initial.deviation, seedFor(seed, `weight/${name}`))]));
}

/** The variables of a step. */
export function stepVariables(architecture: Architecture, settings: Pick<TrainingSettings, 'optimizer' | 'fineTuning'>): Record<string, TensorSpec> {
  const specs = parameterSpecs(architecture);
  const variables: Record<string, TensorSpec> = { [countName]: float([]) };
  for (const { name, shape } of specs) variables[name] = float(shape);
  for (const { name, shape } of trainedSpecs(architecture, settings)) {
    for (const slot of Object.keys(initialSlots(settings.optimizer))) variables[slotName(slot, name)] = float(shape);
    variables[averageName(name)] = float(shape);
  }
  return variables;
}

/** The optimizer's variables at its start. */
export function initialOptimizer(architecture: Architecture, settings: Pick<TrainingSettings, 'optimizer' | 'fineTuning'>): Record<string, Float32Array> {
  const slots = Object.entries(initialSlots(settings.optimizer));
  return { [countName]: new Float32Array(1), ...Object.fromEntries(trainedSpecs(architecture, settings).flatMap(({ name, shape }) => slots.map(([slot, value]) => [slotName(slot, name), new Float32Array(sizeOf(shape)).fill(value)]))) };
}

/** All variables of a step at its start. @param weights to begin with, in place of those of the seed */
export function initialState(architecture: Architecture, settings: Pick<TrainingSettings, 'optimizer' | 'seed' | 'fineTuning'>, weights: Readonly<Record<string, Float32Array>> = initialWeights(architecture, settings.seed)): Record<string, Float32Array> {
  const averages = Object.fromEntries(trainedSpecs(architecture, settings).map(({ name }) => [averageName(name), weights[name]!]));
  return { ...initialOptimizer(architecture, settings), ...weights, ...averages };
}

/** Numbers of a target row of a `Batch`. */
const targetWidth = ({ classes }: Architecture, { distillation }: Pick<TrainingSettings, 'distillation'>): number => (distillation?.teacher === 'stored' ? 2 * classes : classes);

/**
 * What an online teacher says of `pixels`, the images as the student takes them: log-probabilities `[batch, classes]`. Its weights are constants of the
 * step, its dropout and stochastic depth are off, and its batch normalization goes by what training learned.
 */
function teacherSays(engine: TensorFlow, { architecture, weights }: OnlineTeacher, pixels: Tensor): Tensor {
  const constants = Object.fromEntries(weights.map(({ name, shape, values }) => [name, engine.tf.tensor(values, shape, 'float32')]));
  return operations.logSoftmax(engine, buildModel(architecture, cleanLayers(engine, constants), pixels));
}

/**
 * Inputs: images uint8 `[batch, height, width, channels]`, targets as in a `Batch`, rate scalar, seed int32 `[2]`.
 * Outputs: loss, and finite (1 or 0).
 * @param teacher where the settings distill an online one
 */
export function trainingStep(engine: TensorFlow, architecture: Architecture, settings: TrainingSettings, teacher?: OnlineTeacher): Program {
  const { tf } = engine;
  const { distillation: wish } = settings;
  invariant((wish?.teacher === 'online') === (teacher !== undefined), 'a teacher is given where it labels within the step');
  const { input: { height, width, channels }, classes } = architecture;
  const batch = settings.batchLabeled + settings.batchUnlabeled;
  const learned = trainedSpecs(architecture, settings);
  const frozen = frozenBy(architecture, settings);
  const optimizer = makeOptimizer(engine, settings.optimizer);
  return {
    name: 'training step',
    variables: stepVariables(architecture, settings),
    inputs: {
      images: { shape: [batch, height, width, channels], dataType: 'uint8' },
      targets: float([batch, targetWidth(architecture, settings)]),
      rate: float([]),
      seed: { shape: [2], dataType: 'int32' },
    },
    run(state, { images, targets, rate, seed }) {
      const draws = seededDraws(engine, seed!);
      const columns = (from: Tensor, first: number): Tensor => tf.slice(from, [0, first], [batch, classes]);
      // True labels are smoothed and mixed as any label is; a stored teacher's word is made a distribution first, and then mixed beside them.
      const given = wish?.teacher === 'stored'
        ? tf.concat([smoothLabels(engine, columns(targets!, 0), settings.labelSmoothing), teacherTargets(engine, columns(targets!, classes), wish)], 1)
        : smoothLabels(engine, targets!, settings.labelSmoothing);
      const plain = { images: noiseImages(engine, operations.fromBytes(engine, images!), settings, draws), targets: given };
      const noised = settings.mixing === undefined ? plain : mix(engine, plain, settings.mixing, draws);
      const pixels = scalePixels(engine, noised.images);
      const taught = wish === undefined ? undefined
        : teacher === undefined ? { truth: columns(noised.targets, 0), teacher: columns(noised.targets, classes) }
        : { truth: noised.targets, teacher: teacherTargets(engine, teacherSays(engine, teacher, pixels), wish) };
      let takeStatistics: (old: Tensors) => Tensors = () => ({});
      const { value: loss, grads } = tf.valueAndGrads((...values: Tensor[]) => {
        const weights = Object.fromEntries(learned.map(({ name }, index) => [name, values[index]!]));
        const noisy = settings.fineTuning === undefined ? noisedLayers(engine, weights, draws)
          : fineTuningLayers(engine, { ...Object.fromEntries([...frozen].map(name => [name, state[name]!])), ...weights }, draws, frozen);
        takeStatistics = noisy.takeStatistics;
        const logits = buildModel(architecture, noisy.layers, pixels);
        const distillation = noisy.distillationLogits();
        if (wish !== undefined && taught !== undefined) return distillationLoss(engine, taught, { class: logits, distillation }, wish) as ReturnType<typeof tf.scalar>;
        const loss = softCrossEntropy(engine, noised.targets, logits);
        // Half of the loss each (facebookresearch/deit, losses.py, alpha 0.5), here on the same targets.
        return (distillation === undefined ? loss : tf.mul(tf.add(loss, softCrossEntropy(engine, noised.targets, distillation)), 0.5)) as ReturnType<typeof tf.scalar>;
      })(learned.map(({ name }) => state[name]!));

      const clipped = settings.clipNorm > 0 ? clipByGlobalNorm(engine, grads, settings.clipNorm) : undefined;

      const count = tf.add(state[countName]!, 1);
      const decay = effectiveDecay(engine, settings.emaDecay, count);
      const next: Tensors = { ...takeStatistics(state), [countName]: count };
      learned.forEach(({ name, role }, index) => {
        const slots = Object.fromEntries(optimizer.slots.map(slot => [slot, state[slotName(slot, name)]!]));
        const updated = optimizer.update({ weight: state[name]!, gradient: (clipped?.gradients ?? grads)[index]!, slots, decays: role === 'weight' }, rate!, count);
        next[name] = updated.weight;
        next[averageName(name)] = movingAverage(engine, state[averageName(name)]!, updated.weight, decay);
        for (const slot of optimizer.slots) next[slotName(slot, name)] = updated.slots[slot]!;
      });
      // The norm can overflow where no gradient did.
      const finite = operations.allFinite(engine, [loss, ...grads, ...clipped === undefined ? [] : [clipped.norm]]);
      const updates = Object.fromEntries(Object.entries(next).map(([name, value]) => [name, operations.selectWhole(engine, finite, value, state[name]!)]));
      return { outputs: { loss, finite: tf.cast(finite, 'float32') }, updates };
    },
  };
}

/**
 * Input: images uint8 `[batch, height, width, channels]`. Output: logProbabilities `[batch, classes]`.
 * @param head of a model with a distillation token: which head predicts; as a rule both do, by the mean of their logits
 */
export function prediction(engine: TensorFlow, architecture: Architecture, batch: number, head: PredictingHead = 'both'): Program {
  const { input: { height, width, channels } } = architecture;
  return {
    name: 'prediction',
    variables: Object.fromEntries(parameterSpecs(architecture).map(({ name, shape }) => [name, float(shape)])),
    inputs: { images: { shape: [batch, height, width, channels], dataType: 'uint8' } },
    run(weights, { images }) {
      const layers = foldedLayers(engine, weights);
      const logits = buildModel(architecture, head === 'both' ? layers : { ...layers, distilled: (ofClass, ofDistillation) => (head === 'class' ? ofClass : ofDistillation) }, unfolded(scalePixels(engine, operations.fromBytes(engine, images!))));
      return { outputs: { logProbabilities: operations.logSoftmax(engine, logits.tensor()) }, updates: {} };
    },
  };
}

/**
 * The ablation of a noised teacher (Noisy Student, arXiv 1911.04252, its ablation of noising): the same with noise on the images, dropout and stochastic depth.
 * Inputs: images as above, seed int32 `[2]`. Output: as above.
 */
export function noisedPrediction(engine: TensorFlow, architecture: Architecture, batch: number, noise: ImageNoise): Program {
  const clean = prediction(engine, architecture, batch);
  return {
    name: 'noised prediction',
    variables: clean.variables,
    inputs: { ...clean.inputs, seed: { shape: [2], dataType: 'int32' } },
    run(weights, { images, seed }) {
      const draws = seededDraws(engine, seed!);
      const pixels = scalePixels(engine, noiseImages(engine, operations.fromBytes(engine, images!), noise, draws));
      return { outputs: { logProbabilities: engine.tf.logSoftmax(buildModel(architecture, noisedPredictionLayers(engine, weights, draws), pixels)) }, updates: {} };
    },
  };
}
