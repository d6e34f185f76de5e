/** A training in rounds, on the real engine: parts of a schedule, replicas and their merge, against the plain training. */
import { beforeAll, describe, expect, it } from 'vitest';
import type { Architecture } from '../../../recipe/index.ts';
import { compileStep, decodeCheckpoint, encodeCheckpoint, encodeWeights, mergedAtStart, outerStep, replicaVariables, train } from '../../../worker/learning/index.ts';
import type { Batch, Merged, TensorData, Trained, TrainingHooks, TrainingSettings, TrainingState } from '../../../worker/learning/index.ts';
import { maskedStepsMax } from '../../../worker/learning/train.ts';
import { loadTensorFlow, type TensorFlow } from '../../../worker/tensorflow/index.ts';
import { architecture, batch, settings, threads } from './setting.ts';

let engine: TensorFlow;
beforeAll(() => { engine = loadTensorFlow({ threads }); });

const bytesOf = ({ weights }: { weights: TensorData[] }): Uint8Array => encodeWeights(weights);
const dropping = { width: 4, dense: 16, dropout: 0.1, dropout_features: 0.1 };
const normed = { width: 4, blocks: 1, dropout: 0.1, survival: 0.9 };
const momentum = { name: 'sgd', learningRate: 0.05, weightDecay: 0.01, momentum: 0.9, decay: 0.9, epsilon: 0.001 } as const;

interface Part { readonly replica: number; readonly firstBatch: number; readonly optimizer?: TrainingState }
interface Round { readonly firstStep: number; readonly steps: number }
const roundsOf = (steps: number, localSteps: number): Round[] => Array.from({ length: Math.ceil(steps / localSteps) }, (_, round) => ({ firstStep: round * localSteps, steps: Math.min(localSteps, steps - round * localSteps) }));

/** What a replica does of a round, as its task has it done. */
function replica(chosen: Architecture, of: TrainingSettings, merged: Merged, { firstStep, steps }: Round, { firstBatch, optimizer }: Part, hooks: TrainingHooks = {}, nextBatch: (place: number) => Batch = place => batch(12, place)): Promise<Trained> {
  const start: TrainingState = { step: firstStep, variables: replicaVariables(chosen, of, merged.variables, optimizer?.variables), lossCurve: [], lossSum: 0, lossCount: 0, ...(merged.wentBackTo === undefined ? {} : { wentBackTo: merged.wentBackTo }) };
  return train(chosen, of, nextBatch, { resume: start, until: firstStep + steps, placeOf: step => firstBatch + step - firstStep, pointSteps: Infinity, ...hooks });
}

async function* oneByOne(states: readonly TrainingState[]): AsyncGenerator<TrainingState['variables']> {
  for (const state of states) yield await Promise.resolve(state.variables);
}

async function mergeOf(chosen: Architecture, { emaDecay }: TrainingSettings, merged: Merged, round: Round, states: readonly TrainingState[]): Promise<Merged> {
  const variables = await outerStep(chosen, merged.variables, oneByOne(states), { learningRate: 0.7, momentum: 0.9, emaDecay, ...round });
  return { ...merged, step: round.firstStep + round.steps, variables };
}

describe('rounds of one replica', () => {
  it.each([
    ['cnn with dropout, AdamW', architecture('cnn', dropping), settings({ steps: 30 })],
    ['batch norm and stochastic depth, SGD with momentum', architecture('residual', normed), settings({ steps: 30, optimizer: momentum })],
    ['batch norm, SGD without momentum', architecture('residual', normed), settings({ steps: 30, optimizer: { ...momentum, momentum: 0 } })],
    ['batch norm, RMSProp, mixing, clipped', architecture('residual', normed), settings({
      steps: 30, clipNorm: 0.5, optimizer: { ...momentum, name: 'rmsprop', learningRate: 0.002 }, mixing: { mixupAlpha: 0.4, cutmixAlpha: 1, probability: 1, switchProbability: 0.5 },
    })],
  ])('are the plain training to the bit, also where one goes on from a checkpoint: %s', async (_, chosen, of) => {
    const plain = await train(chosen, of, step => batch(12, step));
    // One for all rounds, as a worker keeps it: what a round left in it must not reach the next.
    const compiled = compileStep(chosen, of);
    let merged = mergedAtStart(chosen, of.seed), optimizer: TrainingState | undefined;
    const points: [number, number][] = [];
    // 12, 12 and 6 steps; a checkpoint in the middle of each.
    for (const round of roundsOf(30, 12)) {
      const part = { replica: 0, firstBatch: round.firstStep, ...(optimizer === undefined ? {} : { optimizer }) };
      let kept: Uint8Array | undefined;
      const whole = await replica(chosen, of, merged, round, part, { compiled, checkpointSteps: 5, onCheckpoint: state => { kept ??= encodeCheckpoint(chosen, of, state, 't'); return Promise.resolve(); } });
      const from = decodeCheckpoint(kept!, chosen, of, 't');
      expect(from.step).toBeGreaterThan(round.firstStep);
      const asked: number[] = [];
      const resumed = await replica(chosen, of, merged, round, part, { compiled, resume: from }, place => { asked.push(place); return batch(12, place); });
      expect(asked[0]).toBe(from.step);
      expect(encodeCheckpoint(chosen, of, resumed.state, 't')).toEqual(encodeCheckpoint(chosen, of, whole.state, 't'));
      expect(whole.state.step).toBe(round.firstStep + round.steps);
      expect(whole.lossCurve).toEqual([{ step: whole.state.step, loss: whole.finalLoss }]);
      points.push([round.steps, whole.finalLoss]);
      merged = await mergeOf(chosen, of, merged, round, [whole.state]);
      optimizer = whole.state;
    }
    compiled.dispose();
    expect(encodeCheckpoint(chosen, of, { ...optimizer!, variables: replicaVariables(chosen, of, merged.variables, optimizer!.variables), lossCurve: [] }, 't')).toEqual(encodeCheckpoint(chosen, of, { ...plain.state, lossCurve: [] }, 't'));
    // A round's loss is the mean over all of its steps, and the plain curve has a point a step.
    for (const [round, [steps, loss]] of points.entries()) {
      const own = plain.lossCurve.slice(round * 12, round * 12 + steps).map(point => point.loss);
      expect(loss).toBeCloseTo(own.reduce((sum, value) => sum + value, 0) / steps, 12);
    }
  });
});

describe('rounds of many replicas', () => {
  const chosen = architecture('residual', normed);
  const of = settings({ steps: 24, optimizer: momentum });

  /** Replica k has the k-th share of the round's places and, where it was there before, its own optimizer. */
  async function trained(replicas: number): Promise<{ merged: Merged; asked: number[]; losses: number[]; optimizers: TrainingState[] }> {
    let merged = mergedAtStart(chosen, of.seed), optimizers: TrainingState[] = [], place = 0;
    const asked: number[] = [], losses: number[] = [];
    const compiled = compileStep(chosen, of);
    for (const round of roundsOf(of.steps, 8)) {
      const states: Trained[] = [];
      for (let k = 0; k < replicas; k++) {
        states.push(await replica(chosen, of, merged, round, { replica: k, firstBatch: place + k * round.steps, ...(optimizers[k] === undefined ? {} : { optimizer: optimizers[k] }) }, { compiled }, at => { asked.push(at); return batch(12, at); }));
      }
      place += replicas * round.steps;
      optimizers = states.map(({ state }) => state);
      losses.push(states.reduce((sum, { finalLoss }) => sum + finalLoss, 0) / replicas);
      merged = await mergeOf(chosen, of, merged, round, optimizers);
    }
    compiled.dispose();
    return { merged, asked, losses, optimizers };
  }

  it('learn, share no place in the order of the data, and repeat themselves to the bit', async () => {
    const before = engine.binding.getNumOfSavedModels();
    const three = await trained(3);
    expect([...three.asked].sort((a, b) => a - b)).toEqual(Array.from({ length: 72 }, (_, at) => at));
    expect(three.losses.at(-1)).toBeLessThan(three.losses[0]!);
    expect((await trained(3)).merged.variables).toEqual(three.merged.variables);
    expect(engine.binding.getNumOfSavedModels()).toBe(before);
    // Each went its own way from the same weights, and none of them is what came out.
    const [first, second] = three.optimizers;
    const name = Object.keys(three.merged.variables).find(each => each.startsWith('ema/'))!.slice('ema/'.length);
    expect(first!.variables[name]).not.toEqual(second!.variables[name]);
    expect(three.merged.variables[name]).not.toEqual(first!.variables[name]);
  });
});

describe('a replica that diverges', () => {
  const chosen = architecture('cnn', dropping);
  const of = settings({ steps: 60 });
  const round = { firstStep: 20, steps: 30 };
  const bad = { images: batch(12).images, targets: new Float32Array(60).fill(Number.NaN) };
  /** Bad where it is asked for the first time. */
  const diverging = (from: number): ((place: number) => Batch) => {
    const asked = new Set<number>();
    return place => {
      const first = !asked.has(place);
      asked.add(place);
      return first && place >= from && place < from + maskedStepsMax ? bad : batch(12, place);
    };
  };

  it('goes back to the round\'s start at half the rate, or to its last checkpoint', async () => {
    const merged = { ...mergedAtStart(chosen, of.seed), step: 20 };
    const part = { replica: 1, firstBatch: 100 };
    const back: [number, number][] = [];
    const onWentBack = (from: number, to: number): void => void back.push([from, to]);
    const start = await replica(chosen, of, merged, round, part, { onWentBack }, diverging(105));
    const checkpoint = await replica(chosen, of, merged, round, part, { onWentBack, checkpointSteps: 10 }, diverging(115));
    expect(back).toEqual([[20 + 5 + maskedStepsMax - 1, 20], [20 + 15 + maskedStepsMax - 1, 30]]);
    expect([start.wentBackTo, start.state.wentBackTo, checkpoint.state.wentBackTo]).toEqual([20, 20, 30]);
    // As who had half the rate from the beginning: so the next rounds have it, from the merged state.
    const halved = await replica(chosen, of, { ...merged, wentBackTo: 20 }, round, part);
    expect(bytesOf(halved)).toEqual(bytesOf(start));
    expect(bytesOf(halved)).not.toEqual(bytesOf(await replica(chosen, of, merged, round, part)));
  });
});
