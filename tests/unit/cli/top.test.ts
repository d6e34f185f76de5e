/** Runs and workers at a glance, in as many lines and columns as there are. */
import { expect, test } from 'vitest';
import { topText } from '../../../cli/top-text.ts';
import { GetStatusResponse, WorkerView } from '../../../proto/gen/alumnus/v1/operator.ts';
import { finishedRun, runningRun } from './fixture.ts';

const [running, finished] = [runningRun(), finishedRun()];
const workers = Array.from({ length: 30 }, (_, at) => WorkerView.fromPartial({ workerId: `worker-${at}`, state: at === 29 ? 'lost' : 'idle', device: 'cpu' }));
const snapshot = { status: GetStatusResponse.fromPartial({ role: 'leader', term: 7 }), workers, runs: [running.summary!, ...Array.from({ length: 30 }, (_, at) => ({ ...finished.summary!, runId: `old-${at}` }))], views: [running] };

test('fits a terminal, and says how many it leaves out', () => {
  const lines = topText(snapshot, '127.0.0.1:7700', 80, 24).split('\n');
  expect(lines.length).toBeLessThanOrEqual(24);
  expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(80);
  expect(lines[0]).toBe('127.0.0.1:7700: leader, term 7, 1 run running, 29 workers, 1 lost');
  expect(lines.filter((line) => /^and \d+ (runs|workers) more$/.test(line))).toHaveLength(2);
});

test('without a terminal everything is there', () => {
  const text = topText(snapshot, 'a:1', 300, Infinity);
  for (const { runId } of snapshot.runs) expect(text).toContain(runId);
  for (const { workerId } of workers) expect(text).toContain(workerId);
  expect(text).not.toMatch(/NaN|undefined|more$/m);
});

test('where there is nothing it says so', () => {
  expect(topText({ ...snapshot, runs: [], workers: [], views: [] }, 'a:1', 80, 24)).toContain('There are no runs yet.\n\nThere are no workers.');
});
