/**
 * The coordinator in a simulated world: the real leader, scheduler, worker service, decide and evolve; a journal, a
 * network, a clock and workers that fail as the seed says. ALUMNUS_SIMULATION_SEEDS (default 200) seeds from
 * ALUMNUS_SIMULATION_START (default 1) on; a failure names its seed, the commit, and the command that plays it again.
 */
import { execFileSync } from 'node:child_process';
import { describe, expect, test } from 'vitest';
import { simulate, type Mutant } from './simulate.ts';

const SEEDS_DEFAULT = 200;
/** Enough histories for each mutant to meet what it breaks. */
const MUTANT_SEEDS_MAX = 40;

const seeds = Number(process.env.ALUMNUS_SIMULATION_SEEDS ?? SEEDS_DEFAULT);
const start = Number(process.env.ALUMNUS_SIMULATION_START ?? 1);

function commit(): string {
  try {
    return execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  } catch {
    return 'unknown';
  }
}

describe('the coordinator, simulated', () => {
  test(`${seeds} seeds from ${start}: no accepted result is lost, changed or counted twice, and every run ends as it would have undisturbed`, async () => {
    const counts = new Map<string, number>();
    const failures: string[] = [];
    let simulatedMs = 0;
    let events = 0;
    const began = performance.now();
    for (let seed = start; seed < start + seeds; seed += 1) {
      const history = await simulate(seed);
      simulatedMs += history.simulatedMs;
      events += history.events;
      for (const [what, times] of history.counts) counts.set(what, (counts.get(what) ?? 0) + times);
      if (history.violation !== undefined) failures.push(`seed ${seed}: ${history.violation}\n  play it again at commit ${commit()}: npm run test:simulation -- --seeds 1 --start ${seed}`);
    }
    const seconds = (performance.now() - began) / 1000;
    const table = [...counts].sort(([a], [b]) => (a < b ? -1 : 1)).map(([what, times]) => `  ${String(times).padStart(8)}  ${what}`);
    console.log([`simulation: seeds ${start} to ${start + seeds - 1}, ${(simulatedMs / 3_600_000).toFixed(1)} simulated hours, ${events} events, ${(seeds / seconds).toFixed(1)} seeds a second`, ...table].join('\n'));
    expect(failures.join('\n')).toBe('');
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
    ['forgets-acknowledged', /holds a state|was written after|lost or changed|knows \d+ runs|middle of a group/],
    ['ignores-sequence', /was written after|accepted twice/],
    ['skips-shard', /were accepted|leaves out a shard/],
  ])('the checkers notice a coordinator that %s', async (mutant, complaint) => {
    let violation: string | undefined;
    for (let seed = 1; seed <= MUTANT_SEEDS_MAX && violation === undefined; seed += 1) violation = (await simulate(seed, mutant)).violation;
    expect(violation).toMatch(complaint);
  });
});
