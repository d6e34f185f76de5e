/**
 * What `compress` measured as rows, a model in one kind of weights each: what it costs and what it keeps of its teacher, for the terminal and the report. Figures and the choice are the
 * coordinator's (coordinator/run/compress.ts). Not for: measuring.
 */
import type { CompressedModel, CompressionView, RunView } from '../proto/gen/alumnus/v1/operator.ts';
import type { Errors, MeasureResult } from '../proto/gen/alumnus/v1/task.ts';
import { COMPARED_FORMAT } from '../recipe/index.ts';
import { bytes, integer, none, percent, plain } from './format.ts';
import { table } from './output.ts';
import type { Proportion } from './statistics.ts';

export interface CompressionRow {
  readonly name: string;
  readonly model: string;
  /** It learned from the labeled images alone. */
  readonly alone: boolean;
  readonly eligible: boolean;
  readonly weights: string;
  /** Of the ONNX file, which the rule compares, and of the other formats. */
  readonly bytes: number;
  readonly bytesByFormat: Readonly<Record<string, number>>;
  readonly measured: MeasureResult;
  readonly validation: Proportion | undefined;
  readonly test: Proportion | undefined;
  /** Shares of the teacher's accuracy. */
  readonly kept: { readonly validation: number; readonly test: number | undefined; readonly corrupted: number | undefined };
  readonly within: boolean;
  readonly fallsFaster: boolean;
  readonly chosen: boolean;
}

const proportion = (errors: Errors | undefined): Proportion | undefined => (errors === undefined || errors.total === 0 ? undefined : { correct: errors.total - errors.wrong, total: errors.total });

/** In the order of models and of the recipe's weights; empty where nothing is measured. */
export const compressionRows = ({ compression }: RunView): CompressionRow[] => compression?.models.flatMap((model) => rowsOf(model, compression.chosen)) ?? [];

function rowsOf({ name, label, alone, eligible, measured, kept }: CompressedModel, chosen: CompressionView['chosen']): CompressionRow[] {
  if (measured === undefined) return [];
  return measured.weights.flatMap(({ weights, bytes: bytesByFormat, validation, test }): CompressionRow[] => {
    const of = kept.find((each) => each.weights === weights);
    return of === undefined ? [] : [{
      name, model: label, alone, eligible, weights, bytes: bytesByFormat[COMPARED_FORMAT] ?? 0, bytesByFormat, measured, validation: proportion(validation), test: proportion(test),
      kept: { validation: of.validation, test: of.test, corrupted: of.corruptedTest ?? of.corruptedValidation },
      within: of.within, fallsFaster: of.fallsFaster, chosen: chosen?.name === name && chosen.weights === weights,
    }];
  });
}

/** Where latency and memory were measured: devices with threads, each once. */
export const measuredOn = (rows: readonly CompressionRow[]): string =>
  [...new Set(rows.map(({ measured: { device, threads } }) => `${plain(device)}, ${threads === 1 ? 'one thread' : `${threads} threads`}`))].join('; ');

/** What was chosen, or why nothing is, in a sentence; empty while models wait to be measured. */
export function compressionFinding(view: RunView): string {
  const { compression } = view;
  const rows = compressionRows(view);
  const chosen = rows.find((row) => row.chosen);
  if (compression === undefined) return '';
  if (chosen === undefined) return view.summary?.state === 'succeeded' && rows.length > 0 ? `No model keeps ${percent(compression.accuracyKept)} of its teacher's accuracy on validation: none is chosen.` : '';
  const teacher = rows.find(({ name, weights }) => name === 'teacher' && weights === 'float32');
  const smaller = teacher === undefined || chosen === teacher ? '' : `, ${(teacher.bytes / chosen.bytes).toFixed(0)} times smaller than the teacher in float32`;
  return `The smallest that keeps ${percent(compression.accuracyKept)} of its teacher's accuracy on validation is ${plain(chosen.name)} (${plain(chosen.model)}) in ${chosen.weights}: ${bytes(chosen.bytes)} as ONNX${smaller}. It keeps ${percent(chosen.kept.validation, 2)} on validation${chosen.kept.test === undefined ? '' : ` and ${percent(chosen.kept.test, 2)} on test`}.`;
}

export const compressionLegend = 'Kept: accuracy by the teacher\'s on the same images (validation chooses, the others are told). Multiply-adds: of one image. Latency: of a prediction at batch 1; latency and memory are the same however kernels are stored, since they are computed with as float32.';

/** A share of the teacher's accuracy, as tables have it. */
export const keptText = (value: number | undefined): string => (value === undefined ? none : percent(value, 2));

/** As a terminal shows them; empty where nothing is measured. */
export function compressionText(view: RunView): string {
  const rows = compressionRows(view);
  if (rows.length === 0) return '';
  const corrupted = rows.some(({ kept }) => kept.corrupted !== undefined);
  // What does not depend on the weights is told once.
  const once = (at: number, text: string): string => (rows[at - 1]?.name === rows[at]?.name ? '' : text);
  const models = rows.flatMap(({ name, model }, at) => (once(at, name) === '' ? [] : [`${plain(name)}: ${plain(model)}`]));
  return `${table(
    ['model', 'weights', 'parameters', 'multiply-adds', 'bytes, ONNX', 'latency p50, p95', 'memory', 'kept: validation', 'test', ...(corrupted ? ['corrupted'] : []), ''],
    rows.map(({ name, weights, measured, bytes: size, kept, chosen, within, fallsFaster, eligible }, at) => [
      once(at, plain(name)), weights, once(at, integer(measured.parameters)), once(at, integer(measured.multiplyAdds)), bytes(size), once(at, `${measured.latencyP50Ms.toFixed(2)}, ${measured.latencyP95Ms.toFixed(2)} ms`), once(at, bytes(measured.memoryPeak)),
      keptText(kept.validation), keptText(kept.test), ...(corrupted ? [keptText(kept.corrupted)] : []),
      [chosen ? '* chosen' : !eligible ? 'true labels: told only' : within ? 'within' : '', fallsFaster ? 'generalizes worse' : ''].filter((each) => each !== '').join(', '),
    ]),
    [2, 3, 4, 6, 7, 8, 9].slice(0, corrupted ? 7 : 6),
  )}\n${models.join('\n')}\n${compressionLegend} Measured on ${measuredOn(rows)}.${rows.some(({ fallsFaster }) => fallsFaster) ? ' Generalizes worse: it keeps at least a point less on corrupted images than on clean ones.' : ''}`;
}
