/** Label tables and tallies: what a teacher said, kept without losing what selection and distillation need. */
import { parquetMetadata, parquetReadObjects } from 'hyparquet';
import { describe, expect, it } from 'vitest';
import { sha256 } from '../../../store/index.ts';
import { addTally, binOf, BIN_FROM, BIN_WIDTH, BINS, decodeTally, emptyTally, encodeTally, labelsOf, readLabelColumns, readLabelTable, tallyOf, writeLabelTable } from '../../../worker/data/index.ts';

const about = { 'alumnus.run': 'r-1', 'alumnus.iteration': '2', 'alumnus.task': 't', 'alumnus.teacher': 'f'.repeat(64) };

/** `[rows, classes]` log-probabilities of a spread from flat to certain. */
function logProbabilities(rows: number, classes: number): Float32Array {
  const values = new Float32Array(rows * classes);
  for (let row = 0; row < rows; row += 1) {
    const logits = Array.from({ length: classes }, (_, at) => Math.sin(row * 12.9898 + at * 78.233) * (row % 40));
    const most = Math.max(...logits);
    const sum = most + Math.log(logits.reduce((total, logit) => total + Math.exp(logit - most), 0));
    logits.forEach((logit, at) => (values[row * classes + at] = logit - sum));
  }
  return values;
}

const keys = Array.from({ length: 200 }, (_, row) => `key${row}`);

describe('a label', () => {
  it('has the class and the log-odds that hand computation gives', () => {
    // p = (0.7, 0.2, 0.1): log(0.7 / 0.3); p = (1/4, 3/4): log 3
    const three = labelsOf(['a'], Float32Array.of(Math.log(0.7), Math.log(0.2), Math.log(0.1)), 3);
    expect(three.classes[0]).toBe(0);
    expect(three.logOdds[0]).toBeCloseTo(0.8472978603872037, 6);
    const two = labelsOf(['a'], Float32Array.of(Math.log(0.25), Math.log(0.75)), 2);
    expect(two.classes[0]).toBe(1);
    expect(two.logOdds[0]).toBeCloseTo(1.0986122886681098, 6);
  });

  it('keeps its order where the probability itself rounds to 1', () => {
    const odds = [20, 30, 40, 50].map((gap) => labelsOf(['a'], Float32Array.of(0, -gap), 2).logOdds[0] ?? NaN);
    expect(odds).toEqual([20, 30, 40, 50]);
  });

  it('takes the lowest of equal classes', () => {
    expect(labelsOf(['a'], new Float32Array(4).fill(Math.log(0.25)), 4).classes[0]).toBe(0);
  });

  it('is refused where the teacher gives no number', () => {
    expect(() => labelsOf(['a', 'b'], Float32Array.of(0, -1, NaN, -1), 2)).toThrow(expect.objectContaining({ code: 'TRAINING_DIVERGED' }) as Error);
  });
});

describe('a label table', () => {
  const labels = labelsOf(keys, logProbabilities(200, 10), 10);
  const table = writeLabelTable(labels, about);

  it('gives back keys, classes and log-odds to the bit, and log-probabilities within float16', async () => {
    const read = await readLabelTable(table, 'table');
    expect(read.keys).toEqual(keys);
    expect(Array.from(read.classes)).toEqual(Array.from(labels.classes));
    expect(Array.from(read.logOdds)).toEqual(Array.from(labels.logOdds));
    for (let row = 0; row < keys.length; row += 1) {
      for (let at = 0; at < 10; at += 1) {
        const [stored, given] = [read.logProbabilities[row]?.[at] ?? NaN, labels.logProbabilities[row]?.[at] ?? NaN];
        // Half a unit in the last of 11 bits, or half the least subnormal, 2^-25.
        expect(Math.abs(stored - given)).toBeLessThanOrEqual(Math.max(Math.abs(given) * 2 ** -11, 2 ** -25));
      }
    }
  });

  it('says where it comes from, and has the same bytes for the same labels', async () => {
    expect((await readLabelColumns(table, 'table')).about).toMatchObject({ ...about, 'alumnus.schema': '1' });
    expect(sha256(writeLabelTable(labels, { ...about }))).toBe(sha256(table));
  });

  it('is Parquet of typed columns that any reader opens', async () => {
    const buffer = new Uint8Array(table).buffer;
    const { schema, num_rows: rows } = parquetMetadata(buffer);
    expect(Number(rows)).toBe(200);
    expect(schema.map(({ name, type, logical_type: logical }) => [name, type, logical?.type])).toEqual([
      ['root', undefined, undefined], ['key', 'BYTE_ARRAY', undefined], ['class', 'INT32', undefined], ['log_odds', 'FLOAT', undefined],
      ['log_probabilities', undefined, undefined], ['list', undefined, undefined], ['element', 'FIXED_LEN_BYTE_ARRAY', 'FLOAT16'],
    ]);
    const [first] = await parquetReadObjects({ file: { byteLength: buffer.byteLength, slice: (start, end) => buffer.slice(start, end) }, rowEnd: 1 });
    expect(first).toMatchObject({ key: 'key0', class: labels.classes[0] });
  });

  it('without rows is a table, too', async () => {
    const empty = writeLabelTable(labelsOf([], new Float32Array(0), 10), about);
    expect(await readLabelTable(empty, 'empty')).toMatchObject({ keys: [] });
  });

  it('is named when it is damaged', async () => {
    for (const damaged of [new Uint8Array(0), table.subarray(0, 100), table.subarray(100), Buffer.from('PAR1 no table PAR1')]) {
      await expect(readLabelTable(damaged, 'labels/x.parquet')).rejects.toMatchObject({ code: 'SHARD_CORRUPT', where: 'labels/x.parquet' });
    }
  });
});

describe('a tally', () => {
  it('counts each label in the bin of its log-odds, what lies beyond in the outer ones', () => {
    const odds = [-Infinity, -100, BIN_FROM, BIN_FROM + BIN_WIDTH - 1e-6, BIN_FROM + BIN_WIDTH, 0, 55.99, 56, 1000, Infinity];
    expect(odds.map(binOf)).toEqual([0, 0, 0, 0, 1, 64, 511, 511, 511, 511]);
    const tally = tallyOf({ keys: odds.map(String), classes: odds.map((_, at) => at % 2), logOdds: odds }, 2);
    expect(tally.map((bins) => bins.reduce((sum, count) => sum + count, 0))).toEqual([5, 5]);
    expect([tally[0]?.[0], tally[0]?.[1], tally[0]?.[511]]).toEqual([2, 1, 2]);
  });

  it('adds up and survives being written', () => {
    const labels = labelsOf(keys, logProbabilities(200, 10), 10);
    const half = (from: number, to: number) => tallyOf({ keys: keys.slice(from, to), classes: Array.from(labels.classes).slice(from, to), logOdds: Array.from(labels.logOdds).slice(from, to) }, 10);
    const sum = emptyTally(10);
    addTally(sum, decodeTally(encodeTally(half(0, 77)), 10, 'first'));
    addTally(sum, decodeTally(encodeTally(half(77, 200)), 10, 'second'));
    expect(sum).toEqual(tallyOf(labels, 10));
  });

  it.each([['no JSON', '{'], ['other bins', JSON.stringify({ schemaVersion: 1, from: 0, width: 1, bins: 2, classes: [[], []] })], ['other classes', JSON.stringify({ schemaVersion: 1, from: BIN_FROM, width: BIN_WIDTH, bins: BINS, classes: [[]] })],
    ['a bin that is none', JSON.stringify({ schemaVersion: 1, from: BIN_FROM, width: BIN_WIDTH, bins: BINS, classes: [[[512, 1]], []] })], ['a count that is none', JSON.stringify({ schemaVersion: 1, from: BIN_FROM, width: BIN_WIDTH, bins: BINS, classes: [[[3, -1]], []] })],
  ])('with %s is refused', (_, text) => {
    expect(() => decodeTally(Buffer.from(text), 2, 'tallies/x.json')).toThrow(expect.objectContaining({ code: 'SHARD_CORRUPT', where: 'tallies/x.json' }) as Error);
  });
});
