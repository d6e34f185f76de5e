/** What programs are told: instants, durations, stages and oneofs of the wire in JSON's words. */
import { expect, test } from 'vitest';
import { RunView } from '../../../proto/gen/alumnus/v1/operator.ts';
import { Stage } from '../../../proto/gen/alumnus/v1/task.ts';
import { machineDocument, machineForm } from '../../../proto/machine.ts';

test('instants are RFC 3339 and absent while the wire says 0; durations are seconds; stages have names', () => {
  const told = machineDocument('Run', RunView.fromPartial({
    summary: { runId: 'r', stage: Stage.TRAIN, submittedAtMs: Date.UTC(2025, 0, 2, 3, 4, 5, 6), endedAtMs: 0 }, nowMs: 1_000, recipeJson: '{"name":"r","atMs":7}', iterations: [{ model: { trainMs: 0 } }, { model: { trainMs: 1_234 } }],
  }));
  expect(told).toMatchObject({
    apiVersion: 'alumnus/v1', kind: 'Run', now: '1970-01-01T00:00:01.000Z', recipe: { name: 'r', atMs: 7 },
    summary: { stage: 'train', submittedAt: '2025-01-02T03:04:05.006Z' }, iterations: [{ model: { trainSeconds: 0 } }, { model: { trainSeconds: 1.234 } }],
  });
  expect(told).not.toHaveProperty('summary.endedAt');
  expect(JSON.stringify(told).replace('"atMs":7', '')).not.toMatch(/Ms"/);
});

test('oneofs go by their field, and what JSON has no number for is null', () => {
  expect(machineForm({ result: { $case: 'label', value: { deviceMs: 1500, writtenMs: 5 } }, share: NaN, lastSeenMs: 1, latencyP50Ms: 0.25 }))
    .toEqual({ result: { label: { deviceSeconds: 1.5, written: '1970-01-01T00:00:00.005Z' } }, share: null, lastSeen: '1970-01-01T00:00:00.001Z', latencyP50Seconds: 0.00025 });
});
