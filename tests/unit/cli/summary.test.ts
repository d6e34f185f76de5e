import { describe, expect, test } from 'vitest';
import { summarize, summaryText } from '../../../cli/summary.ts';
import { finishedRun, runningRun, runThatLostToItsControl } from './fixture.ts';

describe('the table of a run', () => {
  const text = summaryText(finishedRun(), 200);
  const line = (start: string): string => text.split('\n').find((each) => each.startsWith(start)) ?? '';

  test('tells model, parameters, labels, precision and accuracies of each iteration', () => {
    expect(line('0 ')).toMatch(/cnn width=16 +206,922 +– +– +91\.84 % +92\.10 % +– +promoted$/);
    expect(line('3 ')).toMatch(/cnn width=32 +425,802 +54,700 of 54,900, 54,700 rows +97\.30 % +96\.44 % +96\.50 % +b 82, c 50, p = 0\.007 +promoted \*$/);
  });
  test('has the last loss of each training where it is asked for', () => {
    const view = finishedRun();
    const told = summaryText({ ...view, iterations: view.iterations.map((each, at) => (at === 0 ? { ...each, model: { ...each.model!, curve: [{ step: 20, loss: 1.5 }, { step: 40, loss: 0.25 }] } } : { ...each, model: { ...each.model!, curve: [] } })) }, 200, true);
    expect(told.split('\n')[0]).toMatch(/PARAMETERS +LAST LOSS +LABELS KEPT/);
    expect(told).toMatch(/\n0 +cnn width=16 +206,922 +0\.250 +– /);
    expect(told).toMatch(/\n1 +cnn width=16 +206,922 +– +54,210 of/);
    expect(text).not.toContain('LAST LOSS');
  });
  test('sets the control beside them', () => expect(line('control')).toMatch(/cnn width=32 +425,802 +– +– +93\.32 % +93\.80 %/));
  test('adds what 500 validation labels would have told', () => expect(text).toMatch(/of 500: b 21, c 8, p = 0\.024 +promoted/));
  test('compares the best model with the control on test, with the interval', () => {
    expect(text).toContain('The best model (iteration 3) beats the control: 96.5 % against 93.8 % on 10,000 test images, +2.7 points (95 % interval +2.1 to +3.3), 44 % fewer errors.');
  });
  test('says that validation is larger than the labeled set', () => {
    expect(text).toContain('Validation has 5,000 labels, more than the 100 trained on; the second row of each gate shows what 500 would tell.');
  });
  test('tells how long it took', () => expect(text).toContain('Took 4 m 42 s from submission to end.'));
  test('fits a terminal of 80 columns', () => {
    const table = summaryText(finishedRun(), 80).split('\n\n')[0] ?? '';
    expect(Math.max(...table.split('\n').map((each) => each.length))).toBeLessThanOrEqual(110);
  });
});

describe('findings', () => {
  test('name a control that wins as the winner', () => {
    const [first] = summarize(runThatLostToItsControl()).findings;
    expect(first).toContain('does NOT beat the control, which is better: 96.5 % against 97.9 %');
  });
  test('claim nothing when the interval includes zero', () => {
    const view = finishedRun();
    const even = { ...view, control: { ...view.control!, test: { ...view.control!.test!, correct: 9630 } } };
    expect(summarize(even).findings[0]).toContain('is not shown to beat the control');
    expect(summarize(even).findings[0]).toContain('the interval includes zero');
  });
  test('say when no student was better than the first teacher', () => {
    const view = finishedRun();
    expect(summarize({ ...view, bestIteration: 0 }).findings.join(' ')).toContain('No student was better on validation than the first teacher');
  });
  test('say when the control is of another model than the best', () => {
    const view = finishedRun();
    expect(summarize({ ...view, bestIteration: 2 }).findings[0]).toContain('beats the control, which is cnn width=32 and not the best model\'s cnn width=24: ');
  });
  test('say when there was no control', () => {
    expect(summarize({ ...finishedRun(), control: undefined }).findings.join(' ')).toContain('No control was trained');
  });
});

test('a run that failed says why', () => {
  const view = finishedRun();
  expect(summaryText({ ...view, summary: { ...view.summary!, state: 'failed', reason: 'the loss is not finite' } }, 200)).toContain('Run mnist-4f2a91 failed: the loss is not finite.');
});

test('an iteration without a model yet has no row', () => {
  const view = runningRun();
  const rows = summarize({ ...view, iterations: [...view.iterations, { ...view.iterations[0]!, iteration: 2, model: { ...view.iterations[0]!.model!, parameters: 0, model: undefined } }] }).rows;
  expect(rows.map((row) => row.title)).toEqual(['0', '1']);
});

describe('a run whose models were fine-tuned', () => {
  const finer = (view: ReturnType<typeof finishedRun>, at: number, correct: number) => ({
    ...view.iterations[at]!.model!, model: { key: 'runs/x/f', sha256: `f${at}`.padEnd(64, '0'), bytes: 10 }, image: { height: 40, width: 40, channels: 1 }, test: { ...view.iterations[at]!.model!.test!, correct },
  });
  const tuned = (teaches: boolean): ReturnType<typeof finishedRun> => {
    const view = finishedRun();
    return {
      ...view, fineTunedTeaches: teaches, iterations: view.iterations.map((each, at) => ({ ...each, fineTuned: finer(view, at, 9900) })),
      controlFineTuned: { ...view.control!, image: { height: 40, width: 40, channels: 1 }, test: { ...view.control!.test!, correct: 9600 } },
    };
  };

  test('has a line for each of both, the fine-tuned one with the size that it takes', () => {
    const lines = summaryText(tuned(false), 200).split('\n');
    const at = lines.findIndex((line) => /^3 +cnn width=32 +425,802 .*promoted \*$/.test(line));
    expect(at).toBeGreaterThan(0);
    expect(lines.slice(at + 1).find((line) => line.startsWith('3 fine-tuned'))).toMatch(/^3 fine-tuned +cnn width=32 at 40x40 +425,802 +– +– +96\.44 % +99\.00 % +– +–$/);
    expect(lines.find((line) => line.startsWith('control fine-tuned'))).toMatch(/93\.32 % +96\.00 %/);
    expect(summarize(tuned(false)).all.map((row) => row.title)).toEqual(['0', '0 fine-tuned', '1', '1 fine-tuned', '2', '2 fine-tuned', '3', '3 fine-tuned', 'control', 'control fine-tuned']);
  });

  test('compares the model that was gated with the control of its kind, and the fine-tuned one with what it began with', () => {
    expect(summarize(tuned(false)).findings.slice(0, 1).concat(summarize(tuned(false)).findings.filter((each) => each.startsWith('The fine-tuned')))).toEqual([
      'The best model (iteration 3) beats the control: 96.5 % against 93.8 % on 10,000 test images, +2.7 points (95 % interval +2.1 to +3.3), 44 % fewer errors.',
      expect.stringContaining('The fine-tuned model of iteration 3 beats the one that it began with: 99.0 % against 96.5 %') as string,
    ]);
    expect(summarize(tuned(true)).findings[0]).toContain('The best model (iteration 3 fine-tuned) beats the control: 99.0 % against 96.0 %');
    expect(summarize(tuned(true)).all.find((row) => row.best)?.title).toBe('3 fine-tuned');
    expect(summarize(tuned(true)).all.find((row) => row.title === '3')?.gate).toBeUndefined();
  });

  test('tells which trainings stopped early, and whose weights they gave', () => {
    const view = finishedRun();
    const stopped = { ...view, iterations: view.iterations.map((each) => (each.iteration === 2 ? { ...each, model: { ...each.model!, stoppedAtStep: 1500, bestStep: 1200 } } : each)) };
    expect(summarize(stopped).findings).toContain('Stopped early by the loss on images held out: iteration 2 after step 1,500 (weights of step 1,200).');
    expect(summarize(view).findings.join()).not.toContain('Stopped early');
  });
});

test('a model whose parameters nobody knows has a row all the same', () => {
  const view = finishedRun();
  const { rows } = summarize({ ...view, iterations: view.iterations.map((each) => (each.iteration === 0 ? { ...each, model: { ...each.model!, parameters: 0 } } : each)) });
  expect(rows.map((row) => [row.title, row.parameters > 0])).toEqual([['0', false], ['1', true], ['2', true], ['3', true]]);
});
