/** The outer step of a training that replicas share: its formulas against PyTorch (outer-expected.py says how), and what rounds hand on to one another. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { AlumnusError } from '../../../proto/errors.ts';
import { parameterSpecs } from '../../../recipe/index.ts';
import { decodeMerged, encodeMerged, encodeWeights, mergedAtStart, outerStep, replicaVariables, type Merged, type OuterStep } from '../../../worker/learning/index.ts';
import { decayOver } from '../../../worker/learning/ema.ts';
import { initialState } from '../../../worker/learning/step.ts';
import { architecture, settings } from './setting.ts';

type Variables = Record<string, Float32Array>;
interface Expected {
  elements: number; learningRate: number; momentum: number; emaDecay: number;
  rounds: { firstStep: number; steps: number; replicas: number; weights: number[][]; momentum: number[][]; averages: number[][]; statistics: number[][] }[];
}
const expected = JSON.parse(readFileSync(new URL('outer-expected.json', import.meta.url), 'utf8')) as Expected;

const chosen = architecture('residual');
const specs = parameterSpecs(chosen);
const outer = { learningRate: expected.learningRate, momentum: expected.momentum, emaDecay: expected.emaDecay };

/** The numbers of outer-expected.py. */
const made = (kind: number, parameter: number, element: number): number => ((element * element * 7 + element * 13 + parameter * 29 + kind * 17) % 97 - 48) / 64;
const fill = (size: number, of: (element: number) => number): Float32Array => Float32Array.from({ length: size }, (_, element) => of(element));
const sizes = new Map(specs.map(({ name, shape }) => [name, shape.reduce((product, size) => product * size, 1)]));

/** A state with all that a step has: weights near those of `from`, statistics of `kind`, averages and optimizer of its own. */
function replicaOf(from: Variables, kind: number, count = 1000): Variables {
  const own = Object.fromEntries(specs.flatMap(({ name, role }, parameter): [string, Float32Array][] => {
    const size = sizes.get(name)!;
    if (role === 'statistic') return [[name, fill(size, at => made(kind, parameter, at))]];
    return [[name, fill(size, at => from[name]![at]! + made(kind, parameter, at) / 8)], [`ema/${name}`, fill(size, at => made(kind + 5, parameter, at))]];
  }));
  return { ...initialState(chosen, settings()), ...own, 'optimizer/count': Float32Array.of(count) };
}

const start = (): Variables => Object.fromEntries(specs.flatMap(({ name, role }, parameter): [string, Float32Array][] => {
  const size = sizes.get(name)!;
  if (role === 'statistic') return [[name, fill(size, at => made(2, parameter, at))]];
  return [[name, fill(size, at => made(0, parameter, at))], [`ema/${name}`, fill(size, at => made(1, parameter, at))], [`outer/momentum/${name}`, new Float32Array(size)]];
}));

async function* oneByOne(replicas: readonly Variables[]): AsyncGenerator<Variables> {
  for (const replica of replicas) yield await Promise.resolve(replica);
}
const step = (before: Variables, replicas: readonly Variables[], settingsOf: OuterStep): Promise<Variables> => outerStep(chosen, before, oneByOne(replicas), settingsOf);

describe('one outer step over many replicas', () => {
  it('moves weights as PyTorch\'s SGD with Nesterov momentum, averages statistics, and moves averages by all steps\' decays at once', async () => {
    expect(specs.length).toBeLessThanOrEqual(expected.rounds[0]!.weights.length);
    expect(specs.some(({ role }) => role === 'statistic')).toBe(true);
    let state = start();
    for (const [number, round] of expected.rounds.entries()) {
      state = await step(state, Array.from({ length: round.replicas }, (_, k) => replicaOf(state, 10 + 10 * number + k)), { ...outer, firstStep: round.firstStep, steps: round.steps });
      for (const [parameter, { name, role }] of specs.entries()) {
        for (let at = 0; at < Math.min(expected.elements, sizes.get(name)!); at++) {
          const close = (of: string, wanted: number[][]): void => expect(state[of]![at], `${of}, element ${at}, round ${number}`).toBeCloseTo(wanted[parameter]![at]!, 5);
          if (role === 'statistic') close(name, round.statistics);
          else {
            close(name, round.weights);
            close(`outer/momentum/${name}`, round.momentum);
            close(`ema/${name}`, round.averages);
          }
        }
      }
    }
  });

  it('is a function of its replicas to the bit, and leaves what it was given', async () => {
    const before = start(), replicas = [10, 11, 12].map(kind => replicaOf(before, kind));
    const copies = structuredClone([before, ...replicas]);
    const first = await step(before, replicas, { ...outer, firstStep: 5, steps: 4 });
    expect(await step(before, replicas, { ...outer, firstStep: 5, steps: 4 })).toEqual(first);
    expect([before, ...replicas]).toEqual(copies);
    expect(Object.keys(first).sort()).toEqual(Object.keys(before).sort());
  });
});

describe('a round of one replica', () => {
  it('takes it as it is, its own averages too, and keeps the outer momentum', async () => {
    const before = await step(start(), [10, 11].map(kind => replicaOf(start(), kind)), { ...outer, firstStep: 0, steps: 5 });
    const only = replicaOf(before, 20);
    const after = await step(before, [only], { ...outer, firstStep: 5, steps: 4 });
    for (const { name, role } of specs) {
      expect(after[name]).toEqual(only[name]);
      if (role === 'statistic') continue;
      expect(after[`ema/${name}`]).toEqual(only[`ema/${name}`]);
      expect(after[`outer/momentum/${name}`]).toEqual(before[`outer/momentum/${name}`]);
      expect(Math.abs(before[`outer/momentum/${name}`]![0]!)).toBeGreaterThan(0);
    }
  });

  it('moves the averages at once where the replica joined late: its own began to decay anew', async () => {
    const before = start();
    // Round of steps 5 to 9, of which it counted the four of this round: it was not there before.
    const joined = replicaOf(before, 20, 4);
    const after = await step(before, [joined], { ...outer, firstStep: 5, steps: 4 });
    // .45 x .45 x .45 = the decays of updates 7, 8, 9; update 6 has 7 / 16.
    const kept = 0.45 ** 3 * 7 / 16;
    for (const [parameter, { name, role }] of specs.entries()) {
      expect(after[name]).toEqual(joined[name]);
      if (role !== 'statistic') expect(after[`ema/${name}`]![0]).toBeCloseTo(kept * made(1, parameter, 0) + (1 - kept) * joined[name]![0]!, 5);
    }
  });
});

it('multiplies the decays of a round\'s updates', () => {
  // (2/11)(3/12)(4/13), and .995 from update 1790 on: (1 + 1790) / (10 + 1790) = .995
  expect(decayOver(0.995, 0, 3)).toBeCloseTo(0.013986013986013986, 12);
  expect(decayOver(0.995, 2000, 100)).toBeCloseTo(0.6057704364907278, 12);
  expect(decayOver(0, 5, 3)).toBe(0);
});

describe('what rounds hand on', () => {
  it('begins as the plain training does', () => {
    const plain = initialState(chosen, settings());
    expect(replicaVariables(chosen, settings(), mergedAtStart(chosen, settings().seed).variables)).toEqual(plain);
  });

  it('gives a replica the merged weights, averages and statistics, and of another replica the optimizer alone', () => {
    const merged = start(), other = replicaOf(merged, 30, 77);
    for (const name of Object.keys(other)) if (name.startsWith('optimizer/first_moment/')) other[name]!.fill(3);
    const [joined, inherited] = [replicaVariables(chosen, settings(), merged), replicaVariables(chosen, settings(), merged, other)];
    for (const { name, role } of specs) {
      for (const state of [joined, inherited]) {
        expect(state[name]).toBe(merged[name]);
        if (role !== 'statistic') expect(state[`ema/${name}`]).toBe(merged[`ema/${name}`]);
      }
      if (role === 'statistic') continue;
      expect(joined[`optimizer/first_moment/${name}`]!.every(value => value === 0)).toBe(true);
      expect(inherited[`optimizer/first_moment/${name}`]!.every(value => value === 3)).toBe(true);
    }
    expect([joined['optimizer/count']![0], inherited['optimizer/count']![0]]).toEqual([0, 77]);
    expect(Object.keys(joined).filter(name => name.startsWith('outer/'))).toEqual([]);
  });

  it('comes back from its bytes as it was, and only to its own training', () => {
    const state: Merged = { step: 9, variables: start(), lossCurve: [{ step: 5, loss: 1.5 }, { step: 9, loss: Number.NaN }], wentBackTo: 3, rounds: [{ step: 5, replicas: [{ replica: 0, state: 'aa' }, { replica: 2, state: 'bb' }] }] };
    const bytes = encodeMerged(chosen, state, 't1');
    expect(decodeMerged(bytes, chosen, 't1')).toEqual(state);
    expect(encodeMerged(chosen, decodeMerged(bytes, chosen, 't1'), 't1')).toEqual(bytes);
    const code = (body: () => unknown): string => {
      try {
        body();
        return 'none';
      } catch (thrown) {
        return thrown instanceof AlumnusError ? `${thrown.code} ${thrown.message}` : String(thrown);
      }
    };
    expect(code(() => decodeMerged(bytes, chosen, 't2'))).toContain('DIGEST_MISMATCH the weights are damaged: it is of the task t1');
    expect(code(() => decodeMerged(bytes, architecture('residual', { width: 5, blocks: 1 }), 't1'))).toContain('of shape');
    expect(code(() => decodeMerged(encodeWeights([]), chosen, 't1'))).toContain('schema none');
  });
});
