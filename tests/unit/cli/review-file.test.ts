/** The file that goes to a person and comes back, by way of whatever spreadsheet. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { csvLine, parseCsv } from '../../../cli/csv.ts';
import { readReviewFile, reviewFile } from '../../../cli/review-file.ts';
import type { ReviewRow } from '../../../proto/told.ts';

const row: ReviewRow = {
  key: 'ab12', dataset: 'pets#unlabeled', shard: 'unlabeled-000003', image: 'review/ab12.png', label: { class: 0, name: 'cat, "big"' }, confidence: 0.5, second: { class: 1, name: 'dog' }, margin: 0.125,
  earlier: [{ class: 1, name: 'dog' }, { class: 0, name: 'cat, "big"' }], outcome: 'repeated', copies: 3, reasons: ['small margin', 'near the threshold'], score: 0.75,
};

test('a line an image, with an empty label', () => {
  expect(reviewFile([row])).toBe([
    'key,dataset,shard,image,class,confidence,second,margin,earlier,outcome,copies,reasons,score,label',
    'ab12,pets#unlabeled,unlabeled-000003,review/ab12.png,"cat, ""big""",0.500000,dog,0.125000,"dog; cat, ""big""",repeated,3,small margin; near the threshold,0.750000,',
    '',
  ].join('\n'));
});

test('what nobody wrote a label to is passed over', () => {
  expect(readReviewFile(reviewFile([row, { ...row, key: 'cd34' }]).replace(/0\.750000,\n$/, '0.750000," dog "\n'), 'f.csv')).toEqual([{ line: 3, key: 'cd34', shard: 'unlabeled-000003', label: 'dog' }]);
});

test('columns may be moved, left out and added, line ends be Windows\'', () => {
  expect(readReviewFile('\uFEFFlabel,note,shard,key\r\ndog,"two\r\nlines",s,k1\r\n,,s,k2\r\ncat,,s,k3\r\n', 'f.csv')).toEqual([{ line: 2, key: 'k1', shard: 's', label: 'dog' }, { line: 5, key: 'k3', shard: 's', label: 'cat' }]);
});

describe('what cannot be read is refused, with its line', () => {
  test.each([
    ['', 'line 1: there is no column key, shard, label'],
    ['key;shard;label\nk;s;dog\n', 'line 1: there is no column'],
    ['key,shard,label\nk,s\n', 'line 2: it has 2 fields where the first line has 3'],
    ['key,shard,label\nk,s,"dog\n', 'line 2: a quote is opened and not closed'],
  ])('%j', (content, message) => {
    expect(() => readReviewFile(content, 'f.csv')).toThrow(message);
  });
});

test('whatever stands in a field comes back', () => {
  const field = fc.oneof(fc.string(), fc.constantFrom('', '"', ',', 'a\nb', '\r\n', '=1+1', '-', '@x', '\'', '\'=1', 'é'));
  fc.assert(fc.property(fc.array(fc.array(field, { minLength: 2, maxLength: 4 }), { maxLength: 5 }), (rows) => {
    expect(parseCsv(rows.map(csvLine).join(''), 'f.csv').map(({ fields }) => fields)).toEqual(rows);
  }), { numRuns: 500 });
});

test('no field is a formula to a spreadsheet', () => {
  expect(csvLine(['=HYPERLINK("x")', 'a'])).toBe('"\'=HYPERLINK(""x"")",a\n');
});
