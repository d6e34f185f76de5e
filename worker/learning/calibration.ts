/**
 * How far a model's confidence can be trusted: the expected calibration error, and the temperature that makes
 * softmax(logits / T) fit a labeled split best. Log-probabilities serve as logits: softmax(log p / T) is softmax(logits / T).
 * Pure; no TensorFlow. Not for: deciding by it; the coordinator does.
 * Source: Guo et al. 2017, arXiv 1706.04599, sections 2 and 4.2; checked against github.com/gpleiss/temperature_scaling.
 */

/** Equal-width bins of confidence, as there. */
export const CALIBRATION_BINS = 15;

/**
 * Expected calibration error, 0 to 1 (equation 3): the mean over samples of |accuracy - confidence| of
 * their bin. Bin m holds confidences in ((m - 1) / M, m / M].
 * @param confidences probability of the predicted class, by sample
 */
export function calibrationError(confidences: Float64Array, right: Uint8Array): number {
  const bins = Array.from({ length: CALIBRATION_BINS }, () => ({ samples: 0, confidence: 0, right: 0 }));
  confidences.forEach((confidence, row) => {
    const at = Math.min(CALIBRATION_BINS - 1, Math.max(0, Math.ceil(confidence * CALIBRATION_BINS) - 1));
    const bin = bins[at];
    if (bin === undefined) throw new Error('invariant broken: a confidence is from 0 to 1');
    bin.samples += 1;
    bin.confidence += confidence;
    bin.right += right[row] ?? 0;
  });
  const total = confidences.length;
  return total === 0 ? 0 : bins.reduce((sum, bin) => sum + Math.abs(bin.right - bin.confidence), 0) / total;
}

/** Beyond these a split does not tell the temperature: a model that has every sample right wants 0, one that guesses infinity. */
export const TEMPERATURE_MIN = 0.05;
export const TEMPERATURE_MAX = 20;

/** Relative; far below what a split of any size can tell. */
const TOLERANCE = 1e-12;
/** Newton's method takes some eight; halving alone would take fifty. */
const ITERATIONS_MAX = 100;
/** As in label tables: no probability at all would make every sum infinite. */
const LOG_PROBABILITY_MIN = -60_000;

/** Log-probabilities of a split, `[truth.length, classes]`, with the true class of each row. */
export interface Predicted {
  readonly logProbabilities: Float32Array;
  readonly truth: Uint16Array;
  readonly classes: number;
}

/** Sums over the split at inverse temperature `beta`: the loss, and its first and second derivative by `beta`. Of one row E[z] - z_truth and Var[z]. */
function lossAt({ logProbabilities, truth, classes }: Predicted, beta: number): { loss: number; slope: number; curvature: number } {
  const sum = { loss: 0, slope: 0, curvature: 0 };
  for (let row = 0; row < truth.length; row += 1) {
    const start = row * classes;
    const logit = (at: number): number => Math.max(LOG_PROBABILITY_MIN, logProbabilities[start + at] ?? NaN);
    let most = -Infinity;
    for (let at = 0; at < classes; at += 1) most = Math.max(most, logit(at));
    // Relative to the largest: exp stays in range, and the variance does not cancel.
    let [total, first, second] = [0, 0, 0];
    for (let at = 0; at < classes; at += 1) {
      const z = logit(at) - most;
      const weight = Math.exp(beta * z);
      total += weight;
      first += weight * z;
      second += weight * z * z;
    }
    const [mean, own] = [first / total, logit(truth[row] ?? -1) - most];
    sum.loss += Math.log(total) - beta * own;
    sum.slope += mean - own;
    sum.curvature += second / total - mean * mean;
  }
  return sum;
}

/** Mean negative log-likelihood of softmax(logits / temperature), in nats; 0 without samples. */
export const negativeLogLikelihood = (predicted: Predicted, temperature = 1): number => (predicted.truth.length === 0 ? 0 : lossAt(predicted, 1 / temperature).loss / predicted.truth.length);

/**
 * The temperature of the least loss, within TEMPERATURE_MIN and TEMPERATURE_MAX. The loss is convex in 1 / T, so that its slope has one root:
 * Newton's method, halving (in logarithms) where that would leave the bracket. Deterministic. 1 where the loss does not depend on it.
 */
export function fitTemperature(predicted: Predicted): number {
  let [low, high] = [1 / TEMPERATURE_MAX, 1 / TEMPERATURE_MIN];
  if (lossAt(predicted, low).slope > 0) return TEMPERATURE_MAX;
  if (lossAt(predicted, high).slope < 0) return TEMPERATURE_MIN;
  let beta = 1;
  for (let iteration = 0; iteration < ITERATIONS_MAX; iteration += 1) {
    const { slope, curvature } = lossAt(predicted, beta);
    if (slope === 0) break;
    if (slope > 0) high = beta;
    else low = beta;
    const newton = beta - slope / curvature;
    const next = newton > low && newton < high ? newton : Math.sqrt(low * high);
    const moved = Math.abs(next - beta);
    beta = next;
    if (moved <= TOLERANCE * beta) break;
  }
  return 1 / beta;
}

/** Probability of class `picked[row]` under softmax(logits / temperature), by sample. */
export function confidencesAt({ logProbabilities, classes }: Pick<Predicted, 'logProbabilities' | 'classes'>, picked: Uint16Array, temperature: number): Float64Array {
  return Float64Array.from(picked, (top, row) => {
    const start = row * classes;
    const own = logProbabilities[start + top] ?? NaN;
    let total = 0;
    for (let at = 0; at < classes; at += 1) total += Math.exp(((logProbabilities[start + at] ?? NaN) - own) / temperature);
    return 1 / total;
  });
}
