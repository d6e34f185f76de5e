/** The file of a review: what is worth a look, a line each, with an empty column for a person's label; and what a person wrote there. */
import { AlumnusError } from '../proto/errors.ts';
import type { ReviewAnswer, ReviewRow } from '../proto/told.ts';
import { csvLine, parseCsv } from './csv.ts';

const head = ['key', 'dataset', 'shard', 'image', 'class', 'confidence', 'second', 'margin', 'earlier', 'outcome', 'copies', 'reasons', 'score', 'label'] as const;
/** What must come back. */
const NEEDED = ['key', 'shard', 'label'] as const;
/** Of confidence, margin and score. */
const DIGITS = 6;
/** Between several values of one field. */
const SEVERAL = '; ';

export const reviewFile = (rows: readonly ReviewRow[]): string => [
  csvLine(head),
  ...rows.map((row) => csvLine([
    row.key, row.dataset, row.shard, row.image, row.label.name, row.confidence.toFixed(DIGITS), row.second.name, row.margin.toFixed(DIGITS), row.earlier.map(({ name }) => name).join(SEVERAL),
    row.outcome, String(row.copies), row.reasons.join(SEVERAL), row.score.toFixed(DIGITS), '',
  ])),
].join('');

/** Lines with a label. Other columns may be gone, moved or added to. @throws AlumnusError REVIEW_INVALID */
export function readReviewFile(content: string, where: string): ReviewAnswer[] {
  const [first, ...rows] = parseCsv(content, where);
  const columns = (first?.fields ?? []).map((name) => name.trim());
  const missing = NEEDED.filter((name) => !columns.includes(name));
  if (missing.length > 0) throw new AlumnusError('REVIEW_INVALID', `line 1: there is no column ${missing.join(', ')}; the columns are named in the first line, and separated by commas`, { where });
  const problems = rows.flatMap(({ line, fields }) => (fields.length === columns.length ? [] : [`line ${line}: it has ${fields.length} fields where the first line has ${columns.length}`]));
  if (problems.length > 0) throw reviewInvalid(problems, where);
  const column = (fields: readonly string[], name: (typeof NEEDED)[number]): string => (fields[columns.indexOf(name)] ?? '').trim();
  return rows.flatMap(({ line, fields }) => {
    const label = column(fields, 'label');
    return label === '' ? [] : [{ line, key: column(fields, 'key'), shard: column(fields, 'shard'), label }];
  });
}

/** One error of all lines that cannot be taken. */
export const reviewInvalid = (problems: readonly string[], where: string): AlumnusError => new AlumnusError('REVIEW_INVALID', problems.join('; '), { where, problems });
