/** A finished run as the coordinator would tell it, for tests of what is shown. Figures are chosen, not computed. */
import { PNG } from 'pngjs';
import { RunView } from '../../../proto/gen/alumnus/v1/operator.ts';
import { Stage, type ClassScore, type Score } from '../../../proto/gen/alumnus/v1/task.ts';
import type { AuditDocument, GalleryItem } from '../../../cli/report/audit.ts';

const sha = (digit: string): string => digit.repeat(64);
const ref = (digit: string, key = 'runs/x/y') => ({ key: `${key}/${sha(digit)}`, sha256: sha(digit), bytes: 1000 });

/** Spreads the errors over the classes, more on the later ones. */
export function score(correct: number, total: number, classes = 10): Score {
  const errors = total - correct;
  const weights = Array.from({ length: classes }, (_, index) => 1 + index);
  const sum = weights.reduce((a, b) => a + b, 0);
  const each: ClassScore[] = weights.map((weight, index) => ({ class: index, total: total / classes, correct: Math.round(total / classes - (errors * weight) / sum) }));
  return { correct, total, classes: each, calibrationError: 0.012, calibrationErrorScaled: 0.004 };
}

const curve = (steps: number, from: number, to: number) =>
  Array.from({ length: 60 }, (_, index) => ({ step: Math.round(((index + 1) * steps) / 60), loss: to + (from - to) * Math.exp(-index / 9) + 0.02 * Math.sin(index * 1.7) }));

const model = (width: number, parameters: number, validation: number, test: number, steps: number, digit: string) => ({
  label: `cnn width=${width}`, parameters, model: ref(digit), evaluation: ref('e'), validation: score(validation, 5000), test: score(test, 10000),
  steps, images: steps * 128, finalLoss: 0.21, curve: curve(steps, 2.3, 0.15 + width / 200), trainMs: 40_000, calibration: { temperature: 1.234, loss: 0.21, lossScaled: 0.2 },
});

const selection = (kept: number, rows: number) => ({
  selection: ref('5'), labeled: 54_900, kept, rows,
  classes: Array.from({ length: 10 }, (_, index) => ({ class: index, eligible: 5000 + index * 90, kept: Math.min(5421, 5000 + index * 90), rows: 5421, labeled: 4900 + 130 * index })),
});

const gate = (b: number, c: number, p: number, samples = 5000) => ({
  samples, studentOnlyRight: b, teacherOnlyRight: c, pValue: p, alpha: 0.05, reason: p < 0.05 ? 'significantly better, by +2.76 points' : 'not significantly different, by +0.60 points', warning: '',
});

const audit = (right: number, kept: number) => ({ audit: ref('a'), keptRight: right, kept, labeledRight: right, labeled: 54_900, classes: [] });

/** Class names hold what a hostile dataset might put there. */
export const classNames = ['zero', 'one', 'two', 'three', '<b>four</b>', 'five & "six"', 'six', 'seven', 'eight', 'nine'];

export const finishedRun = (): RunView => RunView.fromPartial({
  summary: {
    runId: 'mnist-4f2a91', name: 'mnist', state: 'succeeded', iteration: 3, rounds: 3, stage: Stage.PROMOTE,
    submittedAtMs: Date.UTC(2025, 0, 2, 3, 4, 5), endedAtMs: Date.UTC(2025, 0, 2, 3, 8, 47), teacherValidation: score(4822, 5000),
  },
  recipeJson: '{"apiVersion":"alumnus/v1","kind":"Recipe","name":"mnist","seed":1}',
  data: {
    image: { height: 28, width: 28, channels: 1 }, classNames,
    labeled: { dataset: 'mnist-100-s1#labeled', manifestSha256: sha('d'), samples: 100 },
    unlabeled: { dataset: 'mnist-100-s1#unlabeled', manifestSha256: sha('d'), samples: 54_900 },
    validation: { dataset: 'mnist-100-s1#validation', manifestSha256: sha('d'), samples: 5000 },
    test: { dataset: 'mnist-100-s1#test', manifestSha256: sha('d'), samples: 10_000 },
  },
  iterations: [
    { iteration: 0, model: model(16, 206_922, 4592, 9210, 1000, '0'), decision: 'promoted' },
    {
      iteration: 1, model: model(16, 206_922, 4730, 9490, 2500, '1'), selection: selection(54_210, 54_210), audit: audit(51_011, 54_210), decision: 'promoted',
      gate: gate(212, 74, 0.0000001), gatesWithFewer: [{ gate: gate(21, 8, 0.0241, 500), promoted: true }], teacherSha256: sha('0'), threshold: { confidence: 0.3 },
    },
    {
      iteration: 2, model: model(24, 314_826, 4790, 9590, 2500, '2'), selection: selection(54_600, 54_600), audit: audit(52_689, 54_600), decision: 'promoted',
      gate: gate(120, 60, 0.0000098), gatesWithFewer: [{ gate: gate(11, 7, 0.481, 500), promoted: true }], teacherSha256: sha('1'), threshold: { confidence: 0.9140625, measured: { wanted: 0.95, correct: 4480, total: 4676, least: 0.953, reached: true } },
    },
    {
      iteration: 3, model: model(32, 425_802, 4822, 9650, 2500, '3'), selection: selection(54_700, 54_700), audit: audit(53_223, 54_700), decision: 'promoted',
      gate: gate(82, 50, 0.0067), gatesWithFewer: [{ gate: gate(8, 6, 0.791, 500), promoted: true }], teacherSha256: sha('2'), threshold: { confidence: 0.99908894880, measured: { wanted: 0.999, correct: 1000, total: 1000, least: 0.9973, reached: false } },
    },
  ],
  control: model(32, 425_802, 4666, 9380, 2500, 'c'),
  bestModel: ref('3'), bestIteration: 3, storeUrl: 'file:///nowhere/store', nowMs: Date.UTC(2025, 0, 2, 3, 8, 47), secondsLeft: -1,
  warnings: [], budget: { deviceHoursLimit: 0, deviceHoursSpent: 160 / 3600, wallHoursLimit: 0.5, wallHoursSpent: 282 / 3600 },
});

/** The same run as it paused by itself. */
export function pausedRun(reason: string): RunView {
  const view = runningRun();
  return { ...view, summary: { ...view.summary!, state: 'paused', reason } };
}

/** The middle of a run: two shards in work, one quarantined. */
export function runningRun(): RunView {
  const view = finishedRun();
  return {
    ...view,
    summary: { ...view.summary!, state: 'running', iteration: 2, stage: Stage.LABEL, endedAtMs: 0, teacherValidation: score(4730, 5000) },
    iterations: view.iterations.slice(0, 2), control: undefined, bestModel: undefined, bestIteration: 0,
    nowMs: view.summary!.submittedAtMs + 72_000, stageDone: 14, stageTotal: 28, stageQuarantined: 1, imagesPerSecond: 12_400, secondsLeft: 160,
    tasks: ['worker-1', 'worker-2'].map((workerId, index) => ({
      task: { ...RunView.fromPartial({ tasks: [{ task: { taskId: `t${index}` } }] }).tasks[0]!.task!, stage: Stage.LABEL, subject: `unlabeled-00001${index}`, iteration: 2 },
      state: 'leased', workerId, progress: { done: 1000, total: 2000, unit: 'images', rate: 6200, loss: 0 }, failures: 0, lastError: '', lastErrorWorkerId: '', checkpointStep: 0,
    })),
  };
}

/** The same run, in which training on the labeled images alone did better. */
export function runThatLostToItsControl(): RunView {
  const view = finishedRun();
  return { ...view, control: { ...view.control!, validation: score(4900, 5000), test: score(9790, 10_000) } };
}

/** A picture of something like a handwritten stroke. */
function picture(seed: number): string {
  const png = new PNG({ width: 28, height: 28, colorType: 0 });
  for (let y = 0; y < 28; y += 1) {
    for (let x = 0; x < 28; x += 1) {
      const distance = Math.abs(Math.hypot(x - 14, y - 14 + (seed % 5)) - 6 - (seed % 3));
      const value = Math.max(0, 255 - distance * 110);
      png.data.set([value, value, value, 255], (y * 28 + x) * 4);
    }
  }
  return PNG.sync.write(png, { colorType: 0 }).toString('base64');
}

const item = (seed: number, label: number, truth: number, confidence: number, copies = 1): GalleryItem => ({ key: `sample-${seed}"><script>alert(1)</script>`, png: picture(seed), label, truth, confidence, copies });

export const auditDocument = (shift = 0): AuditDocument => ({
  schemaVersion: 1, classNames,
  gallery: {
    right: Array.from({ length: 24 }, (_, index) => item(index, index % 10, index % 10, 0.9 + index / 250, index === 3 ? 4 : 1)),
    wrong: Array.from({ length: 12 }, (_, index) => item(index + 30, index % 10, (index + 5) % 10, 0.4 + index / 30)),
    thrownOut: Array.from({ length: 5 }, (_, index) => item(index + 60, index, index, 0.2 + index / 60)),
  },
  perClass: Array.from({ length: 10 }, (_, index) => ({ class: index, kept: 5421, right: Math.round(5421 * (0.9 + 0.009 * index + shift)), labeled: 4900 + 130 * index, labeledRight: 4800 + 100 * index })),
});

/** The same run with comparisons: one better, one worse and smaller, one that was given up, one that waits. */
export function runWithComparisons(): RunView {
  const view = finishedRun();
  const of = (name: string, what: string, own: ReturnType<typeof model> | undefined, paired: [number, number, number] | undefined, givenUp = '') =>
    ({ name, what, model: own, paired: paired === undefined ? undefined : { samples: 5000, studentOnlyRight: paired[0], teacherOnlyRight: paired[1] }, pValue: paired?.[2], givenUp });
  return { ...view, comparisons: RunView.fromPartial({ comparisons: [
    of('truth', 'true labels', model(32, 425_802, 4900, 9850, 2500, '7'), [100, 22, 1e-12]),
    of('small', 'cnn width=8', model(8, 30_000, 4700, 9400, 2500, '8'), [60, 182, 1e-14]),
    of('lost', '<i>soft</i> labels', undefined, undefined, '3 attempts failed'),
    of('late', 'again', undefined, undefined),
  ] }).comparisons };
}
