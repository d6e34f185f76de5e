/** How benchmarks say their figures: the median of the rounds, and their range. Not for: measuring. */

/** Of an odd number of values the one that happened. */
export const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!;

/** Median, then least to most. @param digits behind the point */
export const range = (values: readonly number[], digits: number): string => `${median(values).toFixed(digits)} (${Math.min(...values).toFixed(digits)} to ${Math.max(...values).toFixed(digits)})`;
