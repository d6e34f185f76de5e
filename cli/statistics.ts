/**
 * How sure a measured accuracy is. Only what the CLI and the report show; the gate's own test is the coordinator's.
 */

export interface Interval {
  readonly low: number;
  readonly high: number;
}

/** Of a score its proportion; undefined where nothing was scored. */
export const scored = (score: Proportion | undefined): Proportion | undefined => (score !== undefined && score.total > 0 ? { correct: score.correct, total: score.total } : undefined);

export const share = ({ correct, total }: Proportion): number => correct / total;

/** Two-sided 95 % of the standard normal. */
const Z_95 = 1.959963984540054;

/** Wilson's score interval (1927, JASA 22:209) of `correct` of `total`, 95 %. */
export function wilson(correct: number, total: number): Interval {
  if (total <= 0) return { low: 0, high: 1 };
  const share = correct / total;
  const z2 = Z_95 * Z_95;
  const denominator = 1 + z2 / total;
  const center = (share + z2 / (2 * total)) / denominator;
  const half = (Z_95 / denominator) * Math.sqrt((share * (1 - share)) / total + z2 / (4 * total * total));
  return { low: Math.max(0, center - half), high: Math.min(1, center + half) };
}

export interface Proportion {
  readonly correct: number;
  readonly total: number;
}

export interface Difference extends Interval {
  readonly value: number;
}

/**
 * Newcombe's hybrid score interval (1998, Statistics in Medicine 17:873, method 10) of the difference a - b, 95 %.
 * It takes the two as independent. Both are measured on the same images, so the true interval is narrower: it errs on
 * the side of not claiming a difference.
 */
export function difference(a: Proportion, b: Proportion): Difference {
  const [first, second] = [wilson(a.correct, a.total), wilson(b.correct, b.total)];
  const [p, q] = [a.correct / a.total, b.correct / b.total];
  return {
    value: p - q,
    low: p - q - Math.hypot(p - first.low, second.high - q),
    high: p - q + Math.hypot(first.high - p, q - second.low),
  };
}

/**
 * The share of `than`'s errors that `of` does not make, of 0 to 1 and negative where it makes more, with the 95 % interval of the ratio of two
 * proportions by logarithms (Katz et al. 1978, Biometrics 34:469). It takes the two as independent, as `difference` does. Undefined where `than` makes no error;
 * without an interval where `of` makes none.
 */
export function errorReduction(of: Proportion, than: Proportion): { readonly value: number; readonly interval: Interval | undefined } | undefined {
  const [own, other] = [of.total - of.correct, than.total - than.correct];
  if (other === 0) return undefined;
  const ratio = own / of.total / (other / than.total);
  if (own === 0) return { value: 1, interval: undefined };
  const spread = Math.exp(Z_95 * Math.sqrt(1 / own - 1 / of.total + 1 / other - 1 / than.total));
  return { value: 1 - ratio, interval: { low: 1 - ratio * spread, high: 1 - ratio / spread } };
}
