/** The report's section on compression: the trade-off between bytes and accuracy as a chart, and the table of all that was measured. */
import { COMPARED_FORMAT } from '../../recipe/index.ts';
import { compressionLegend, compressionRows, keptText, measuredOn, type CompressionRow } from '../compression.ts';
import { bytes, integer, percent } from '../format.ts';
import type { RunView } from '../../proto/gen/alumnus/v1/operator.ts';
import { accuracyCell } from './cells.ts';
import { legend, type LegendEntry } from './charts.ts';
import { html, nothing, type Markup } from './html.ts';
import { tradeOffChart } from './trade-off.ts';

/** @param first of its model: what does not depend on the weights is told once */
function cells(row: CompressionRow, first: boolean, corrupted: boolean): Markup {
  const { parameters, multiplyAdds, latencyP50Ms, latencyP95Ms, memoryPeak, memoryWithoutModel } = row.measured;
  const others = Object.entries(row.bytesByFormat).filter(([format]) => format !== COMPARED_FORMAT).map(([format, size]) => `${format} ${bytes(size)}`).sort().join(', ');
  return html`<tr class="${row.chosen ? 'best' : ''}">
<th scope="row">${row.name}${row.chosen && html`<small>chosen</small>`}</th><td data-label="Model" class="prose">${first && row.model}${first && row.alone && html`<small>without a teacher</small>`}</td><td data-label="Weights">${row.weights}</td>
<td data-label="Bytes" class="figure"><span title="${others}">${bytes(row.bytes)}</span></td>
<td data-label="Kept, validation" class="figure">${keptText(row.kept.validation)}<small>${row.eligible ? row.within ? 'within' : 'too little' : 'true labels: told only'}</small></td><td data-label="Kept, test" class="figure">${keptText(row.kept.test)}</td>
${corrupted && html`<td data-label="Kept, corrupted" class="figure">${row.fallsFaster ? html`<span class="bad">${keptText(row.kept.corrupted)} *</span>` : keptText(row.kept.corrupted)}</td>`}
${accuracyCell('Test', row.test)}
<td data-label="Parameters" class="figure">${first && integer(parameters)}</td><td data-label="Multiply-adds" class="figure">${first && integer(multiplyAdds)}</td>
<td data-label="Latency" class="figure">${first && html`${latencyP50Ms.toFixed(2)} ms<small>p95 ${latencyP95Ms.toFixed(2)} ms</small>`}</td><td data-label="Memory" class="figure">${first && html`${bytes(memoryPeak)}<small>${bytes(memoryWithoutModel)} before</small>`}</td></tr>`;
}

export function compressionSection(view: RunView): Markup {
  const { compression } = view;
  const rows = compressionRows(view);
  if (compression === undefined || rows.length === 0) return nothing;
  const corrupted = rows.some(({ kept }) => kept.corrupted !== undefined);
  const entries: LegendEntry[] = [{ name: 'with a teacher', className: 'validation', mark: 'circle' }];
  if (rows.some(({ alone }) => alone)) entries.push({ name: 'the labeled images alone', className: 'test', mark: 'square' });
  entries.push({ name: `${percent(compression.accuracyKept)} kept`, className: 'control', mark: 'dash' });
  const split = rows.some(({ kept }) => kept.test !== undefined);
  return html`<h2>Compression</h2>
<p>How small may a model be that keeps what its teacher knows? Each model of the run, with its kernels stored in ${[...new Set(rows.map(({ weights }) => weights))].join(', ')}. The smallest ONNX file that keeps at least ${percent(compression.accuracyKept)} of the teacher's accuracy on validation is chosen; nothing else has a say.</p>
<figure class="panel" style="margin:0"><h3>Accuracy kept, in percent, against bytes</h3>${legend(entries)}
${tradeOffChart(rows.map(({ name, weights, bytes: size, kept, alone, chosen }) => ({ name, weights, bytes: size, kept: kept.validation, keptTest: kept.test, alone, chosen })), compression.accuracyKept)}
<figcaption>Accuracy on validation by the teacher's, by the bytes of the ONNX file, on a logarithmic axis. One line joins a model's ways to be stored, the smallest at its left; the ring is what was chosen.${split && ' Marks tell the figures of test, too.'}</figcaption></figure>
<div class="panel scroll" style="margin-top:16px"><table class="cards">
<thead><tr><th scope="col">Name</th><th scope="col">Model</th><th scope="col">Weights</th><th scope="col" class="figure">Bytes, ONNX</th><th scope="col" class="figure">Kept, validation</th><th scope="col" class="figure">Kept, test</th>${corrupted && html`<th scope="col" class="figure">Kept, corrupted</th>`}<th scope="col" class="figure">Test</th><th scope="col" class="figure">Parameters</th><th scope="col" class="figure">Multiply-adds</th><th scope="col" class="figure">Latency p50</th><th scope="col" class="figure">Peak memory</th></tr></thead>
<tbody>${rows.map((row, at) => cells(row, row.name !== rows[at - 1]?.name, corrupted))}</tbody></table></div>
<p class="note">${compressionLegend} Measured on ${measuredOn(rows)}, other work on it included.${corrupted && ' * At least a point less is kept on corrupted images than on clean ones: compression costs generalization.'}</p>`;
}
