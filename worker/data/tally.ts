/**
 * The tally of a label table: a histogram of confidence by class, over log-odds. Tallies of shards add up to that of the
 * set, so that where a class is cut is found from classes x bins x shards numbers, never from samples.
 */
import { canonicalJson } from '../../store/index.ts';
import { AlumnusError, invariant } from '../../proto/errors.ts';
import type { Labels } from './label-table.ts';

/**
 * Bin b holds log-odds in [BIN_FROM + b BIN_WIDTH, BIN_FROM + (b + 1) BIN_WIDTH); the first and last also all beyond.
 * -8 is below the least confidence that the best of 2,000 classes can have; 56 is beyond what float32 logits tell apart.
 */
export const BIN_FROM = -8;
export const BIN_WIDTH = 0.125;
export const BINS = 512;

/** `[class][bin]` counts. */
export type Tally = Uint32Array[];

export const binOf = (logOdds: number): number => Math.min(BINS - 1, Math.max(0, Math.floor((logOdds - BIN_FROM) / BIN_WIDTH)));

export const emptyTally = (classes: number): Tally => Array.from({ length: classes }, () => new Uint32Array(BINS));

export function tallyOf(labels: Labels, classes: number): Tally {
  const tally = emptyTally(classes);
  for (let row = 0; row < labels.keys.length; row += 1) {
    const bins = tally[labels.classes[row] ?? -1];
    const logOdds = labels.logOdds[row] ?? NaN;
    invariant(bins !== undefined && !Number.isNaN(logOdds), `row ${row} has a class and log-odds`);
    const bin = binOf(logOdds);
    bins[bin] = (bins[bin] ?? 0) + 1;
  }
  return tally;
}

export function addTally(into: Tally, other: Tally): void {
  other.forEach((bins, at) => {
    const sum = into[at];
    invariant(sum !== undefined, 'tallies of one run have the same classes');
    bins.forEach((count, bin) => (sum[bin] = (sum[bin] ?? 0) + count));
  });
}

export const sameTally = (a: Tally, b: Tally): boolean => a.length === b.length && a.every((bins, at) => bins.every((count, bin) => count === b[at]?.[bin]));

/** Canonical JSON of the bins that are not empty. */
export function encodeTally(tally: Tally): Uint8Array {
  const classes = tally.map((bins) => Array.from(bins, (count, bin) => [bin, count]).filter(([, count]) => count !== 0));
  return Buffer.from(canonicalJson({ schemaVersion: 1, from: BIN_FROM, width: BIN_WIDTH, bins: BINS, classes }));
}

/** @throws AlumnusError SHARD_CORRUPT */
export function decodeTally(bytes: Uint8Array, classes: number, where: string): Tally {
  const corrupt = (what: string): AlumnusError => new AlumnusError('SHARD_CORRUPT', what, { where });
  let value: { schemaVersion?: unknown; from?: unknown; width?: unknown; bins?: unknown; classes?: [number, number][][] };
  try {
    value = JSON.parse(Buffer.from(bytes).toString('utf8')) as typeof value;
  } catch (thrown) {
    throw new AlumnusError('SHARD_CORRUPT', 'the tally is not JSON', { where, cause: thrown });
  }
  if (value.schemaVersion !== 1 || value.from !== BIN_FROM || value.width !== BIN_WIDTH || value.bins !== BINS) throw corrupt('the tally has other bins than this release');
  if (value.classes?.length !== classes) throw corrupt(`the tally has ${value.classes?.length ?? 0} classes, the run ${classes}`);
  return value.classes.map((entries) => {
    const bins = new Uint32Array(BINS);
    for (const [bin, count] of entries) {
      if (!(Number.isInteger(bin) && bin >= 0 && bin < BINS && Number.isInteger(count) && count > 0)) throw corrupt(`the tally counts ${count} in bin ${bin}`);
      bins[bin] = count;
    }
    return bins;
  });
}
