/** Cells that several tables of the report have. */
import { none, percent } from '../format.ts';
import { share, wilson, type Proportion } from '../statistics.ts';
import { html, type Markup } from './html.ts';

/** An accuracy with its 95 % Wilson interval. */
export function accuracyCell(name: string, value: Proportion | undefined): Markup {
  if (value === undefined) return html`<td data-label="${name}" class="figure">${none}</td>`;
  const interval = wilson(value.correct, value.total);
  return html`<td data-label="${name}" class="figure">${percent(share(value), 2)}<small>${(100 * interval.low).toFixed(1)} to ${percent(interval.high)}</small></td>`;
}
