/**
 * The control plane in a simulated world (simulate.ts), seed after seed. ALUMNUS_SIMULATION_SEEDS (default 200) seeds from
 * ALUMNUS_SIMULATION_START (default 1) on; a failure names its seed, the commit, and the command that plays it again.
 */
import { execFileSync } from 'node:child_process';
import { describe, expect, test } from 'vitest';
import { simulate, type Mutant } from './simulate.ts';

const SEEDS_DEFAULT = 200;
/** A planted bug must be found within so many seeds; most are within ten. */
const MUTANT_SEEDS_MAX = 1_000;
/** So many seeds meet every fault and every branch that is named below. */
const COMPLETE_SEEDS = 1_000;

/** What a long run must have met at least once: a fault that never happens tests nothing. */
const FAULTS = [
  'worker crash', 'worker stands still', 'a worker is gone for good, and another comes', 'slow task', 'drain', 'engine crash', 'poison shard', 'poison kills the worker', 'result of the wrong form',
  'leader killed', 'standby killed', 'coordinator stands still', 'the leader\'s entry is lost early', 'answer of the leader\'s entry lost',
  'killed between append and acknowledgement', 'killed between acknowledgement and answer', 'killed between a put and what follows', 'acknowledgement of an append lost', 'slow journal', 'journal out of space',
  'request lost', 'response lost', 'request doubled', 'message late', 'a call meets a cut link',
  ...[['worker', 'coordinator'], ['coordinator', 'worker'], ['coordinator', 'journal'], ['journal', 'coordinator'], ['coordinator', 'entry'], ['entry', 'coordinator'], ['coordinator', 'store'], ['worker', 'store'], ['store', 'worker']].flatMap(([from, to]) => [`link cut (${from} to ${to}, one way)`, `link cut (${from} to ${to} and back)`]),
  'acknowledged groups are lost', 'the journal is lost', 'power loss of the whole cluster', 'the store fails (5xx)', 'the store is full', 'the store cuts an upload off', 'the store doesn\'t answer', 'wrong bytes from the store',
  'operator pauses', 'operator cancels',
].map((fault) => `fault: ${fault}`);
const BRANCHES = [
  'a standby sends a worker on to the leader', 'an older term\'s lease is adopted', 'a result of an older term\'s lease is accepted', 'a worker is told that its lease is lost', 'a second lease', 'a second completion is refused', 'a completion of a closed task is refused',
  'a result is taken while paused', 'a leader steps down', 'a node leads again', 'a deposed leader\'s append is refused', 'a dead leader\'s append arrives', 'the journal is truncated',
  'reconcile says restored', 'reconcile says advanced', 'reconcile says agrees', 'reconcile says diverged',
  'a shard is quarantined', 'a shard is repaired', 'another try', 'labels are kept with their teacher', 'audit is given up', 'control is given up',
  'the run pauses itself (quarantine)', 'the run pauses itself (refusal or evaluation)', 'the run pauses itself (a model is given up)', 'a run ends (runSucceeded)', 'a run ends (runCancelled)', 'compared, nothing quarantined', 'compared, shards quarantined',
].map((branch) => `branch: ${branch}`);

/** Seeds that once failed, with what was wrong then. */
const REGRESSIONS: readonly (readonly [seed: number, why: string])[] = [
  [189, 'a leader that was stopped during an append took its group into the fold, which the node read again: the process ended'],
  [91, 'a task was granted, failed and was given up between the two halves of a reconcile: said in the invariant since'],
];

const seeds = Number(process.env.ALUMNUS_SIMULATION_SEEDS ?? SEEDS_DEFAULT);
const start = Number(process.env.ALUMNUS_SIMULATION_START ?? 1);

function commit(): string {
  try {
    return execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  } catch {
    return 'unknown';
  }
}

describe('the control plane, simulated', () => {
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
    if (seeds >= COMPLETE_SEEDS) expect([...FAULTS, ...BRANCHES].filter((what) => !counts.has(what))).toEqual([]);
  });

  test.each(REGRESSIONS)('seed %i is sound again: %s', async (seed) => {
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
    // Fencing, lease expiry, snapshot, selection merge, step-down; then the disk itself.
    ['ignores-sequence', /was written after|accepted twice|middle of a group/],
    ['never-expires', /not over \d+ minutes after the last fault/],
    ['stale-snapshot', /holds a state|lost or changed|knows \d+ runs|does not hold the facts/],
    ['skips-shard', /were accepted|leaves out a shard/],
    ['never-steps-down', /granted a lease while/],
    ['forgets-acknowledged', /holds a state|was written after|lost or changed|knows \d+ runs|middle of a group|facts are missing|not over/],
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
