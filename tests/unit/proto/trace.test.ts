/** The ids of a run's spans: what W3C trace context wants, the same everywhere, and each its own. */
import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import { Stage } from '../../../proto/gen/alumnus/v1/task.ts';
import { acceptSpan, isTraced, runSpan, spanOfTraceparent, stageSpan, submitSpan, traceparentOf } from '../../../proto/trace.ts';

test('follow from the run\'s id alone', () => {
  const sha = (text: string): string => createHash('sha256').update(text).digest('hex');
  expect(runSpan('mnist-1')).toEqual({ traceId: sha('["alumnus trace","mnist-1"]').slice(0, 32), spanId: sha('["alumnus span","mnist-1","run"]').slice(0, 16) });
});

test('are of one trace a run, and none is another\'s', () => {
  const place = { iteration: 1, stage: Stage.TRAIN, try: 0 };
  const spans = ['a', 'b'].flatMap((run) => [submitSpan(run), acceptSpan(run), runSpan(run), stageSpan(run, place), stageSpan(run, { ...place, try: 1 }), stageSpan(run, { ...place, iteration: 2 }), stageSpan(run, { ...place, stage: Stage.LABEL })]);
  expect(new Set(spans.map(({ spanId }) => spanId)).size).toBe(spans.length);
  expect(new Set(spans.map(({ traceId }) => traceId)).size).toBe(2);
});

test('travel as a traceparent, and what is none is none', () => {
  const span = submitSpan('a');
  expect(spanOfTraceparent(traceparentOf(span))).toEqual(span);
  for (const text of ['', '00-abc-def-01', `01-${span.traceId}-${span.spanId}-01`, `00-${'0'.repeat(32)}-${span.spanId}-01`, `00-${span.traceId}-${'0'.repeat(16)}-01`]) expect(spanOfTraceparent(text), text).toBeUndefined();
});

test('are wanted where an endpoint is set and the SDK is not disabled', () => {
  expect([{}, { OTEL_EXPORTER_OTLP_ENDPOINT: '' }, { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c:4318', OTEL_SDK_DISABLED: 'true' }].map(isTraced)).toEqual([false, false, false]);
  expect([{ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c:4318' }, { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'http://c:4318/v1/traces' }].map(isTraced)).toEqual([true, true]);
});
