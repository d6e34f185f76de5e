/**
 * CSV as RFC 4180 has it: fields with commas, quotes or line ends in quotes. Ours, since a person is told the line on which a record begins: csv-parse 7 counts a line end of Windows' within quotes as two.
 * Not for: any other dialect; a spreadsheet that writes semicolons is told so by who reads the header.
 */
import { AlumnusError } from '../proto/errors.ts';

/** What a spreadsheet would take as a formula begins with one of these; with a quote in front it is text. So one more quote is put in front, and taken away again. */
const FORMULA = /^'*[=+\-@\t\r]/;

const field = (text: string): string => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

export const csvLine = (fields: readonly string[]): string => `${fields.map((each) => field(FORMULA.test(each) ? `'${each}` : each)).join(',')}\n`;

export interface CsvRow {
  /** On which it begins, from 1. */
  readonly line: number;
  readonly fields: readonly string[];
}

/** Without empty lines. @throws AlumnusError REVIEW_INVALID where a quote is not closed */
export function parseCsv(content: string, where: string): CsvRow[] {
  const text = content.replace(/^\uFEFF/, '');
  const rows: CsvRow[] = [];
  let fields: string[] = [];
  let [line, begun] = [1, 1];
  const end = (): void => {
    if (fields.length > 1 || (fields[0] ?? '') !== '') rows.push({ line: begun, fields: fields.map((each) => (each.startsWith('\'') && FORMULA.test(each.slice(1)) ? each.slice(1) : each)) });
    fields = [];
  };
  for (let at = 0; at < text.length;) {
    let value = '';
    if (text[at] === '"') {
      const opened = line;
      for (at += 1; ; at += 1) {
        const character = text[at];
        if (character === undefined) throw new AlumnusError('REVIEW_INVALID', `line ${opened}: a quote is opened and not closed`, { where });
        if (character === '"' && text[at + 1] !== '"') break;
        if (character === '"') at += 1;
        if (character === '\n') line += 1;
        value += character;
      }
      at += 1;
    }
    const stop = /[,\r\n]/g;
    stop.lastIndex = at;
    const next = stop.exec(text)?.index ?? text.length;
    fields.push(value + text.slice(at, next));
    at = next;
    if (text[at] === ',') {
      at += 1;
      // A comma before the line's end begins one more field, which is empty.
      if (at === text.length || text[at] === '\r' || text[at] === '\n') fields.push('');
      else continue;
    }
    if (text[at] === '\r') at += 1;
    if (text[at] === '\n') at += 1;
    end();
    line += 1;
    begun = line;
  }
  return rows;
}
