/**
 * Selection against an independent reference that sorts everything and hands out copies one by one: equal to the last
 * sample, for ties, equal and infinite log-odds, empty and tiny classes, and however rows are split into shards.
 */
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import type { LabeledShard } from '../../proto/gen/alumnus/v1/task.ts';
import { openStore, type ObjectStore } from '../../store/index.ts';
import {
  addTally, binOf, BIN_FROM, BIN_WIDTH, decodeTally, emptyTally, encodeTally, isEligible, logOddsOf, planSelection, readSelectionPart, select, SelectionCutter, tallyOf, writeLabelTable,
  type Labels, type SelectionPolicy,
} from '../../worker/data/index.ts';

interface Row {
  readonly key: string;
  readonly class: number;
  /** float32 */
  readonly logOdds: number;
}

interface Case {
  readonly rows: readonly Row[];
  readonly classes: number;
  readonly policy: SelectionPolicy;
}

const labelsOf = (rows: readonly Row[]): Labels => ({ keys: rows.map((row) => row.key), classes: rows.map((row) => row.class), logOdds: rows.map((row) => row.logOdds) });

/** The rule as a person would do it by hand. */
function reference({ rows, classes, policy }: Case): Map<string, number> {
  const least = Math.fround(Math.log(policy.threshold) - Math.log1p(-policy.threshold));
  const eligible = rows.filter((row) => row.logOdds >= least);
  const hash = (key: string): string => createHash('sha256').update(`${policy.seed}/${key}`).digest('hex');
  const copies = new Map<string, number>();
  for (let at = 0; at < classes; at += 1) {
    const ranked = eligible
      .filter((row) => row.class === at)
      .sort((a, b) => (a.logOdds === b.logOdds ? (hash(a.key) < hash(b.key) ? -1 : 1) : b.logOdds > a.logOdds ? 1 : -1));
    let budget = policy.balance === 'none' ? ranked.length : policy.budgetPerClass > 0 ? policy.budgetPerClass : Math.max(1, Math.floor(eligible.length / classes));
    for (let copy = 1; copy <= policy.copiesMax; copy += 1) {
      for (const row of ranked) {
        if (budget === 0) break;
        copies.set(row.key, copy);
        budget -= 1;
      }
    }
  }
  return copies;
}

/** The rule as it is done: tallies of the shards, a plan, the boundary bins, then every row. */
function bySelection({ classes, policy }: Case, shards: readonly (readonly Row[])[]): Map<string, number> {
  const merged = emptyTally(classes);
  const tallies = shards.map((rows) => decodeTally(encodeTally(tallyOf(labelsOf(rows), classes)), classes, 'tally'));
  tallies.forEach((tally) => addTally(merged, tally));
  const thresholdBin = binOf(logOddsOf(policy.threshold));
  const inThresholdBin = Array.from({ length: classes }, (_, at) => shards.flat().filter((row) => row.class === at && binOf(row.logOdds) === thresholdBin && isEligible(row.logOdds, policy)).length);
  const cutter = new SelectionCutter(planSelection(merged, inThresholdBin, policy), policy);
  shards.forEach((rows, at) => {
    if (cutter.needs(tallies[at] ?? [])) cutter.add(labelsOf(rows));
  });
  const copies = new Map<string, number>();
  for (const row of shards.flat()) {
    const times = cutter.copies(row.class, row.logOdds, row.key);
    if (times > 0) copies.set(row.key, times);
  }
  return copies;
}

const sorted = (copies: ReadonlyMap<string, number>): [string, number][] => [...copies].sort(([a], [b]) => (a < b ? -1 : 1));

const thresholds = fc.oneof(fc.constantFrom(0, 0.1, 0.3, 0.5, 0.9, 0.999, 1), fc.double({ min: 0, max: 1, noNaN: true }));
/** Crowded on purpose: few values for many rows, on and beside the edges of bins and of the threshold. */
const logOddsNear = (threshold: number): fc.Arbitrary<number> =>
  fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom(-Infinity, Infinity, 0, -0, 0.5, 1, 1.0625, BIN_FROM, BIN_FROM - 1, 100, logOddsOf(threshold)) },
    { weight: 2, arbitrary: fc.integer({ min: -10, max: 500 }).map((bin) => Math.fround(BIN_FROM + bin * BIN_WIDTH)) },
    { weight: 1, arbitrary: fc.float({ noNaN: true }) },
    { weight: 3, arbitrary: fc.float({ min: -10, max: 60, noNaN: true }) },
  );

const cases: fc.Arbitrary<Case> = fc
  .record({
    classes: fc.integer({ min: 1, max: 5 }), threshold: thresholds, balance: fc.constantFrom('classes' as const, 'none' as const),
    budgetPerClass: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 40 })), copiesMax: fc.integer({ min: 1, max: 12 }), seed: fc.integer({ min: 0, max: 2 ** 31 - 1 }),
  })
  .chain(({ classes, ...policy }) =>
    fc
      .uniqueArray(fc.record({ key: fc.stringMatching(/^[a-f0-9]{1,4}$/), class: fc.integer({ min: 0, max: classes - 1 }), logOdds: logOddsNear(policy.threshold) }), { selector: (row) => row.key, maxLength: 120 })
      .map((rows) => ({ rows, classes, policy })));

/** Rows dealt into shards, both in an order of their own. */
const dealt = (rows: readonly Row[]): fc.Arbitrary<Row[][]> =>
  fc.tuple(fc.shuffledSubarray([...rows], { minLength: rows.length }), fc.integer({ min: 1, max: 6 })).chain(([shuffled, count]) =>
    fc.array(fc.integer({ min: 0, max: count - 1 }), { minLength: shuffled.length, maxLength: shuffled.length })
      .map((places) => Array.from({ length: count }, (_, shard) => shuffled.filter((_row, at) => places[at] === shard))));

const casesInShards = cases.chain((one) => fc.tuple(dealt(one.rows), dealt(one.rows)).map(([first, second]) => ({ one, first, second })));

const folder = mkdtempSync(join(tmpdir(), 'alumnus-selection-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function storeLabels(store: ObjectStore, shards: readonly (readonly Row[])[], classes: number, teacher = 'teacher'): Promise<LabeledShard[]> {
  return Promise.all(shards.map(async (rows, at) => {
    const labels = labelsOf(rows);
    const table = writeLabelTable({ ...labels, logProbabilities: rows.map(() => Array.from({ length: classes }, () => Math.log(1 / classes))) }, { 'alumnus.teacher': teacher });
    return { shard: `shard-${at}`, labels: await store.putAddressed('labels', table), tally: await store.putAddressed('tallies', encodeTally(tallyOf(labels, classes))) };
  }));
}

describe('selection', () => {
  it('equals the reference to the last sample, however rows are split into shards and ordered', () => {
    fc.assert(
      fc.property(casesInShards, ({ one, first, second }) => {
        const expected = sorted(reference(one));
        expect(sorted(bySelection(one, first))).toEqual(expected);
        expect(sorted(bySelection(one, second))).toEqual(expected);
      }),
      { numRuns: 500 },
    );
  });

  it('decides among equals by the seeded hash, so another seed keeps others and the names decide nothing', () => {
    const rows: Row[] = Array.from({ length: 60 }, (_, at) => ({ key: `k${String(at).padStart(2, '0')}`, class: 0, logOdds: 2 }));
    const kept = (seed: number): [string, number][] => {
      const one: Case = { rows, classes: 1, policy: { threshold: 0.3, balance: 'classes', budgetPerClass: 20, copiesMax: 10, seed } };
      expect(sorted(bySelection(one, [rows.slice(0, 7), rows.slice(7)]))).toEqual(sorted(reference(one)));
      return sorted(reference(one));
    };
    expect(kept(1)).toHaveLength(20);
    expect(kept(1)).not.toEqual(kept(2));
    expect(kept(1).map(([key]) => key)).not.toEqual(rows.slice(0, 20).map((row) => row.key));
  });

  it('gives each class its budget, or as near to it as copies allow, and never more', () => {
    fc.assert(
      fc.property(cases, (one) => {
        const copies = bySelection(one, [one.rows]);
        const eligible = one.rows.filter((row) => isEligible(row.logOdds, one.policy));
        for (let at = 0; at < one.classes; at += 1) {
          const own = eligible.filter((row) => row.class === at);
          const given = own.reduce((sum, row) => sum + (copies.get(row.key) ?? 0), 0);
          const budget = one.policy.balance === 'none' ? own.length : one.policy.budgetPerClass > 0 ? one.policy.budgetPerClass : Math.max(1, Math.floor(eligible.length / one.classes));
          expect(given).toBe(Math.min(budget, own.length * one.policy.copiesMax));
          const most = Math.max(0, ...own.map((row) => copies.get(row.key) ?? 0));
          const least = own.length === 0 ? 0 : Math.min(...own.map((row) => copies.get(row.key) ?? 0));
          expect(most - least).toBeLessThanOrEqual(1);
        }
      }),
      { numRuns: 500 },
    );
  });

  it('from the store has one digest whatever the order of the shards, and keeps what the reference keeps', async () => {
    const store = await openStore(pathToFileURL(folder).href);
    let run = 0;
    await fc.assert(
      fc.asyncProperty(casesInShards, async ({ one, first }) => {
        run += 1;
        const shards = await storeLabels(store, first, one.classes);
        const request = { teacher: 'teacher', policy: one.policy, classes: one.classes, metadata: {} };
        const there = await select(store, { ...request, shards, outputPrefix: `runs/a/${run}` });
        const back = await select(store, { ...request, shards: shards.toReversed(), outputPrefix: `runs/b/${run}` });
        expect(back.ref.sha256).toBe(there.ref.sha256);
        const copies = new Map<string, number>();
        for (const part of there.document.parts) for (const [key, times] of await readSelectionPart(store, there.ref, part)) copies.set(key, times);
        expect(sorted(copies)).toEqual(sorted(reference(one)));
        expect(there.document.classes.reduce((sum, each) => sum + each.rows, 0)).toBe([...copies.values()].reduce((sum, times) => sum + times, 0));
        expect(there.document.parts.reduce((sum, part) => sum + part.kept, 0)).toBe(copies.size);
      }),
      { numRuns: 25 },
    );
  });

  it('refuses labels of another teacher, and a tally that counts other labels', async () => {
    const store = await openStore(pathToFileURL(folder).href);
    const rows: Row[] = Array.from({ length: 20 }, (_, at) => ({ key: `k${at}`, class: at % 2, logOdds: Math.fround(at / 3) }));
    const policy: SelectionPolicy = { threshold: 0.3, balance: 'classes', budgetPerClass: 4, copiesMax: 10, seed: 1 };
    const [mine] = await storeLabels(store, [rows], 2);
    const [other] = await storeLabels(store, [rows.slice(1)], 2, 'other');
    const request = (shard: LabeledShard | undefined) => select(store, { teacher: 'teacher', policy, classes: 2, metadata: {}, outputPrefix: 'runs/refused', shards: shard === undefined ? [] : [shard] });
    await expect(request(mine)).resolves.toMatchObject({ document: { parts: [{ kept: 8, rows: 8 }] } });
    await expect(request(other)).rejects.toMatchObject({ code: 'DIGEST_MISMATCH', where: other?.labels?.key });
    await expect(request({ ...(mine as LabeledShard), tally: other?.tally })).rejects.toMatchObject({ code: 'SHARD_CORRUPT' });
  });
});
