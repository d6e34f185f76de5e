/** A selection that leaves samples out is the selection of a set without them: to the label, and never one of those that are left out. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { writeParquet } from '../../dataset/index.ts';
import type { LabeledShard, LeftOut, ObjectRef } from '../../proto/gen/alumnus/v1/task.ts';
import { MemoryStore } from '../simulation/store.ts';
import { encodeTally, readSelectionPart, select, tallyOf, writeLabelTable, type SelectionDocument, type SelectionPolicy } from '../../worker/data/index.ts';

const TEACHER = 'a'.repeat(64);
const store = new MemoryStore();

interface Row {
  readonly key: string;
  readonly shard: number;
  readonly class: number;
  readonly logOdds: number;
  /** 1: near-duplicate, 2: reviewed, 3: both. */
  readonly out: number;
}

const CLASSES = 3;
const shardName = (at: number): string => `unlabeled-00000${at}`;
const keysTable = (rows: readonly Row[]): Promise<ObjectRef> => store.putAddressed('tables', writeParquet([
  { name: 'key', data: rows.map(({ key }) => key), type: 'STRING', nullable: false }, { name: 'shard', data: rows.map(({ shard }) => shardName(shard)), type: 'STRING', nullable: false },
]));

async function shardsOf(rows: readonly Row[]): Promise<LabeledShard[]> {
  return Promise.all([0, 1, 2].map(async (at) => {
    const own = rows.filter(({ shard }) => shard === at);
    const labels = { keys: own.map(({ key }) => key), classes: Int32Array.from(own, (row) => row.class), logOdds: Float32Array.from(own, ({ logOdds }) => logOdds) };
    const logProbabilities = own.map((row) => Array.from({ length: CLASSES }, (_, each) => (each === row.class ? -0.1 : -3)));
    return {
      shard: shardName(at), labels: await store.putAddressed('labels', writeLabelTable({ ...labels, logProbabilities }, { 'alumnus.teacher': TEACHER })),
      tally: await store.putAddressed('tallies', encodeTally(tallyOf(labels, CLASSES))),
    };
  }));
}

async function selected(rows: readonly Row[], policy: SelectionPolicy, leftOut?: LeftOut): Promise<{ copies: [string, number][]; document: SelectionDocument }> {
  const { ref, document } = await select(store, { teacher: TEACHER, shards: await shardsOf(rows), policy, classes: CLASSES, outputPrefix: 'selections', metadata: {}, ...(leftOut === undefined ? {} : { leftOut }) });
  const parts = await Promise.all(document.parts.map((part) => readSelectionPart(store, ref, part)));
  return { copies: parts.flatMap((part) => [...part]).sort(([a], [b]) => (a < b ? -1 : 1)), document };
}

// Few values, on the edges of bins and beside the threshold: ties and cuts are common.
const row = fc.record({ shard: fc.nat(2), class: fc.nat(CLASSES - 1), logOdds: fc.constantFrom(-1, -0.001, 0, 0.0625, 0.125, 0.5, 2, 2.01, 9), out: fc.constantFrom(0, 0, 0, 1, 2, 3) });
const rows: fc.Arbitrary<Row[]> = fc.array(row, { minLength: 1, maxLength: 40 }).map((all) => all.map((each, at) => ({ ...each, key: `k${String(at).padStart(3, '0')}` })));
const policies: fc.Arbitrary<SelectionPolicy> = fc.record({
  threshold: fc.constantFrom(0, 0.3, 0.5), balance: fc.constantFrom('classes' as const, 'none' as const), budgetPerClass: fc.constantFrom(0, 1, 3, 7), copiesMax: fc.constantFrom(1, 3), seed: fc.constant(7),
});

test('what is left out is as if it had never been labeled', async () => {
  await fc.assert(fc.asyncProperty(rows, policies, async (all, policy) => {
    const kept = all.filter(({ out }) => out === 0);
    const near = all.filter(({ out }) => (out & 1) !== 0);
    const reviewed = all.filter(({ out }) => (out & 2) !== 0);
    const leftOut: LeftOut = { nearDuplicates: near.length === 0 ? [] : [await keysTable(near)], ...(reviewed.length === 0 ? {} : { reviewed: await keysTable(reviewed) }) };
    const [without, reference] = [await selected(all, policy, leftOut), await selected(kept, policy)];
    expect(without.copies).toEqual(reference.copies);
    expect(without.document.classes).toEqual(reference.document.classes);
    expect(without.document.leftOut?.labels).toBe(all.length - kept.length);
    expect(without.copies.map(([key]) => key).filter((key) => !kept.some((each) => each.key === key))).toEqual([]);
  }), { numRuns: 100 });
});

test('tables of samples that are not there change nothing but the document\'s word', async () => {
  const all: Row[] = [{ key: 'a', shard: 0, class: 0, logOdds: 1, out: 0 }, { key: 'b', shard: 1, class: 1, logOdds: 1, out: 0 }];
  const policy: SelectionPolicy = { threshold: 0.3, balance: 'none', budgetPerClass: 0, copiesMax: 1, seed: 7 };
  const other = await keysTable([{ key: 'a', shard: 1, class: 0, logOdds: 0, out: 1 }]);
  const [with_, reference] = [await selected(all, policy, { nearDuplicates: [other] }), await selected(all, policy)];
  expect(with_.copies).toEqual(reference.copies);
  expect(with_.document.leftOut).toEqual({ nearDuplicates: [other.sha256], labels: 0 });
});
