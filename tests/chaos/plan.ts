/** When what is killed: drawn from a seed, before anything runs, so that a failure can be played again. */
import { randomFrom } from '../harness/random.ts';

export const targets = ['worker', 'engine', 'coordinator'] as const;
export type Target = (typeof targets)[number];

export interface Kill {
  readonly number: number;
  /** 0 to 1 of the undisturbed run's length; the clock stands still while what was killed is away. */
  readonly moment: number;
  /** Instead of the moment: as soon as so many labels of the stage are there. Labeling is short, and most is lost or doubled there. */
  readonly aim: { readonly iteration: number; readonly labels: number } | undefined;
  readonly target: Target;
  /** Which worker, or whose engine. */
  readonly worker: number;
  /** How long the killed process stays away. */
  readonly awayMs: number;
  /** Whether the clock runs on meanwhile, so that the next kill may find it still away. */
  readonly overlaps: boolean;
}

const AWAY_MS_MAX = 1_500;
/** Share of kills that do not wait for the one before to be mended. */
const OVERLAP_SHARE = 0.3;
const MOMENT_MAX = 0.95;
/** Share of kills aimed at labeling. */
const AIMED_SHARE = 0.35;

/** Kills of one run after another, each run's by moment. A share of every target is certain where there are at least three. */
export function planKills(seed: number, kills: number, killsPerRun: number, workers: number, shards: number): Kill[][] {
  const random = randomFrom(seed);
  const runs: Kill[][] = [];
  for (let number = 0; number < kills;) {
    const many = Math.min(killsPerRun, kills - number);
    const run: Kill[] = [];
    for (let at = 0; at < many; at += 1) {
      // One draw from each equal part of the run's length: all of it is covered, and no two runs alike.
      const moment = ((at + random()) / many) * MOMENT_MAX;
      const target = targets[(number + seed) % targets.length] ?? 'worker';
      const aim = random() < AIMED_SHARE ? { iteration: moment < MOMENT_MAX / 2 ? 1 : 2, labels: Math.floor(random() * shards) } : undefined;
      run.push({ number: number + 1, moment, aim, target, worker: Math.floor(random() * workers), awayMs: Math.round(random() * AWAY_MS_MAX), overlaps: random() < OVERLAP_SHARE });
      number += 1;
    }
    runs.push(run);
  }
  return runs;
}
