/**
 * The report of a run as one page: what came out, how sure it is, where it comes from. Self-contained: no script, no
 * font, no picture from elsewhere. Pure: view and audits in, text out.
 */
import { createHash } from 'node:crypto';
import type { IterationView, RunView } from '../../proto/gen/alumnus/v1/operator.ts';
import type { ClassScore, ObjectRef, PartRef, Score } from '../../proto/gen/alumnus/v1/task.ts';
import { confidenceHead, confidenceLegend, confidenceRows } from '../confidence.ts';
import { driftCells, driftHead, driftLegend, driftRows } from '../drift.ts';
import { duration, instant, integer, none, percent, points, pValue, shortDigest } from '../format.ts';
import { gateRatio, MCE, MFR, robustModels, robustnessLegend, robustnessTable, robustnessText, sequenceLegend, type RobustnessRow, type Split } from '../robustness.ts';
import { outcome, summarize, type FewerGate, type Summary, type SummaryRow } from '../summary.ts';
import { difference, share, type Proportion } from '../statistics.ts';
import type { AuditDocument, GalleryItem } from './audit.ts';
import { accuracyChart, balanceChart, legend, lossChart, precisionChart, ratioChart, type LegendEntry, type LossLine } from './charts.ts';
import { accuracyCell } from './cells.ts';
import { nearDuplicatesText, reviewsText } from '../left-out.ts';
import { comparisonSection, deitSection } from './comparisons.ts';
import { compressionSection } from './compression.ts';
import { html, Markup, nothing } from './html.ts';
import { studentClassSection } from './student-classes.ts';
import { style } from './style.ts';

/** A chart with a row a class stops being readable beyond this; the most telling classes are shown. */
const CLASS_ROWS_MAX = 30;

export interface ReportAudit {
  readonly iteration: number;
  readonly try: number;
  readonly document: AuditDocument;
}

export interface ReportInput {
  readonly view: RunView;
  /** The audits that could be read, in the order of their iterations. */
  readonly audits: readonly ReportAudit[];
  /** Why some could not be read. */
  readonly missing: readonly string[];
  readonly version: string;
}

export function renderReport({ view, audits, missing, version }: ReportInput): string {
  const summary = summarize(view);
  const title = `${view.summary?.runId ?? 'run'} · Alumnus`;
  const warnings = [...view.warnings, ...missing];
  const bad = outcome(view);
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>${title}</title>
<style>${new Markup(style)}</style>
</head>
<body>
<main>
${header(view)}
${bad !== '' && html`<p class="warnings">${bad}</p>`}
<h2>What came out</h2>
${summary.findings.length > 0 ? html`<ul class="findings">${summary.findings.map((finding) => html`<li>${finding}</li>`)}</ul>` : html`<p class="empty">Nothing yet.</p>`}
${warnings.length > 0 && html`<div class="warnings"><strong>To know</strong><ul>${warnings.map((warning) => html`<li>${warning}</li>`)}</ul></div>`}
${iterationTable(summary)}
${compressionSection(view)}
<div class="grid-of-panels">
${accuracyPanel(summary)}
${lossPanel(view)}
</div>
${studentClassSection(view, CLASS_ROWS_MAX)}
${deitSection(view)}
${comparisonSection(view)}
${gateSection(view, summary)}
${pseudoLabelSection(view, audits)}
${confidenceSection(view)}
${driftSection(view)}
${robustnessSection(view)}
${classSection(view, summary)}
${gallerySection(audits)}
${lineageSection(view)}
<footer>Written by Alumnus ${version}. Figures are the run's own; intervals are 95 % (Wilson for one share, Newcombe for a difference).</footer>
</main>
</body>
</html>
`;
  return page.text;
}


function header(view: RunView): Markup {
  const { summary, data } = view;
  const recipeDigest = createHash('sha256').update(view.recipeJson).digest('hex');
  const took = (summary?.endedAtMs || view.nowMs) - (summary?.submittedAtMs ?? 0);
  const manifests = new Map<string, string>();
  const partText = (part: PartRef | undefined): string => {
    if (part === undefined || part.samples === 0) return '';
    manifests.set(part.dataset.split('#')[0] ?? '', part.manifestSha256);
    return integer(part.samples);
  };
  const parts = [['labeled', data?.labeled], ['unlabeled', data?.unlabeled], ['validation', data?.validation], ['test', data?.test]] as const;
  const images = parts.flatMap(([name, part]) => (partText(part) === '' ? [] : [`${partText(part)} ${name}`])).join(', ');
  const image = data?.image;
  return html`<h1>${summary?.runId ?? 'run'}</h1>
<p class="lead">${summary?.state ?? ''}, iteration ${summary?.iteration ?? 0} of ${summary?.rounds ?? 0}</p>
<div class="panel"><dl>
<dt>Submitted</dt><dd>${instant(summary?.submittedAtMs ?? 0)}</dd>
<dt>Took</dt><dd>${duration(took)}</dd>
<dt>Images</dt><dd>${images}${image !== undefined && html`, ${image.height} × ${image.width} × ${image.channels}, ${integer(data?.classNames.length ?? 0)} classes`}</dd>
<dt>Recipe</dt><dd>${summary?.name ?? ''}, sha256 <code>${recipeDigest}</code></dd>
${[...manifests].map(([name, digest]) => html`<dt>Dataset</dt><dd>${name}, manifest sha256 <code>${digest}</code></dd>`)}
${view.nearDuplicates !== undefined && html`<dt>Near-duplicates</dt><dd>${nearDuplicatesText(view.nearDuplicates)}</dd>`}
${view.reviews.length > 0 && html`<dt>Reviewed</dt><dd>${reviewsText(view.reviews)}</dd>`}
${view.bestModel !== undefined && html`<dt>Best model</dt><dd>iteration ${view.bestIteration}, sha256 <code>${view.bestModel.sha256}</code></dd>`}
</dl></div>`;
}

const gateText = (gate: { studentOnlyRight: number; teacherOnlyRight: number; pValue: number }): string =>
  `b ${integer(gate.studentOnlyRight)}, c ${integer(gate.teacherOnlyRight)}, ${pValue(gate.pValue)}`;

const fewerText = (fewer: FewerGate): string => `of ${integer(fewer.samples)}: ${gateText(fewer.gate)}`;

function iterationTable(summary: Summary): Markup {
  const { all } = summary;
  if (all.length === 0) return nothing;
  const cells = (row: SummaryRow): Markup => html`<tr class="${row.iteration === undefined ? 'control' : ''}${row.best ? 'best' : ''}">
<th scope="row">${row.title}</th><td data-label="Model" class="wrap">${row.model}</td><td data-label="Parameters" class="figure">${row.parameters > 0 ? integer(row.parameters) : none}</td>
<td data-label="Labels kept" class="figure">${row.kept === undefined || row.labeled === undefined ? none : html`${integer(row.kept)}<small>of ${integer(row.labeled)}${row.rows !== undefined && `; ${integer(row.rows)} rows`}</small>`}</td>
<td data-label="Precision" class="figure">${row.precision === undefined ? none : percent(share(row.precision), 2)}</td>
${accuracyCell('Validation', row.validation)}${accuracyCell('Test', row.test)}
<td data-label="Gate">${row.gate === undefined ? none : html`${gateText(row.gate)}${row.fewer.map((fewer) => html`<small>${fewerText(fewer)}</small>`)}${gateRatio(row.gate.corruptionRatio) !== undefined && html`<small>${gateRatio(row.gate.corruptionRatio)}</small>`}`}</td>
<td data-label="Decision">${row.decision === '' ? none : row.decision}${row.best && html`<small>the best</small>`}</td></tr>`;
  return html`<div class="panel scroll"><table class="cards">
<thead><tr><th scope="col">Iteration</th><th scope="col">Model</th><th scope="col" class="figure">Parameters</th><th scope="col" class="figure">Labels kept</th><th scope="col" class="figure">Precision</th><th scope="col" class="figure">Validation</th><th scope="col" class="figure">Test</th><th scope="col">Gate</th><th scope="col">Decision</th></tr></thead>
<tbody>${all.map(cells)}</tbody></table></div>
<p class="note">Labels kept: pseudo-labels above the threshold; rows count copies, since classes with too few labels repeat theirs. Precision: of the labels kept, the share that is right, measured against true labels that no teacher or student sees. Gate: b images only the student got right, c only the teacher, p of McNemar's exact test. The control is the last model trained on the labeled images alone, with the same noise and as many steps.${all.some((row) => row.other !== undefined) && ' A fine-tuned model went on from the one above it, on the labeled images without noise.'}</p>`;
}

function accuracyPanel(summary: Summary): Markup {
  const decided = summary.rows.filter((row) => row.validation !== undefined).map((row) => ({ ...row, title: row.title.replace(' fine-tuned', '') }));
  const control = summary.control?.test ?? summary.control?.validation;
  const on = summary.control?.test === undefined ? 'validation' : 'test';
  const entries: LegendEntry[] = [{ name: 'validation (decides)', className: 'validation', mark: 'circle' }];
  if (decided.some((row) => row.test !== undefined)) entries.push({ name: 'test (reported only)', className: 'test', mark: 'square' });
  if (control !== undefined) entries.push({ name: `control, ${on}`, className: 'control', mark: 'dash' });
  return html`<figure class="panel" style="margin:0"><h3>Accuracy by iteration</h3>${legend(entries)}
${accuracyChart(decided, control === undefined ? undefined : { name: `Control, ${on}`, value: control })}
<figcaption>Bars and the shaded band are 95 % intervals. The axis does not begin at zero.</figcaption></figure>`;
}

/** Later iterations stand out: from 0.35 for the first to 1 for the last. */
const ramp = (index: number, count: number): number => (count <= 1 ? 1 : 0.35 + (0.65 * index) / (count - 1));

function lossPanel(view: RunView): Markup {
  const trained = view.iterations.filter((iteration) => (iteration.model?.curve.length ?? 0) > 0);
  const lines: LossLine[] = trained.map((iteration, index) => ({
    name: `iteration ${iteration.iteration}${iteration.try > 0 ? `, try ${iteration.try + 1}` : ''}`, control: false, opacity: ramp(index, trained.length), points: iteration.model?.curve ?? [],
  }));
  if ((view.control?.curve.length ?? 0) > 0) lines.push({ name: 'control', control: true, opacity: 1, points: view.control?.curve ?? [] });
  return html`<figure class="panel" style="margin:0"><h3>Training loss</h3>
${legend(lines.map((line) => ({ name: line.name, className: line.control ? 'control' : 'validation', mark: line.control ? 'dash' : 'line', opacity: line.opacity })))}
${lossChart(lines)}
<figcaption>Losses of different iterations are on different labels: compare their course, not their level.</figcaption></figure>`;
}

function gateSection(view: RunView, summary: Summary): Markup {
  const gated = summary.rows.filter((row) => row.gate !== undefined);
  if (gated.length === 0) return nothing;
  const sizes = [...new Set(gated.flatMap((row) => row.fewer.map((fewer) => fewer.samples)))];
  return html`<h2>What the gate knew</h2>
<p>A student is promoted or refused by the images of the validation split that only one of the two models got right. ${integer(view.data?.validation?.samples ?? 0)} validation labels are ${(view.data?.validation?.samples ?? 0) > (view.data?.labeled?.samples ?? 0) ? `more than the ${integer(view.data?.labeled?.samples ?? 0)} that were trained on` : 'what this run had'}${sizes.length > 0 && `; the rows below each tell what ${sizes.map(integer).join(' and ')} of them would have told`}.</p>
<div class="panel scroll"><table class="cards"><thead><tr><th scope="col">Iteration</th><th scope="col" class="figure">Validation labels</th><th scope="col" class="figure">Only student right</th><th scope="col" class="figure">Only teacher right</th><th scope="col" class="figure">Agrees with teacher</th><th scope="col" class="figure">p</th><th scope="col" class="figure">Level</th><th scope="col">Decision</th><th scope="col">Reason</th></tr></thead><tbody>
${gated.map((row) => [{ gate: row.gate, decision: row.decision, first: true }, ...row.fewer.map((fewer) => ({ gate: fewer.gate, decision: fewer.promoted ? 'promoted' : 'refused', first: false }))].map(({ gate, decision, first }) => gate !== undefined && html`<tr>
<th scope="row">${first ? row.title : ''}</th><td data-label="Validation labels" class="figure">${integer(gate.samples)}</td><td data-label="Only student right" class="figure">${integer(gate.studentOnlyRight)}</td><td data-label="Only teacher right" class="figure">${integer(gate.teacherOnlyRight)}</td><td data-label="Agrees with teacher" class="figure">${first && row.agreement !== undefined ? percent(share(row.agreement), 2) : none}</td><td data-label="p" class="figure">${pValue(gate.pValue).replace(/^p (= )?/, '')}</td><td data-label="Level" class="figure">${gate.alpha.toPrecision(2)}</td><td data-label="Decision">${first ? decision : `would be ${decision}`}</td><td class="prose">${gate.reason}</td></tr>`))}
</tbody></table></div>`;
}

const className = (view: RunView, index: number): string => view.data?.classNames[index] ?? `class ${index}`;

function pseudoLabelSection(view: RunView, audits: readonly ReportAudit[]): Markup {
  const selected = view.iterations.filter((iteration) => iteration.selection !== undefined);
  const last = selected.at(-1);
  if (last?.selection === undefined) return nothing;
  const classes = last.selection.classes.map((each) => ({ name: className(view, each.class), labeled: each.labeled, kept: each.kept, rows: each.rows }));
  const rows = precisionRows(view, audits);
  const cut = (count: number): Markup | false => count > CLASS_ROWS_MAX && html` The ${CLASS_ROWS_MAX} most telling of ${integer(count)} classes are shown.`;
  const byPrecision = [...rows].sort((a, b) => lastShare(a) - lastShare(b)).slice(0, CLASS_ROWS_MAX);
  const byShift = [...classes].sort((a, b) => Math.abs(b.rows - b.labeled) - Math.abs(a.rows - a.labeled)).slice(0, CLASS_ROWS_MAX);
  return html`<h2>The pseudo-labels</h2><div class="grid-of-panels">
<figure class="panel" style="margin:0"><h3>Right among those kept, by class</h3>
${rows.length > 0 && legend(audits.map((audit, index) => ({ name: `iteration ${audit.iteration}`, className: 'validation', mark: 'circle' as const, opacity: ramp(index, audits.length) })))}
${precisionChart(rows.length > CLASS_ROWS_MAX ? byPrecision : rows)}
<figcaption>Measured against the true labels, which no teacher or student sees.${cut(rows.length)}</figcaption></figure>
<figure class="panel" style="margin:0"><h3>Class balance, iteration ${last.iteration}</h3>
${legend([{ name: 'as the teacher labeled', className: 'control', mark: 'box', opacity: 0.55 }, { name: 'as the student trains (rows with copies)', className: 'validation', mark: 'box' }])}
${balanceChart(classes.length > CLASS_ROWS_MAX ? byShift : classes)}
<figcaption>${integer(last.selection.labeled)} labeled, ${integer(last.selection.kept)} kept, ${integer(last.selection.rows)} rows.${cut(classes.length)}</figcaption></figure>
</div>`;
}

function confidenceSection(view: RunView): Markup {
  const rows = confidenceRows(view);
  if (rows.length === 0) return nothing;
  const [, kept, error, temperature, scaled, testError, testScaled] = confidenceHead;
  return html`<h2>How far confidence can be trusted</h2>
<p class="note">${confidenceLegend}</p>
<div class="panel scroll"><table class="cards"><thead><tr>${confidenceHead.map((name, column) => html`<th scope="col" class="${column > 1 ? 'figure' : ''}">${name.charAt(0).toUpperCase()}${name.slice(1)}</th>`)}</tr></thead><tbody>
${rows.map((row) => html`<tr><th scope="row">${row.title}</th><td data-label="${kept}">${row.kept}</td><td data-label="${error}" class="figure">${row.error}</td><td data-label="${temperature}" class="figure">${row.temperature}</td><td data-label="${scaled}" class="figure">${row.scaled}</td><td data-label="${testError}" class="figure">${row.testError}</td><td data-label="${testScaled}" class="figure">${row.testScaled}</td></tr>`)}
</tbody></table></div>`;
}

function robustnessSection(view: RunView): Markup {
  const found = robustnessTable(view);
  if (found === undefined) return nothing;
  const { columns, corruptions, sequences } = found;
  const models = robustModels(view);
  const tested = models.some(({ robustness }) => robustness.test !== undefined);
  const splits: readonly Split[] = tested ? ['validation', 'test'] : ['validation'];
  const chart = (name: string, figure: 'meanCorruptionError' | 'meanFlipRate'): Markup => {
    const points = models.filter(({ kind }) => kind === 'iteration').map(({ title, robustness: { validation, test } }) => ({ title, validation: validation?.[figure], test: test?.[figure] }));
    const control = models.find(({ kind }) => kind === 'control')?.robustness;
    const level = (control?.test ?? control?.validation)?.[figure];
    const entries: LegendEntry[] = [{ name: 'validation', className: 'validation', mark: 'circle' }];
    if (tested) entries.push({ name: 'test (reported only)', className: 'test', mark: 'square' });
    if (level !== undefined) entries.push({ name: `control, ${tested ? 'test' : 'validation'}`, className: 'control', mark: 'dash' });
    return html`<figure class="panel" style="margin:0"><h3>${name}</h3>${legend(entries)}${ratioChart(`${name}, by iteration`, points, level)}<figcaption>Lower is more robust; iteration 0's teacher has 1.</figcaption></figure>`;
  };
  const rows = (list: readonly RobustnessRow[]): Markup => html`${list.map(({ name, kind, cells }) => html`<tr class="${kind === 'mean' ? 'control' : ''}"><th scope="row">${name}</th>${cells.map((cell) => splits.map((split) => html`<td class="figure">${robustnessText(cell[split], kind)}</td>`))}</tr>`)}`;
  const panel = (what: string, list: readonly RobustnessRow[]): Markup => html`<div class="panel scroll" style="margin-top:16px"><table><thead><tr><th scope="col" rowspan="2">${what}</th>${columns.map((title) => html`<th scope="colgroup" colspan="${splits.length}" class="figure">${title.charAt(0).toUpperCase()}${title.slice(1)}</th>`)}</tr><tr>${columns.map(() => splits.map((split) => html`<th scope="col" class="figure">${split}</th>`))}</tr></thead><tbody>
${rows(list)}
</tbody></table></div>`;
  return html`<h2>Corrupted images</h2>
<p class="note">${robustnessLegend}${sequences.length > 0 && ` ${sequenceLegend}`}</p>
<div class="grid-of-panels">${chart(MCE, 'meanCorruptionError')}${sequences.length > 0 && chart(MFR, 'meanFlipRate')}</div>
${panel('Errors', corruptions)}
${sequences.length > 0 && panel('Flips', sequences)}`;
}

function driftSection(view: RunView): Markup {
  const rows = driftRows(view);
  if (rows.length === 0) return nothing;
  const capital = (name: string): string => `${name.charAt(0).toUpperCase()}${name.slice(1)}`;
  return html`<h2>How labels changed</h2>
<p class="note">${driftLegend}</p>
<div class="panel scroll"><table class="cards"><thead><tr>${driftHead.map((name) => html`<th scope="col">${capital(name)}</th>`)}</tr></thead><tbody>
${rows.map((row) => html`<tr><th scope="row">${row.title}</th>${driftCells(row).slice(1).map((cell, column) => html`<td data-label="${capital(driftHead[column + 1] ?? '')}">${cell}</td>`)}</tr>`)}
</tbody></table></div>`;
}

const lastShare = (row: { marks: readonly { value: Proportion }[] }): number => {
  const mark = row.marks.at(-1);
  return mark === undefined ? 1 : share(mark.value);
};

function precisionRows(view: RunView, audits: readonly ReportAudit[]) {
  const classes = [...new Set(audits.flatMap((audit) => audit.document.perClass.map((each) => each.class)))].sort((a, b) => a - b);
  return classes.map((index) => ({
    name: className(view, index),
    marks: audits.flatMap((audit, at) => {
      const found = audit.document.perClass.find((each) => each.class === index);
      return found === undefined || found.kept === 0 ? [] : [{ iteration: String(audit.iteration), opacity: ramp(at, audits.length), value: { correct: found.right, total: found.kept } }];
    }),
  })).filter((row) => row.marks.length > 0);
}

function classSection(view: RunView, summary: Summary): Markup {
  const first = view.iterations.find((iteration) => iteration.iteration === 0);
  const best = summary.best ?? view.iterations.findLast((iteration) => iteration.decision === 'promoted');
  if (first === undefined || best === undefined || best === first) return nothing;
  const split = best.model?.test !== undefined && best.model.test.total > 0 ? 'test' : 'validation';
  const scores = (model: IterationView['model']): Score | undefined => (split === 'test' ? model?.test : model?.validation);
  const of = (score: Score | undefined, index: number): ClassScore | undefined => score?.classes.find((each) => each.class === index && each.total > 0);
  const classes = scores(best.model)?.classes ?? [];
  if (classes.length === 0) return nothing;
  const rows = classes.map((each) => ({ index: each.class, first: of(scores(first.model), each.class), control: of(scores(view.control), each.class), best: each }));
  const shown = rows.length > CLASS_ROWS_MAX
    ? [...rows].sort((a, b) => Math.abs(change(b.best, b.first)?.value ?? 0) - Math.abs(change(a.best, a.first)?.value ?? 0)).slice(0, CLASS_ROWS_MAX)
    : rows;
  const cell = (score: ClassScore | undefined): Markup => html`<td class="figure">${score === undefined || score.total === 0 ? none : percent(share(score))}</td>`;
  const delta = (a: ClassScore, b: ClassScore | undefined): Markup => {
    const moved = change(a, b);
    if (moved === undefined) return html`<td class="figure">${none}</td>`;
    const sure = moved.low > 0 ? 'good' : moved.high < 0 ? 'bad' : '';
    return html`<td class="figure"><span class="delta ${sure}" title="95 % interval ${points(moved.low)} to ${points(moved.high)}">${points(moved.value)}${sure !== '' && ' *'}</span></td>`;
  };
  const withControl = rows.some((row) => row.control !== undefined);
  return html`<h2>Class by class</h2>
<p class="note">Accuracy on ${split}, and the change in points; * and color where the 95 % interval of the difference excludes zero. ${rows.length} classes are compared, so expect a mark in twenty comparisons by chance alone.${rows.length > CLASS_ROWS_MAX && ` The ${CLASS_ROWS_MAX} that changed most are shown.`}</p>
<div class="panel scroll"><table><thead><tr><th scope="col">Class</th><th scope="col" class="figure">Images</th><th scope="col" class="figure">First teacher</th>${withControl && html`<th scope="col" class="figure">Control</th>`}<th scope="col" class="figure">Best (iteration ${best.iteration})</th><th scope="col" class="figure">Against first</th>${withControl && html`<th scope="col" class="figure">Against control</th>`}</tr></thead><tbody>
${shown.map((row) => html`<tr><th scope="row">${className(view, row.index)}</th><td class="figure">${integer(row.best.total)}</td>${cell(row.first)}${withControl && cell(row.control)}${cell(row.best)}${delta(row.best, row.first)}${withControl && delta(row.best, row.control)}</tr>`)}
</tbody></table></div>`;
}

const change = (a: ClassScore, b: ClassScore | undefined) => (b === undefined || b.total === 0 || a.total === 0 ? undefined : difference(a, b));

function gallerySection(audits: readonly ReportAudit[]): Markup {
  const audit = audits.at(-1);
  if (audit === undefined) return nothing;
  const { classNames, gallery } = audit.document;
  const nameOf = (index: number): string => classNames[index] ?? `class ${index}`;
  const picture = (item: GalleryItem): Markup => {
    const wrong = item.truth !== undefined && item.truth !== item.label;
    const said = `${nameOf(item.label)}, ${percent(item.confidence, item.confidence > 0.995 ? 1 : 0)}`;
    return html`<li><figure title="${item.key}"><img src="data:image/png;base64,${item.png}" alt="labeled ${nameOf(item.label)}${wrong && `, is ${nameOf(item.truth ?? 0)}`}" width="64" height="64" loading="lazy"><figcaption>${said}${wrong && html`<br><span class="bad">is ${nameOf(item.truth ?? 0)}</span>`}${item.copies > 1 && html`<br>${item.copies} copies`}</figcaption></figure></li>`;
  };
  const kind = (title: string, items: readonly GalleryItem[], empty: string): Markup =>
    html`<h3>${title}</h3>${items.length === 0 ? html`<p class="empty">${empty}</p>` : html`<ul class="gallery">${items.map(picture)}</ul>`}`;
  return html`<h2>Pseudo-labeled images, iteration ${audit.iteration}</h2>
<p class="note">What the teacher said of images it never saw, with its confidence. Samples, not all.</p>
<div class="panel">
${kind('Kept, and right', gallery.right, 'None.')}
${kind('Kept, and wrong', gallery.wrong, 'None: every kept label is right.')}
${kind('Thrown out: below the threshold, or more than their class had room for', gallery.thrownOut, 'None: every label met the threshold and its class had room for it.')}
</div>`;
}

function lineageSection(view: RunView): Markup {
  const named = (what: string, sha256: string): Markup => html`${what} <code title="${sha256}">${shortDigest(sha256)}</code>`;
  const digest = (what: string, ref: ObjectRef | undefined): Markup | false => ref !== undefined && ref.sha256 !== '' && named(what, ref.sha256);
  const arrows = (parts: readonly (Markup | string | false)[]): Markup => html`${parts.filter((part) => part !== false).map((part, index) => html`${index > 0 && ' → '}${part}`)}`;
  const lines = view.iterations.filter((iteration) => iteration.model?.model !== undefined);
  if (lines.length === 0) return nothing;
  return html`<h2>Lineage</h2>
<p class="note">Every document is content-addressed: its name in the store is the digest of its bytes. The first 12 characters are shown.</p>
<ol class="lineage" start="0">
${lines.map((iteration) => html`<li>${arrows([
    iteration.teacherSha256 !== '' && named('teacher', iteration.teacherSha256),
    iteration.selection !== undefined && `${integer(iteration.selection.labeled)} labels`,
    digest('selection', iteration.selection?.selection), digest(iteration.iteration === 0 ? 'first teacher' : 'student', iteration.model?.model),
    digest('evaluation', iteration.model?.evaluation), digest('fine-tuned', iteration.fineTuned?.model), digest('evaluation', iteration.fineTuned?.evaluation), digest('audit', iteration.audit?.audit), iteration.decision !== '' && iteration.decision,
  ])}</li>`)}
</ol>
${view.control?.model !== undefined && html`<p>Control: ${arrows([named('model', view.control.model.sha256), digest('evaluation', view.control.evaluation), digest('fine-tuned', view.controlFineTuned?.model), digest('evaluation', view.controlFineTuned?.evaluation)])}</p>`}`;
}
