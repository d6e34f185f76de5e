/**
 * The simulation itself, tested: a seed gives one history, planted bugs are found, and seeds that once failed are sound.
 * The seeds that look for new failures are played by first-share.test.ts and second-share.test.ts.
 */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import type { Mutant } from './mutants.ts';
import { start } from './share.ts';
import { simulate } from './simulate.ts';

/** A planted bug must be found within so many seeds; most are within ten. */
const MUTANT_SEEDS_MAX = 1_000;
/** Seeds that once failed, with the commit at which and why. A change of what is simulated gives a seed another history: then these are seeds as good as any. */
const regressions = JSON.parse(readFileSync(new URL('regressions.json', import.meta.url), 'utf8')) as readonly { seed: number; commit: string; why: string }[];

describe('the control plane, simulated', () => {
  test.each(regressions)('seed $seed is sound again: $why', async ({ seed }) => {
    expect((await simulate(seed)).violation).toBeUndefined();
  });

  test('a seed gives one history', async () => {
    for (const seed of [start, start + 1, start + 2]) {
      const [first, second] = [await simulate(seed), await simulate(seed)];
      expect(second.trace).toBe(first.trace);
      expect(second.events).toBe(first.events);
      expect(first.trace).not.toBe('');
    }
  });

  test.each<[Mutant, RegExp]>([
    // Of fencing, leases, snapshots, what tasks are handed, labels that are brought, step-down; then of the disk itself.
    ['ignores-sequence', /was written after|accepted twice|middle of a group/],
    ['never-expires', /not over \d+ minutes after the last fault/],
    ['stale-snapshot', /holds a state|lost or changed|knows \d+ runs|does not hold the facts|not over|no end/],
    ['skips-shard', /were accepted|leaves out a shard/],
    ['mixes-checkpoints', /is handed a checkpoint/],
    ['merges-too-few', /merges other replicas/],
    ['repeats-data', /some of which .* has/],
    ['forgets-optimizer', /inherits another optimizer/],
    ['selects-near-duplicates', /tables of near-duplicates/],
    ['forgets-reviewed', /images that a person gave a label to/],
    ['takes-labels-twice', /were taken twice/],
    ['measures-another', /measures .*, and that is/],
    ['never-steps-down', /granted a lease while/],
    ['forgets-acknowledged', /holds a state|was written after|lost or changed|knows \d+ runs|middle of a group|facts are missing|not over|no end/],
  ])('a planted bug is found: %s', async (mutant, complaint) => {
    let violation: string | undefined;
    let last = 0;
    for (let seed = 1; seed <= MUTANT_SEEDS_MAX && violation === undefined; seed += 1) {
      last = seed;
      violation = (await simulate(seed, mutant)).violation;
    }
    console.log(`planted bug ${mutant}: found by seed ${last}: ${violation?.split('\n')[0]}`);
    expect(violation).toMatch(complaint);
  });
});
