/** What compression measured, in tables, the report and its chart; and which model `--model` takes. */
import { expect, test } from 'vitest';
import { compressionFinding, compressionRows, compressionText } from '../../../cli/compression.ts';
import { describeRun } from '../../../cli/describe.ts';
import { modelCalled } from '../../../cli/export-model.ts';
import { calledFlag } from '../../../cli/model-flag.ts';
import { progressText } from '../../../cli/progress/view.ts';
import { renderReport } from '../../../cli/report/page.ts';
import { logTicks, tradeOffChart } from '../../../cli/report/trade-off.ts';
import { RunView } from '../../../proto/gen/alumnus/v1/operator.ts';
import { Stage } from '../../../proto/gen/alumnus/v1/task.ts';
import { runWithComparisons } from './fixture.ts';

const errors = (right: number, total = 5000) => ({ wrong: total - right, total });

/** The fixture's run, its teacher (4,790 of 5,000 right), `small` and `truth` measured; small in int8 is chosen. */
function compressedRun(): RunView {
  const view = runWithComparisons();
  const measured = (bytes: number, right: number) => ({
    parameters: 30_000, multiplyAdds: 320_352, device: 'a processor', threads: 1, predictions: 200, latencyP50Ms: 0.25, latencyP95Ms: 0.5, memoryPeak: 300 * 1024 ** 2, memoryWithoutModel: 250 * 1024 ** 2,
    weights: [{ weights: 'float32', bytes: { onnx: bytes, savedmodel: bytes + 900, 'tfjs-graph': bytes + 700 }, validation: errors(right), test: errors(9400, 10_000) }, { weights: 'int8', bytes: { onnx: bytes / 4, savedmodel: bytes / 4 + 900, 'tfjs-graph': bytes / 4 + 700 }, validation: errors(right - 5), test: errors(9390, 10_000) }],
  });
  const kept = (right: number, within: boolean, corruptedTest: number) => ['float32', 'int8'].map((weights, at) => ({ weights, validation: (right - 5 * at) / 4790, test: 0.98, corruptedTest, within, fallsFaster: corruptedTest < 0.97 }));
  const model = (name: string) => view.comparisons.find((each) => each.name === name)!.model!.model!;
  return { ...view, compression: RunView.fromPartial({ compression: {
    accuracyKept: 0.975, teacherValidation: errors(4790), teacherTest: errors(9590, 10_000),
    models: [
      { name: 'teacher', label: 'cnn width=24', model: view.iterations[2]!.model!.model!, alone: false, eligible: true, measured: measured(1_200_000, 4790), kept: kept(4790, true, 1) },
      { name: 'small', label: 'cnn <b>width=8</b>', model: model('small'), alone: false, eligible: true, measured: measured(120_000, 4700), kept: kept(4700, true, 0.95) },
      { name: 'truth', label: 'cnn width=32', model: model('truth'), alone: true, eligible: false, measured: measured(8_000, 4900), kept: kept(4900, true, 0.99) },
      { name: 'lost', label: 'cnn', model: model('truth'), alone: false, eligible: true, givenUp: '3 attempts failed' },
    ],
    chosen: { name: 'small', weights: 'int8' },
  } }).compression! };
}

test('a row for each model and kind of weights, in order; one is chosen', () => {
  const rows = compressionRows(compressedRun());
  expect(rows.map(({ name, weights, bytes, chosen }) => [name, weights, bytes, chosen])).toEqual([
    ['teacher', 'float32', 1_200_000, false], ['teacher', 'int8', 300_000, false], ['small', 'float32', 120_000, false], ['small', 'int8', 30_000, true], ['truth', 'float32', 8000, false], ['truth', 'int8', 2000, false],
  ]);
  // 1,200,000 / 30,000 = 40; 4,695 / 4,790 = 98.02 %.
  expect(compressionFinding(compressedRun())).toBe('The smallest that keeps 97.5 % of its teacher\'s accuracy on validation is small (cnn <b>width=8</b>) in int8: 29.3 KiB as ONNX, 40 times smaller than the teacher in float32. It keeps 98.02 % on validation and 98.00 % on test.');
});

test('terminal and report tell the same, escape what is the user\'s, and mark what was chosen and what generalizes worse', () => {
  const view = compressedRun();
  const [text, page] = [describeRun(view, 200), renderReport({ view, audits: [], missing: [], version: '0' })];
  for (const figure of ['29.3 KiB', '98.02 %', '320,352', 'a processor, one thread', '* chosen', 'generalizes worse', 'true labels: told only']) expect(text).toContain(figure);
  for (const figure of ['29.3 KiB', '98.02 %', '320,352', 'a processor, one thread', 'Accuracy kept, in percent, against bytes', '95.00 % *', 'without a teacher', 'cnn &lt;b&gt;width=8&lt;/b&gt;', 'small in int8: 30,000 bytes, keeps 98.02 % on validation, 98.00 % on test; chosen']) expect(page).toContain(figure);
  expect(page).not.toMatch(/NaN|Infinity|undefined/);
  expect(page.match(/r="8\.5"/g)).toHaveLength(1);
});

test('a run without any, and one that has measured nothing yet, say nothing', () => {
  expect([compressionText(runWithComparisons()), compressionFinding(runWithComparisons())]).toEqual(['', '']);
  const view = compressedRun();
  const waiting = { ...view, compression: { ...view.compression!, chosen: undefined, models: view.compression!.models.map((each) => ({ ...each, measured: undefined, kept: [] })) } };
  expect(compressionText(waiting)).toBe('');
  expect(renderReport({ view: waiting, audits: [], missing: [], version: '0' })).not.toContain('Accuracy kept');
  const none = { ...view, compression: { ...view.compression!, chosen: undefined } };
  expect(compressionFinding(none)).toContain('none is chosen');
  expect(compressionFinding({ ...none, summary: { ...none.summary!, state: 'running' } })).toBe('');
});

test('the chart places marks by the logarithm of their bytes', () => {
  expect(logTicks(2500, 90_000)).toEqual([2000, 5000, 10_000, 20_000, 50_000, 100_000]);
  expect(logTicks(1000, 2000)).toEqual([1000, 2000]);
  const chart = tradeOffChart([{ name: 'a', weights: 'float32', bytes: 1000, kept: 1, keptTest: undefined, alone: false, chosen: true }, { name: 'b', weights: 'float32', bytes: 100_000, kept: 0.9, keptTest: undefined, alone: true, chosen: false }, { name: 'b', weights: 'int8', bytes: 10_000, kept: 0.95, keptTest: undefined, alone: true, chosen: false }], 0.95).text;
  // From 1,000 to 100,000 and from 90 % to 100 %, drawn between 56 and 380, 20 and 260; 10,000 lies in the middle, 218. A square's middle lies 4 right of and below its corner.
  expect(chart).toMatch(/<circle class="fill validation" cx="56\.0" cy="20\.0"/);
  expect(chart).toMatch(/<rect class="fill test" x="214\.0" y="136\.0"/);
  expect(chart).toMatch(/<rect class="fill test" x="376\.0" y="256\.0"/);
});

test('while models are measured, progress counts them', () => {
  const view = compressedRun();
  const task = { ...RunView.fromPartial({ tasks: [{ task: { taskId: 't', subject: 'measure.teacher', stage: Stage.EVALUATE } }] }).tasks[0]!, state: 'leased' };
  expect(progressText({ ...view, tasks: [task], summary: { ...view.summary!, state: 'running', stage: Stage.PROMOTE } })).toContain('4 of 4 models measured');
});

test('--model takes what was chosen, with its weights; a model of the table; a comparison of a run without compress; and says what there is', () => {
  const view = compressedRun();
  const small = view.comparisons.find(({ name }) => name === 'small')!.model!;
  expect(modelCalled(view, 'chosen')).toEqual({ iteration: 3, called: 'small', ref: small.model, model: small, weights: 'int8' });
  expect(modelCalled(view, 'teacher')).toMatchObject({ iteration: 2, ref: view.iterations[2]!.model!.model! });
  expect(modelCalled(runWithComparisons(), 'small')).toEqual({ iteration: 3, called: 'small', ref: small.model, model: small });
  expect(modelCalled(view, 'control').ref).toEqual(view.control!.model);
  const thrown = (run: RunView, name: string): unknown => {
    try {
      return modelCalled(run, name);
    } catch (error) {
      return error;
    }
  };
  expect(thrown(view, 'tiny')).toMatchObject({ code: 'MODEL_NOT_FOUND', message: 'the run has no model called tiny; there are chosen, teacher, student, control, truth, small, lost, late' });
  expect(thrown(runWithComparisons(), 'chosen')).toMatchObject({ code: 'RUN_CONFLICT', message: expect.stringContaining('no compress') as string });
  expect(thrown({ ...view, compression: { ...view.compression!, chosen: undefined } }, 'chosen')).toMatchObject({ code: 'RUN_CONFLICT', message: expect.stringContaining('none was chosen') as string });
  expect(() => calledFlag({ model: 'chosen', iteration: 1 })).toThrow('give one of them');
});
