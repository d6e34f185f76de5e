/**
 * Selection: which pseudo-labels a student trains on, and how often each. Exact and seeded: the same accepted labels
 * give the same selection, whatever the order of shards or the number of workers. Pure; `select.ts` reads and writes.
 *
 * The rule. A label is eligible when its confidence is at least the threshold. Class c has n eligible labels and a budget
 * B: what the recipe says, or floor(eligible of all classes / classes), at least 1; without balance B = n. Ranked by log-odds,
 * then by seeded hash of the key, then by key, the label of rank k gets min(copiesMax, floor(B / n) + (k < B mod n ? 1 : 0)) copies.
 * So the most confident B are kept where there are more, and labels are repeated in whole copies where there are fewer,
 * the remainder going to the most confident.
 *
 * Source of the method: Xie et al. 2020, section 3.1; the published code admits a whole 0.01-wide bin of confidence and
 * thins it at random, unseeded. Ours is exact.
 *
 * Cost: tallies say in which bin of log-odds a class is cut; only that bin's rows are held and sorted.
 */
import { invariant } from '../../proto/errors.ts';
import { sha256 } from '../../store/index.ts';
import type { Labels } from './label-table.ts';
import { BINS, binOf, type Tally } from './tally.ts';

export interface SelectionPolicy {
  /** Least confidence, 0 to 1. */
  readonly threshold: number;
  readonly balance: 'classes' | 'none';
  /** 0: eligible / classes. */
  readonly budgetPerClass: number;
  readonly copiesMax: number;
  readonly seed: number;
}

export interface ClassPlan {
  readonly labeled: number;
  readonly eligible: number;
  readonly budget: number;
  /** Copies of every eligible label; those ranked before `remainder` get one more. */
  readonly copies: number;
  readonly remainder: number;
  /** The bin that rank `remainder` falls into, and how many eligible labels lie in bins above it. -1: no cut is needed. */
  readonly bin: number;
  readonly above: number;
}

interface RankedRow {
  readonly logOdds: number;
  readonly hash: string;
  readonly key: string;
}

/**
 * Confidence p is at least t exactly when its log-odds are at least log(t / (1 - t)); in float32, as tables hold them, so that
 * a label which has exactly the threshold's confidence stays.
 */
export const logOddsOf = (threshold: number): number => Math.fround(Math.log(threshold) - Math.log1p(-threshold));

/** Back again, 0 to 1. */
export const confidenceOf = (logOdds: number): number => 1 / (1 + Math.exp(-logOdds));

export const isEligible = (logOdds: number, policy: SelectionPolicy): boolean => logOdds >= logOddsOf(policy.threshold);

/**
 * @param eligibleInThresholdBin by class, how many labels of the threshold's own bin are eligible: the only rows that must be looked at to know it
 */
export function planSelection(tally: Tally, eligibleInThresholdBin: readonly number[], policy: SelectionPolicy): ClassPlan[] {
  const thresholdBin = binOf(logOddsOf(policy.threshold));
  const eligibleBins = tally.map((bins, at) => bins.map((count, bin) => (bin > thresholdBin ? count : bin === thresholdBin ? (eligibleInThresholdBin[at] ?? 0) : 0)));
  const eligible = eligibleBins.map((bins) => bins.reduce((sum, count) => sum + count, 0));
  const total = eligible.reduce((sum, count) => sum + count, 0);
  return tally.map((bins, at) => {
    const n = eligible[at] ?? 0;
    const budget = policy.balance === 'none' ? n : policy.budgetPerClass > 0 ? policy.budgetPerClass : Math.max(1, Math.floor(total / tally.length));
    const wanted = n === 0 ? 0 : Math.floor(budget / n);
    const copies = Math.min(policy.copiesMax, wanted);
    const remainder = n === 0 || wanted >= policy.copiesMax ? 0 : budget - wanted * n;
    let bin = -1;
    let above = 0;
    if (remainder > 0) {
      const own = eligibleBins[at] ?? new Uint32Array(BINS);
      for (bin = BINS - 1; bin >= 0 && above + (own[bin] ?? 0) < remainder; bin -= 1) above += own[bin] ?? 0;
      invariant(bin >= 0, 'the remainder is smaller than the number of eligible labels');
    }
    return { labeled: bins.reduce((sum, count) => sum + count, 0), eligible: n, budget, copies, remainder, bin, above };
  });
}

const before = (a: RankedRow, b: RankedRow): boolean =>
  a.logOdds !== b.logOdds ? a.logOdds > b.logOdds : a.hash !== b.hash ? a.hash < b.hash : a.key < b.key;

/** Where an eligible label stands in its class: only those of the boundary bin must be ranked one by one. `no-cut`: all eligible ones of the class have equal copies. */
export type Standing = 'below-threshold' | 'no-cut' | 'above-cut' | 'in-boundary-bin' | 'below-cut';

export function standingOf({ remainder, bin: boundary }: ClassPlan, logOdds: number, policy: SelectionPolicy): Standing {
  if (!isEligible(logOdds, policy)) return 'below-threshold';
  if (remainder === 0) return 'no-cut';
  const bin = binOf(logOdds);
  return bin > boundary ? 'above-cut' : bin === boundary ? 'in-boundary-bin' : 'below-cut';
}

export interface BoundaryPlace {
  /** Among the eligible labels of its class, from 0. */
  readonly rank: number;
  /** `hash`: labels on both sides of the cut have its log-odds, so that the seeded hash of the key says who comes first. */
  readonly decidedBy: 'log-odds' | 'hash';
  readonly cutLogOdds: number;
}

/** A class's boundary bin by rank, the last row that belongs to the remainder and the first that does not, as far as it lies in the bin. */
interface Boundary {
  readonly rows: readonly RankedRow[];
  readonly cut: RankedRow | undefined;
  readonly next: RankedRow | undefined;
}

/** Takes the rows of every shard once, in any order; then says how many copies any row gets. */
export class SelectionCutter {
  readonly #policy: SelectionPolicy;
  readonly #plans: readonly ClassPlan[];
  readonly #boundary: RankedRow[][];
  #boundaries: readonly Boundary[] | undefined;

  constructor(plans: readonly ClassPlan[], policy: SelectionPolicy) {
    this.#plans = plans;
    this.#policy = policy;
    this.#boundary = plans.map(() => []);
  }

  /** Whether a shard of this tally holds rows that decide a cut. */
  needs(tally: Tally): boolean {
    return this.#plans.some((plan, at) => plan.bin >= 0 && (tally[at]?.[plan.bin] ?? 0) > 0);
  }

  add(labels: Labels): void {
    invariant(this.#boundaries === undefined, 'rows are added before any copies are asked for');
    for (let row = 0; row < labels.keys.length; row += 1) {
      const at = labels.classes[row] ?? -1;
      const logOdds = labels.logOdds[row] ?? NaN;
      if (binOf(logOdds) === this.#plans[at]?.bin && isEligible(logOdds, this.#policy)) this.#boundary[at]?.push(this.#rank(logOdds, labels.keys[row] ?? ''));
    }
  }

  #rank(logOdds: number, key: string): RankedRow {
    return { logOdds, key, hash: sha256(`${this.#policy.seed}/${key}`) };
  }

  #ranked(): Boundary[] {
    return this.#plans.map((plan, at) => {
      if (plan.bin < 0) return { rows: [], cut: undefined, next: undefined };
      const rows = (this.#boundary[at] ?? []).sort((a, b) => (before(a, b) ? -1 : before(b, a) ? 1 : 0));
      const [cut, next] = rows.slice(plan.remainder - plan.above - 1);
      invariant(cut !== undefined, `the boundary bin of class ${at} holds the rows that the tally counted`);
      return { rows, cut, next };
    });
  }

  /** How often the student sees this label; 0: thrown out. */
  copies(at: number, logOdds: number, key: string): number {
    const plan = this.#plans[at];
    const { cut } = this.#boundaryOf(at);
    if (plan === undefined) return 0;
    switch (standingOf(plan, logOdds, this.#policy)) {
      case 'below-threshold': return 0;
      case 'no-cut':
      case 'below-cut': return plan.copies;
      case 'above-cut': return plan.copies + 1;
      case 'in-boundary-bin': return plan.copies + (cut !== undefined && !before(cut, this.#rank(logOdds, key)) ? 1 : 0);
    }
  }

  /** Where a label of the boundary bin stands beside the last one before the cut: what `copies` says of it, with its reason. */
  place(at: number, logOdds: number, key: string): BoundaryPlace {
    const { rows, cut, next } = this.#boundaryOf(at);
    const plan = this.#plans[at];
    invariant(plan !== undefined && cut !== undefined && plan.bin === binOf(logOdds), `${key} lies in the boundary bin of class ${at}`);
    const own = this.#rank(logOdds, key);
    const isTie = own.logOdds === cut.logOdds && next?.logOdds === cut.logOdds;
    return { rank: plan.above + rows.filter((row) => before(row, own)).length, decidedBy: isTie ? 'hash' : 'log-odds', cutLogOdds: cut.logOdds };
  }

  #boundaryOf(at: number): Boundary {
    this.#boundaries ??= this.#ranked();
    return this.#boundaries[at] ?? { rows: [], cut: undefined, next: undefined };
  }
}
