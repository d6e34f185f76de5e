/**
 * A share of the seeds, played, and the tallies of all shares merged to one report (report.ts). Shares are test files, so
 * that each has a process: seeds are independent, and a core plays one share. ALUMNUS_SIMULATION_SEEDS (default 200) seeds
 * from ALUMNUS_SIMULATION_START (default 1) on.
 */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect, inject, test } from 'vitest';
import { simulate } from './simulate.ts';

declare module 'vitest' {
  export interface ProvidedContext {
    /** Where shares leave their tallies. */
    simulationTallies: string;
  }
}

const SEEDS_DEFAULT = 200;
/** As many as there are test files that play one, and as vitest runs at once. */
const SHARES = 2;

export interface Tally {
  readonly seeds: number;
  readonly simulatedMs: number;
  readonly events: number;
  readonly wallMs: number;
  /** Of the process: tells the speed also where other work runs beside it. */
  readonly cpuMs: number;
  readonly counts: readonly (readonly [string, number])[];
  readonly failures: readonly string[];
}

export const seeds = Number(process.env.ALUMNUS_SIMULATION_SEEDS ?? SEEDS_DEFAULT);
export const start = Number(process.env.ALUMNUS_SIMULATION_START ?? 1);

function commit(): string {
  try {
    return execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  } catch {
    return 'unknown';
  }
}

/** Plays every SHARES-th seed, the first of them `share` behind the start. */
export function playShare(share: number): void {
  test(`${seeds} seeds from ${start}, share ${share + 1} of ${SHARES}: no accepted result is lost, changed or counted twice, and every run ends as it would have undisturbed`, async () => {
    const counts = new Map<string, number>();
    const failures: string[] = [];
    let [played, simulatedMs, events] = [0, 0, 0];
    const began = performance.now();
    const cpuBefore = process.cpuUsage();
    for (let seed = start + share; seed < start + seeds; seed += SHARES) {
      const history = await simulate(seed);
      played += 1;
      simulatedMs += history.simulatedMs;
      events += history.events;
      for (const [what, times] of history.counts) counts.set(what, (counts.get(what) ?? 0) + times);
      if (history.violation !== undefined) failures.push(`seed ${seed}: ${history.violation}\n  play it again at commit ${commit()}: npm run test:simulation -- --seeds 1 --start ${seed}`);
    }
    const { user, system } = process.cpuUsage(cpuBefore);
    const tally: Tally = { seeds: played, simulatedMs, events, wallMs: performance.now() - began, cpuMs: (user + system) / 1000, counts: [...counts], failures };
    writeFileSync(path.join(inject('simulationTallies'), `${share}.json`), JSON.stringify(tally));
    expect(failures.join('\n')).toBe('');
  });
}
