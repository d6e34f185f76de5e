import { describe, expect, test } from 'vitest';
import { ProgressReporter } from '../../../cli/progress/reporter.ts';
import { LabelingRate } from '../../../cli/progress/rate.ts';
import { TaskRestarts } from '../../../cli/progress/restarts.ts';
import { newsBetween, paint, progressBlock, progressLine, stageShare } from '../../../cli/progress/view.ts';
import { Stage } from '../../../proto/gen/alumnus/v1/task.ts';
import { recorder } from './console.ts';
import { finishedRun, pausedRun, runningRun } from './fixture.ts';

describe('progress', () => {
  test('as one line tells stage, shards, speed, accuracy and time', () => {
    expect(progressLine(runningRun())).toBe('[1 m 12 s] iteration 2 of 3 · label · 14 of 28 shards labeled · 1 quarantined · 12,400 images/s · teacher 94.6 % on validation · about 2 m 40 s of the run left');
  });
  test('of a training tells steps and loss', () => {
    const view = runningRun();
    const [task] = view.tasks;
    const training = {
      ...view, stageDone: 0, stageTotal: 1, stageQuarantined: 0, summary: { ...view.summary!, stage: Stage.TRAIN },
      tasks: [{ ...task!, task: { ...task!.task!, stage: Stage.TRAIN, subject: 'student' }, progress: { done: 625, total: 2500, unit: 'steps', rate: 9000, loss: 0.3125 } }],
    };
    expect(progressLine(training)).toContain('train · 625 of 2,500 steps · 12,400 images/s · loss 0.313');
    expect(stageShare(training)).toBe(0.25);
  });
  test('of a training that several workers share tells the round, who is done and who was left out', () => {
    const view = runningRun();
    const [task] = view.tasks;
    const replica = (index: number, done: number) => ({ ...task!, task: { ...task!.task!, stage: Stage.TRAIN, subject: `student.r0002.k${index}` }, progress: { done, total: 100, unit: 'steps', rate: 9000, loss: 0.3125 } });
    const round = { subject: 'student', iteration: 2, round: 2, rounds: 25, replicas: 4, replicasDone: 2, replicasGivenUp: 1, merging: false, leftOut: 0, stepsDone: 200, roundSteps: 100, steps: 2500 };
    const control = { ...round, subject: 'control', iteration: 3, round: 9, stepsDone: 900 };
    const training = (shared: object) => ({ ...view, stageDone: 0, stageTotal: 1, stageQuarantined: 0, summary: { ...view.summary!, stage: Stage.TRAIN }, sharedTrainings: [control, { ...round, ...shared }], tasks: [{ ...replica(3, 40), task: { ...replica(3, 40).task, subject: 'control.r0009.k0' } }, replica(3, 60)] });
    expect(progressLine(training({}))).toContain('train · round 3 of 25: 2 of 4 replicas done, 1 given up · 12,400 images/s · loss 0.313');
    // (200 + (2 + 0.6) / 4 x 100) of 2,500.
    expect(stageShare(training({}))).toBeCloseTo(0.106, 12);
    expect(progressLine(training({ replicasDone: 3, merging: true, leftOut: 2 }))).toContain('round 3 of 25: merges 3 replicas, 2 left out before · ');
    expect(stageShare(training({ merging: true }))).toBeCloseTo(0.12, 12);
    expect(progressLine(training({ replicas: 0, replicasDone: 0, replicasGivenUp: 0 }))).toContain('round 3 of 25: not begun · ');
  });
  test('counts the parts of shards in work', () => expect(stageShare(runningRun())).toBeCloseTo((14 + 0.5 + 0.5) / 28));
  test.each([40, 80, 140])('as a block stays within %i columns', (columns) => {
    for (const line of progressBlock(runningRun(), columns, paint(false))) expect(line.length).toBeLessThan(columns);
  });
  test('as a block tells what each worker does', () => {
    expect(progressBlock(runningRun(), 120, paint(false)).join('\n')).toContain('worker-2  label unlabeled-000011 · 1,000 of 2,000 images · 6,200 images/s');
  });
});

test('a worker that holds the next shard is one line', () => {
  const view = runningRun();
  const block = progressBlock({ ...view, tasks: [...view.tasks, { ...view.tasks[0]!, progress: undefined }] }, 140, paint(false));
  expect(block.filter((line) => line.startsWith('  worker-1'))).toEqual(['  worker-1  label unlabeled-000010 · 1,000 of 2,000 images · 6,200 images/s · 1 task next']);
});

test('the speed of labeling is that of finished shards since the stage began', () => {
  const rate = new LabelingRate();
  const at = (ms: number, stageDone: number) => rate.apply({ ...runningRun(), nowMs: ms, stageDone, imagesPerSecond: 77 }).imagesPerSecond;
  expect(at(10_000, 2)).toBe(0);
  expect(at(14_000, 10)).toBeCloseTo(((8 / 28) * 54_900) / 4);
  const training = runningRun();
  expect(rate.apply({ ...training, summary: { ...training.summary!, stage: Stage.TRAIN }, imagesPerSecond: 77 }).imagesPerSecond).toBe(77);
});

test('in a log a paused run is said once, and again when something changes; one that runs every few seconds', () => {
  let nowMs = 0;
  const sink = recorder();
  const reporter = new ProgressReporter(sink, () => nowMs);
  const lines = (view: ReturnType<typeof runningRun>): number => {
    sink.text = '';
    reporter.update({ ...view, nowMs: view.nowMs + nowMs });
    nowMs += 6_000;
    return sink.text.split('\n').filter((line) => line.startsWith('[')).length;
  };
  const paused = { ...pausedRun('by a person'), secondsLeft: -1 };
  expect([runningRun(), runningRun(), paused, paused, paused, { ...paused, stageDone: 15 }, paused, paused].map(lines)).toEqual([1, 1, 1, 0, 0, 1, 1, 0]);
});

describe('news', () => {
  test('of the first view name the data', () => {
    expect(newsBetween(undefined, { ...runningRun(), iterations: [] })).toEqual(['run mnist-4f2a91: 100 labeled, 54,900 unlabeled, 5,000 for validation, 10,000 for test']);
  });
  test('tell selections, precision, decisions and the control once', () => {
    const news = newsBetween(runningRun(), finishedRun());
    expect(news).toContain('iteration 3: kept 54,700 of 54,900 pseudo-labels, 54,700 rows with copies');
    expect(news).toContain('iteration 3: cnn width=32 promoted · validation 96.4 % · test 96.5 %');
    expect(news).toContain('control: cnn width=32 on the labeled images alone · validation 93.3 % · test 93.8 %');
    expect(newsBetween(finishedRun(), finishedRun())).toEqual([]);
  });
});

describe('a task that begins again', () => {
  type TaskView = ReturnType<typeof runningRun>['tasks'][number];
  /** What is told of one training, view by view. */
  function told(...views: Partial<TaskView>[]): string[][] {
    const restarts = new TaskRestarts();
    const [task] = runningRun().tasks;
    const training = { ...task!, task: { ...task!.task!, stage: Stage.TRAIN, subject: 'student' } };
    return views.map((each) => restarts.apply({ ...runningRun(), tasks: [{ ...training, ...each }] }));
  }
  const at = (done: number) => ({ done, total: 2500, unit: 'steps', rate: 9000, loss: 0.3 });
  const waiting = { state: 'waiting', workerId: '', progress: undefined };
  const lost = { failures: 1, lastError: 'LEASE_EXPIRED: worker worker-1 did not renew its lease within 10000 ms' };

  test('names the worker that was lost, once', () => {
    expect(told({ progress: at(800) }, { ...waiting, ...lost }, { ...lost, workerId: 'worker-2', progress: undefined }, { ...lost, workerId: 'worker-2', progress: at(20) }))
      .toEqual([[], ['worker worker-1 was lost: train student begins again'], [], []]);
  });
  test('names the error of an attempt that failed', () => {
    expect(told({ progress: at(800) }, { progress: undefined, failures: 1, lastError: 'ENGINE_CRASHED: the engine ended by signal SIGKILL' })[1])
      .toEqual(['train student begins again: ENGINE_CRASHED: the engine ended by signal SIGKILL']);
  });
  test('names who handed it back, also where it waited in between', () => {
    expect(told({ progress: at(800) }, waiting, { workerId: 'worker-2', progress: at(0) }, { workerId: 'worker-2', progress: at(20) }))
      .toEqual([[], [], ['train student begins again with worker-2: worker-1 handed it back'], []]);
  });
  test('is none where the same worker goes on after the coordinator came back, nor in the first view', () => {
    expect(told({ ...lost, progress: at(800) }, waiting, { progress: undefined }, { progress: at(820) }).flat()).toEqual([]);
  });
  test('is told by number where there are many', () => {
    const restarts = new TaskRestarts();
    const [task] = runningRun().tasks;
    const tasks = (failures: number): TaskView[] => Array.from({ length: 9 }, (_, index) => ({ ...task!, failures, lastError: 'STORE_FULL: full', task: { ...task!.task!, taskId: `t${index}` } }));
    restarts.apply({ ...runningRun(), tasks: tasks(0) });
    const lines = restarts.apply({ ...runningRun(), tasks: tasks(1) });
    expect(lines).toHaveLength(4);
    expect(lines.at(-1)).toBe('and 6 more tasks begin again');
  });
});

test('while the store is away its tasks are told by number, and again when it answers', () => {
  const restarts = new TaskRestarts();
  const [task] = runningRun().tasks;
  const away = 'STORE_UNREACHABLE: s3://alumnus: no answer from 127.0.0.1:9000 after 8 attempts';
  /** The first `failed` of 28 tasks have failed, and `again` of them are in work anew. */
  const at = (failed: number, again = 0, done = 0) => ({
    ...runningRun(), tasks: Array.from({ length: 28 }, (_, index) => ({
      ...task!, task: { ...task!.task!, taskId: `t${index}` }, ...(index < failed ? { failures: 1, lastError: away, state: index < again ? 'leased' : 'waiting', progress: index < again ? { ...task!.progress!, done } : undefined } : { failures: 0, lastError: '' }),
    })),
  });
  const told = [at(0), at(2), at(3), at(7), at(8), at(27), at(28), at(28, 28), at(28, 28, 10), at(28, 28, 20)].map((view) => restarts.apply(view));
  expect(told).toEqual([
    [], ['the store does not answer: 2 tasks wait to be tried again'], [], [], ['the store does not answer: 8 tasks wait to be tried again'], [], [], [], ['the store answers again'], [],
  ]);
  expect(progressLine(at(28))).toContain(' · 28 tasks waiting for the store · ');
  expect(progressBlock(at(28), 140, paint(false)).join('\n')).toContain('28 tasks waiting for the store');
  expect(progressLine(at(28))).not.toContain('left');
  expect(progressLine(at(0))).not.toContain('store');
});

describe('the reporter', () => {
  test('tells of a lost worker as a lasting line', () => {
    const sink = recorder();
    const reporter = new ProgressReporter(sink, () => 0);
    reporter.update({ ...runningRun(), iterations: [] });
    const [first, second] = runningRun().tasks;
    reporter.update({ ...runningRun(), iterations: [], tasks: [{ ...first!, workerId: 'worker-2', progress: undefined, failures: 1, lastError: 'LEASE_EXPIRED: gone' }, second!] });
    expect(sink.text.trim().split('\n').at(-1)).toBe('worker worker-1 was lost: label unlabeled-000010 begins again');
  });
  test('writes plain lines without a terminal, at changes and every few seconds', () => {
    const sink = recorder();
    let now = 0;
    const reporter = new ProgressReporter(sink, () => now);
    for (const at of [0, 1000, 2000, 6000]) {
      now = at;
      reporter.update({ ...runningRun(), iterations: [] });
    }
    reporter.end();
    expect(sink.text.trim().split('\n')).toHaveLength(1 + 2);
    expect(sink.text).not.toContain('\u001b');
  });
  test('redraws its block on a terminal and leaves only the lasting lines', () => {
    const sink = recorder({ isTerminal: true, columns: 100 });
    const reporter = new ProgressReporter(sink, () => 0);
    reporter.update({ ...runningRun(), iterations: [] });
    reporter.note('worker 1 was ended by SIGKILL: starting it again');
    reporter.end();
    expect(visible(sink.text)).toEqual(['run mnist-4f2a91: 100 labeled, 54,900 unlabeled, 5,000 for validation, 10,000 for test', 'worker 1 was ended by SIGKILL: starting it again']);
  });
});

/** What a terminal would show at the end: `ESC [ n F ESC [ 0 J` takes the last n lines away. */
function visible(text: string): string[] {
  const lines: string[] = [];
  // eslint-disable-next-line no-control-regex -- the terminal's own language
  for (const piece of text.split(/(?=\u001b\[\d+F\u001b\[0J)/)) {
    // eslint-disable-next-line no-control-regex -- the terminal's own language
    const [, up] = /^\u001b\[(\d+)F\u001b\[0J/.exec(piece) ?? [];
    if (up !== undefined) lines.splice(lines.length - Number(up));
    // eslint-disable-next-line no-control-regex -- the terminal's own language
    lines.push(...piece.replace(/^\u001b\[\d+F\u001b\[0J/, '').split('\n').slice(0, -1));
  }
  return lines;
}
