/** The report's section on comparisons: their table, and each one's difference to the last student with its interval. */
import { comparisonRows, type ComparisonRow } from '../comparisons.ts';
import { deitLegend, deitRows } from '../deit.ts';
import { sweepOf } from '../distillation.ts';
import { duration, integer, none, percent, points, pValue } from '../format.ts';
import type { RunView } from '../../proto/gen/alumnus/v1/operator.ts';
import { share } from '../statistics.ts';
import { accuracyCell } from './cells.ts';
import { heatMap, intervalChart } from './charts.ts';
import { html, nothing, type Markup } from './html.ts';

const cells = (row: ComparisonRow): Markup => html`<tr class="${row.name === 'student' ? 'best' : ''}">
<th scope="row">${row.name}</th><td data-label="What" class="wrap">${row.what}${row.state !== '' && html`<small>${row.state}</small>`}</td><td data-label="Model" class="wrap">${row.model}${row.parameters > 0 && html`<small>${integer(row.parameters)} parameters</small>`}</td><td data-label="Training" class="figure">${row.deviceMs > 0 ? html`${duration(row.deviceMs)}<small>${integer(row.images)} images</small>` : none}</td>
${accuracyCell('Validation', row.validation)}${accuracyCell('Test', row.test)}<td data-label="Fewer errors" class="figure">${row.fewerErrors === undefined ? none : html`${percent(row.fewerErrors.value)}${row.fewerErrors.interval !== undefined && html`<small>${(100 * row.fewerErrors.interval.low).toFixed(0)} to ${percent(row.fewerErrors.interval.high, 0)}</small>`}`}</td>
<td data-label="Agrees with teacher" class="figure">${row.agreement === undefined ? none : percent(share(row.agreement), 2)}</td><td data-label="ECE" class="figure">${row.calibrationError === undefined ? none : percent(row.calibrationError)}</td>
<td data-label="Difference, test" class="figure">${row.difference === undefined ? none : html`${points(row.difference.value)}<small>${points(row.difference.low)} to ${points(row.difference.high)}</small>`}</td>
<td data-label="Pairs, validation">${row.paired === undefined ? none : html`${integer(row.paired.onlyThis)} : ${integer(row.paired.onlyStudent)}<small>${pValue(row.paired.pValue)}</small>`}</td></tr>`;

export function comparisonSection(view: RunView): Markup {
  const rows = comparisonRows(view);
  if (rows.length === 0) return nothing;
  const drawn = rows.flatMap(({ name, difference }) => (difference === undefined ? [] : [{ name, ...difference }]));
  return html`<h2>Comparisons</h2>
<p>Each is the last student with one thing changed: the same seed, the same labels and as many steps where nothing else is said; its teacher stands above it. They decide nothing; a difference whose interval holds 0 is no difference that this run can show.</p>
<div class="panel scroll"><table class="cards">
<thead><tr><th scope="col">Comparison</th><th scope="col">What</th><th scope="col">Model</th><th scope="col" class="figure">Training</th><th scope="col" class="figure">Validation</th><th scope="col" class="figure">Test</th><th scope="col" class="figure">Fewer errors</th><th scope="col" class="figure">Agrees</th><th scope="col" class="figure">ECE</th><th scope="col" class="figure">Difference</th><th scope="col">Pairs</th></tr></thead>
<tbody>${rows.map(cells)}</tbody></table></div>
<div class="grid-of-panels" style="margin:16px 0 0">
${drawn.length > 0 && html`<figure class="panel" style="margin:0"><h3>Against the last student</h3>${intervalChart('Difference to the last student in test accuracy', drawn)}
<figcaption>Points of test accuracy above (right) or below the last student, with 95 % intervals that take the two as independent and so are too wide rather than too narrow.</figcaption></figure>`}
${sweepPanel(view)}
</div>
<p class="note">ECE: expected calibration error, 15 bins. Agrees: ${rows[0]?.split ?? 'test'} images on which the model says what the student's teacher says, right or wrong. Fewer errors, on ${rows[0]?.split ?? 'test'}: share of the control's errors that the model does not make, below 0 where it makes more, with its 95 % interval (Katz). Difference: to the last student on test, in points, with the 95 % interval. Pairs: validation images that only the comparison, and (:) only the student, got right; p of McNemar's exact test.</p>`;
}

/** The paper's table of a run that has a student with a distillation token. */
export function deitSection(view: RunView): Markup {
  const rows = deitRows(view);
  if (rows.length === 0) return nothing;
  return html`<h2>DeiT: with and without the token</h2>
<p class="note">${deitLegend}</p>
<div class="panel scroll"><table class="cards"><thead><tr><th scope="col">How it learned</th><th scope="col">Which head predicts</th><th scope="col">Comparison</th><th scope="col">Model</th><th scope="col" class="figure">Validation</th><th scope="col" class="figure">Test</th><th scope="col" class="figure">Agrees with teacher</th></tr></thead>
<tbody>${rows.map((each) => html`<tr class="${each.name === 'student' ? 'best' : ''}"><th scope="row">${each.row}</th><td data-label="Which head predicts">${each.head === '' ? none : each.head}</td><td data-label="Comparison">${each.name}</td><td data-label="Model" class="wrap">${each.model}</td>${accuracyCell('Validation', each.validation)}${accuracyCell('Test', each.test)}<td data-label="Agrees with teacher" class="figure">${each.agreement === undefined ? none : percent(share(each.agreement), 2)}</td></tr>`)}</tbody></table></div>`;
}

/** The sweep over temperature and share, where the comparisons are one. */
function sweepPanel(view: RunView): Markup | false {
  const cells = sweepOf(view);
  if (cells.length === 0) return false;
  return html`<figure class="panel" style="margin:0"><h3>Temperature and share</h3>${heatMap('Error by temperature and by the teacher\'s share of the loss', { across: 'T', down: 'share' }, cells.map(({ name, temperature, share: down, judged }) => ({ name, across: temperature, down, judged })))}
<figcaption>Error on ${cells[0]?.split ?? 'test'} of students that differ in temperature (T) and in the teacher's share of the loss alone; the darker, the more errors. Empty: not trained. Neighbors whose intervals overlap are not told apart.</figcaption></figure>`;
}
