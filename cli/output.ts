/**
 * The forms that a reading command answers in: a table for people, `wide` with more columns; json, jsonl, yaml and name for programs. The machine
 * forms carry `apiVersion` and `kind`, name stages and states by word, and give every figure unrounded.
 */
import Table from 'cli-table3';
import { AlumnusError } from '../proto/errors.ts';
import { API_VERSION, machineDocument, machineForm } from '../proto/machine.ts';
import type { Context } from './context.ts';
import { plain } from './format.ts';

export const outputForms = ['table', 'wide', 'json', 'jsonl', 'yaml', 'name'] as const;
export type OutputForm = (typeof outputForms)[number];

/** @throws AlumnusError USAGE for a form there is none of. */
export function outputForm(text: string): OutputForm {
  const form = outputForms.find((known) => known === text);
  if (form === undefined) throw new AlumnusError('USAGE', `there is no output form "${plain(text)}"; there are ${outputForms.join(', ')}`, { where: '--output' });
  return form;
}

/** Whether a person reads it. */
export const isForPeople = (form: OutputForm): boolean => form === 'table' || form === 'wide';

export interface Listing<Row> {
  /** The kind of one row, such as `Run`; a list of them is a `RunList`. */
  readonly kind: string;
  readonly rows: readonly Row[];
  readonly name: (row: Row) => string;
  readonly head: readonly string[];
  readonly cells: (row: Row) => readonly string[];
  /** More columns, for `-o wide`. */
  readonly wide?: { readonly head: readonly string[]; readonly cells: (row: Row) => readonly string[] };
  /** Said on stderr when there are no rows: what to do next. */
  readonly empty: string;
}

export async function printListing<Row>(context: Context, form: OutputForm, listing: Listing<Row>): Promise<void> {
  const machine = (row: Row): object => ({ apiVersion: API_VERSION, kind: listing.kind, ...(machineForm(row) as object) });
  const items = (): object => ({ apiVersion: API_VERSION, kind: `${listing.kind}List`, items: listing.rows.map((row) => machineForm(row)) });
  switch (form) {
    case 'name':
      for (const row of listing.rows) context.print(plain(listing.name(row)));
      return;
    case 'jsonl':
      for (const row of listing.rows) context.print(JSON.stringify(machine(row)));
      return;
    case 'json':
      return context.print(JSON.stringify(items(), null, 2));
    case 'yaml':
      return context.out.write(await toYaml(items()));
    case 'table':
    case 'wide': {
      if (listing.rows.length === 0) return context.note(listing.empty);
      const more = form === 'wide' ? listing.wide : undefined;
      return context.print(table([...listing.head, ...(more?.head ?? [])], listing.rows.map((row) => [...listing.cells(row), ...(more?.cells(row) ?? [])])));
    }
  }
}

export interface Single {
  readonly kind: string;
  readonly name: string;
  readonly value: unknown;
  readonly text: () => string | Promise<string>;
}

export async function printSingle(context: Context, form: OutputForm, single: Single): Promise<void> {
  const machine = (): object => machineDocument(single.kind, single.value);
  switch (form) {
    case 'name':
      return context.print(plain(single.name));
    case 'jsonl':
      return context.print(JSON.stringify(machine()));
    case 'json':
      return context.print(JSON.stringify(machine(), null, 2));
    case 'yaml':
      return context.out.write(await toYaml(machine()));
    case 'table':
    case 'wide':
      return context.print(await single.text());
  }
}

async function toYaml(value: object): Promise<string> {
  const { stringify } = await import('yaml');
  return stringify(value);
}

const NO_LINES = {
  top: '', 'top-mid': '', 'top-left': '', 'top-right': '', bottom: '', 'bottom-mid': '', 'bottom-left': '', 'bottom-right': '',
  left: '', 'left-mid': '', mid: '', 'mid-mid': '', right: '', 'right-mid': '', middle: '  ',
};

/** Columns without lines; a cell may have several lines. `numeric` columns are set to the right. */
export function table(head: readonly string[], rows: readonly (readonly string[])[], numeric: readonly number[] = []): string {
  const drawn = new Table({
    head: head.map((cell) => cell.toUpperCase()),
    chars: NO_LINES,
    colAligns: head.map((_, column) => (numeric.includes(column) ? 'right' : 'left')),
    style: { 'padding-left': 0, 'padding-right': 0, head: [], border: [], compact: true },
  });
  for (const cells of rows) drawn.push(cells.map((cell) => cell.split('\n').map(plain).join('\n')));
  return drawn.toString().split('\n').map((line) => line.trimEnd()).join('\n');
}

/** Names and values below one another, the names padded. */
export function facts(pairs: readonly (readonly [string, string])[]): string {
  const width = Math.max(...pairs.map(([name]) => name.length));
  return pairs.filter(([, value]) => value !== '').map(([name, value]) => `${name.padEnd(width)}  ${plain(value)}`).join('\n');
}
