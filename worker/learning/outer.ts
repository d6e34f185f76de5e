/**
 * Many replicas of one training become one again: the outer step of DiLoCo (Douillard et al. 2023, arXiv 2311.08105, algorithm 1),
 * over states by name, outside TensorFlow. Not for: what a replica does (train.ts), where states lie (../tasks).
 * Invariants:
 *   1. What comes out is a function of what goes in, to the bit: sums are taken in double, in the order of the replicas, and rounded once.
 *   2. One replica alone is taken as it is, and the outer momentum stays: a training whose rounds have one replica each is the plain training.
 *   3. Replicas' states are read one after another and added up, so memory does not grow with their number.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { invariant } from '../../proto/errors.ts';
import { parameterSpecs, type Architecture } from '../../recipe/index.ts';
import type { TensorSpec } from '../tensorflow/index.ts';
import { decayOver } from './ema.ts';
import { averageName, countName, initialOptimizer, initialWeights, stepVariables, trainable } from './step.ts';
import type { Merged, TrainingSettings } from './types.ts';

type Variables = Readonly<Record<string, Float32Array>>;

export interface OuterStep {
  /** Of weights by the replicas' mean difference; 0.7 in the paper. */
  readonly learningRate: number;
  /** Nesterov's; 0.9 in the paper. */
  readonly momentum: number;
  /** Of the averages, a step's. */
  readonly emaDecay: number;
  /** Steps done before the round, and steps that each replica made in it. */
  readonly firstStep: number;
  readonly steps: number;
}

const outerMomentumName = (parameter: string): string => `outer/momentum/${parameter}`;

/** What rounds hand on to one another beside what optimizers hold: weights, their averages, statistics, and the outer momentum of each weight. */
export function mergedVariables(architecture: Architecture): Record<string, TensorSpec> {
  return Object.fromEntries(parameterSpecs(architecture).flatMap(spec => {
    const { name, shape } = spec;
    return (trainable(spec) ? [name, averageName(name), outerMomentumName(name)] : [name]).map(each => [each, { shape, dataType: 'float32' as const }]);
  }));
}

/** What the first round begins with: the weights of the seed, as the plain training's, and no outer momentum. */
export function mergedAtStart(architecture: Architecture, seed: number): Merged {
  const variables = initialWeights(architecture, seed);
  for (const { name } of parameterSpecs(architecture).filter(trainable)) {
    const weights = of(variables, name);
    [variables[averageName(name)], variables[outerMomentumName(name)]] = [weights, new Float32Array(weights.length)];
  }
  return { step: 0, variables, lossCurve: [], rounds: [] };
}

/**
 * All variables of a training step as a replica begins a round.
 * @param optimizer what a replica of the round before left, for the optimizer's state alone; without, that is as at the training's start, moments and count alike.
 */
export function replicaVariables(architecture: Architecture, settings: Pick<TrainingSettings, 'optimizer'>, merged: Variables, optimizer?: Variables): Record<string, Float32Array> {
  const inner = optimizer ?? initialOptimizer(architecture, settings);
  return Object.fromEntries(Object.keys(stepVariables(architecture, settings)).map(name => {
    const values = merged[name] ?? inner[name];
    invariant(values !== undefined, `the state holds ${name}`);
    return [name, values];
  }));
}

/**
 * One outer step. Over k replicas w_k of weights w with outer momentum v: d = mean(w - w_k), v' = momentum v + d,
 * w' = w - rate (d + momentum v'), as `torch.optim.SGD(nesterov=True)` with d for the gradient, which published DiLoCo codes take.
 * Running statistics become the replicas' mean. Averages e of the weights move once for all steps of the round: e' = e - (1 - D)(e - w'),
 * D the product of the steps' decays: as if the weights had been w' in each.
 * @param before of the round: `mergedVariables`. @param replicas one at least, each all variables of a step; read one after another.
 */
export async function outerStep(architecture: Architecture, before: Variables, replicas: AsyncIterable<Variables>, { learningRate, momentum, emaDecay, firstStep, steps }: OuterStep): Promise<Record<string, Float32Array>> {
  const specs = parameterSpecs(architecture);
  /** By parameter: the sum of the differences, of a statistic that of the values. */
  const sums = new Map<string, Float64Array>();
  let count = 0;
  let alone: Variables | undefined;
  for await (const replica of replicas) {
    count += 1;
    alone = count === 1 ? replica : undefined;
    for (const spec of specs) {
      const own = of(replica, spec.name);
      const sum = sums.get(spec.name) ?? new Float64Array(own.length);
      sums.set(spec.name, sum);
      if (trainable(spec)) addDifference(sum, of(before, spec.name), own);
      else add(sum, own);
      // The engine answers its worker in between.
      await nextTurn();
    }
  }
  invariant(count > 0, 'a merge is of one replica at least');
  const averageDecay = decayOver(emaDecay, firstStep, steps);
  // Who joined a round ago or later counts its updates from there, and its own averages decay as those of a young training do.
  const averaged = alone !== undefined && (of(alone, countName)[0] ?? 0) > firstStep ? alone : undefined;
  const after: Record<string, Float32Array> = {};
  for (const spec of specs) {
    const { name } = spec;
    const sum = sums.get(name);
    invariant(sum !== undefined, `the replicas hold ${name}`);
    if (!trainable(spec)) {
      after[name] = alone === undefined ? meanOf(sum, count) : of(alone, name);
      continue;
    }
    const velocity = of(before, outerMomentumName(name));
    const { weights, momentum: next } = alone === undefined ? nesterov(of(before, name), velocity, sum, { count, learningRate, momentum }) : { weights: of(alone, name), momentum: velocity };
    after[name] = weights;
    after[outerMomentumName(name)] = next;
    after[averageName(name)] = averaged === undefined ? moved(of(before, averageName(name)), weights, averageDecay) : of(averaged, averageName(name));
    await nextTurn();
  }
  return after;
}

// By themselves, because a loop over millions of numbers is optimized in a plain function and not in one that waits.

function add(sum: Float64Array, values: Float32Array): void {
  for (let at = 0; at < sum.length; at++) sum[at]! += values[at]!;
}

function addDifference(sum: Float64Array, from: Float32Array, to: Float32Array): void {
  for (let at = 0; at < sum.length; at++) sum[at]! += from[at]! - to[at]!;
}

function meanOf(sum: Float64Array, count: number): Float32Array {
  const mean = new Float32Array(sum.length);
  for (let at = 0; at < mean.length; at++) mean[at] = sum[at]! / count;
  return mean;
}

/** @param sum of the replicas' differences. */
function nesterov(before: Float32Array, velocity: Float32Array, sum: Float64Array, { count, learningRate, momentum }: { count: number; learningRate: number; momentum: number }): { weights: Float32Array; momentum: Float32Array } {
  const [weights, next] = [new Float32Array(before.length), new Float32Array(before.length)];
  for (let at = 0; at < before.length; at++) {
    const difference = sum[at]! / count;
    const velocityAfter = momentum * velocity[at]! + difference;
    next[at] = velocityAfter;
    weights[at] = before[at]! - learningRate * (difference + momentum * velocityAfter);
  }
  return { weights, momentum: next };
}

/** As `movingAverage`, in double. */
function moved(average: Float32Array, weights: Float32Array, decay: number): Float32Array {
  const after = new Float32Array(average.length);
  for (let at = 0; at < after.length; at++) after[at] = average[at]! - (1 - decay) * (average[at]! - weights[at]!);
  return after;
}

function of(state: Variables, name: string): Float32Array {
  const values = state[name];
  invariant(values !== undefined, `the state holds ${name}`);
  return values;
}
