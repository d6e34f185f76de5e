/**
 * Validation predictions counted by confidence, right and all: from these the coordinator chooses the threshold that keeps what is
 * right often enough, without a prediction in hand. Not for: calibration error, whose bins are of equal width in confidence.
 *
 * Invariant: as a threshold of labels, a bin's confidence keeps exactly the predictions of that bin and of those above it. So a
 * prediction's bin is found by the comparison that makes a label eligible, in the float32 log-odds that label tables hold.
 */
import type { ConfidenceBin } from '../../proto/gen/alumnus/v1/task.ts';
import { logOddsOf } from './selection.ts';
import { BIN_FROM, BIN_WIDTH } from './tally.ts';

/** A confidence beyond it (1 - 4e-11) has too few digits left in a double to be a threshold. */
const LOG_ODDS_MAX = 24;

/** The least confidence of each bin, rising: the edges of a tally's bins, where the first bin also holds all below. */
export const confidenceEdges: readonly number[] = Array.from({ length: (LOG_ODDS_MAX - BIN_FROM) / BIN_WIDTH + 1 }, (_, bin) => (bin === 0 ? 0 : 1 / (1 + Math.exp(-(BIN_FROM + bin * BIN_WIDTH)))));

const cuts = Float32Array.from(confidenceEdges, logOddsOf);

/**
 * The bins that hold predictions, by rising confidence.
 * @param logOdds of the predicted class, by sample
 * @param right 1 where the prediction is right, else 0, by sample
 */
export function confidenceBins(logOdds: Float32Array, right: Uint8Array): ConfidenceBin[] {
  const counts = confidenceEdges.map((confidence) => ({ confidence, correct: 0, total: 0 }));
  logOdds.forEach((value, row) => {
    // The last cut that is not above the value.
    let [low, high] = [0, cuts.length];
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (value >= (cuts[middle] ?? NaN)) low = middle;
      else high = middle;
    }
    const count = counts[low];
    if (count === undefined) throw new Error('invariant broken: every prediction has a bin');
    count.total += 1;
    count.correct += right[row] ?? 0;
  });
  return counts.filter((count) => count.total > 0);
}
