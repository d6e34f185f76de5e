/**
 * The promotion gate: may the student become the teacher? A paired test on the validation split that no training saw.
 * Source: McNemar's exact test, i.e. the two-sided binomial test of the discordant pairs against one half
 * (Fagerland, Lydersen, Laake 2013, section 2.2).
 */
import type { Gate } from '../../proto/gen/alumnus/v1/events.ts';
import type { PairedCounts } from '../../proto/gen/alumnus/v1/task.ts';
import type { Recipe } from '../../recipe/index.ts';

/**
 * Two-sided exact p-value of `a` against `b` discordant pairs, in (0, 1].
 * Sums C(n, k) / 2^n for k <= min(a, b) in logarithms, term by term, so that n of millions neither overflows nor loses digits that matter.
 */
export function mcnemarExact(a: number, b: number): number {
  const n = a + b;
  const fewer = Math.min(a, b);
  if (n === 0) return 1;
  // log C(n, 0) / 2^n, then C(n, k + 1) = C(n, k) (n - k) / (k + 1).
  let logTerm = -n * Math.LN2;
  const logTerms = [logTerm];
  for (let k = 0; k < fewer; k += 1) {
    logTerm += Math.log((n - k) / (k + 1));
    logTerms.push(logTerm);
  }
  const largest = logTerm; // Terms grow up to n / 2, so the last one leads.
  let sum = 0;
  for (const term of logTerms) sum += Math.exp(term - largest);
  return Math.min(1, 2 * Math.exp(largest + Math.log(sum)));
}

/** The least difference of discordant pairs, of `discordant` in all, that the test calls significant at `alpha`; undefined where none is. */
export function leastResolvable(discordant: number, alpha: number): number | undefined {
  let low = 0;
  let high = Math.floor(discordant / 2) + 1;
  // p grows with min(a, b): the largest minority that is still significant, by bisection.
  while (low < high) {
    const minority = (low + high) >> 1;
    if (minority * 2 <= discordant && mcnemarExact(minority, discordant - minority) < alpha) low = minority + 1;
    else high = minority;
  }
  const minority = low - 1;
  return minority < 0 ? undefined : discordant - 2 * minority;
}

/**
 * @param tries gates decided in this run, this one included: alpha is divided by it.
 * @param corruptionRatio the student's mean corruption error on validation by the teacher's, where that is measured
 * `not-worse` promotes unless the student is significantly worse; `better` promotes only if it is significantly better; and neither where
 * the ratio is above `corruption_error_most`.
 */
export function decideGate(counts: PairedCounts, promotion: Recipe['promotion'], tries: number, corruptionRatio?: number): { promote: boolean; gate: Gate } {
  const alpha = promotion.alpha / tries;
  const { samples, studentOnlyRight, teacherOnlyRight } = counts;
  const pValue = mcnemarExact(studentOnlyRight, teacherOnlyRight);
  const significant = pValue < alpha;
  const difference = studentOnlyRight - teacherOnlyRight;
  const most = promotion.corruption_error_most;
  const fragile = most !== undefined && corruptionRatio !== undefined && corruptionRatio > most;
  const promote = !fragile && (promotion.require === 'better' ? significant && difference > 0 : !(significant && difference < 0));
  const points = (pairs: number): string => `${((100 * pairs) / Math.max(1, samples)).toFixed(2)} points`;
  const verdict = !significant ? 'not significantly different' : difference > 0 ? 'significantly better' : 'significantly worse';
  const resolvable = leastResolvable(studentOnlyRight + teacherOnlyRight, alpha);
  const warning = significant
    ? ''
    : resolvable === undefined
      ? `${samples} validation samples with ${studentOnlyRight + teacherOnlyRight} discordant pairs cannot show any difference at level ${alpha.toPrecision(2)}`
      : `${samples} validation samples cannot resolve a difference under ${points(resolvable)} here; the one seen is ${points(Math.abs(difference))}`;
  return { promote, gate: { samples, studentOnlyRight, teacherOnlyRight, pValue, alpha, reason: `${verdict}, by ${difference >= 0 ? '+' : '-'}${points(Math.abs(difference))}${fragile ? `; its mean corruption error is ${corruptionRatio.toFixed(3)} times the teacher's, above the ${most} of promotion.corruption_error_most` : ''}`, warning, corruptionRatio } };
}
