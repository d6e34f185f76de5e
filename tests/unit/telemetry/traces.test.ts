/** Spans on their way to a collector: by which protocol, with which ids, and what is said where it does not answer. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { runSpan, submitSpan } from '../../../proto/trace.ts';
import { openTraces, type About, type EndedSpan, type Traces } from '../../../telemetry/index.ts';
import { Receiver } from '../../harness/otlp.ts';

let receiver: Receiver;
const said: [string, About | undefined][] = [];
/** The exporters read the process's own variables. */
const set = (variables: Record<string, string>): void => void Object.assign(process.env, variables);
beforeEach(async () => {
  said.length = 0;
  receiver = await Receiver.start();
});
afterEach(async () => {
  for (const name of Object.keys(process.env)) if (name.startsWith('OTEL_')) delete process.env[name];
  await receiver.close();
});

const open = (): Promise<Traces | undefined> => openTraces({ service: 'alumnus-test', version: '1', env: process.env, log: (line, about) => said.push([line, about]) });
const span = (more: Partial<EndedSpan> = {}): EndedSpan => ({ name: 'work', startMs: 1_000, endMs: 3_500, attributes: { 'alumnus.run': 'a', 'alumnus.iteration': 2, 'alumnus.error': undefined }, ...more });

test('go with the ids that they are given, and with drawn ones in the parent\'s trace', async () => {
  set({ OTEL_EXPORTER_OTLP_ENDPOINT: receiver.endpoint, OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json', OTEL_SERVICE_NAME: 'mine' });
  const traces = await open();
  traces?.ended(span({ ids: submitSpan('a') }));
  traces?.ended(span({ ids: runSpan('a'), parent: submitSpan('a'), links: [submitSpan('b')], error: 'it ended' }));
  traces?.ended(span({ parent: runSpan('a') }));
  traces?.ended(span());
  await traces?.close();
  const { traceId } = runSpan('a');
  const common = { service: 'mine', name: 'work', startMs: 1_000, endMs: 3_500, attributes: { 'alumnus.run': 'a', 'alumnus.iteration': 2 } };
  expect(receiver.spans).toEqual([
    { ...common, traceId, spanId: submitSpan('a').spanId, parent: '', links: [], error: '' },
    { ...common, traceId, spanId: runSpan('a').spanId, parent: submitSpan('a').spanId, links: [submitSpan('b').spanId], error: 'it ended' },
    { ...common, traceId, spanId: expect.stringMatching(/^[0-9a-f]{16}$/), parent: runSpan('a').spanId, links: [], error: '' },
    { ...common, traceId: expect.not.stringContaining(traceId), spanId: expect.stringMatching(/^[0-9a-f]{16}$/), parent: '', links: [], error: '' },
  ]);
  expect(said).toEqual([]);
});

test('go by the protocol that is asked for, by default as protobuf over HTTP', async () => {
  set({ OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${receiver.endpoint}/v1/traces` });
  const traces = await open();
  traces?.ended(span());
  await traces?.close();
  expect([...receiver.contentTypes]).toEqual(['application/x-protobuf']);
  set({ OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: 'http/xml' });
  await expect(open()).rejects.toMatchObject({ code: 'USAGE', where: 'OTEL_EXPORTER_OTLP_PROTOCOL', message: 'must be http/protobuf, http/json, grpc, not "http/xml"' });
});

test('are lost with one warning where the collector does not answer, and nothing else comes of it', async () => {
  await receiver.close();
  set({ OTEL_EXPORTER_OTLP_ENDPOINT: receiver.endpoint, OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json', OTEL_EXPORTER_OTLP_TIMEOUT: '500', OTEL_BSP_SCHEDULE_DELAY: '10' });
  const traces = await open();
  traces?.ended(span());
  await expect.poll(() => said.length, { timeout: 20_000 }).toBe(1);
  traces?.ended(span());
  await traces?.close();
  expect(said).toEqual([[expect.stringContaining('spans cannot be sent to the collector of OTEL_EXPORTER_OTLP_ENDPOINT: '), { level: 'warn' }]]);
  receiver = await Receiver.start();
});

test('are none where no endpoint is set', async () => {
  expect(await open()).toBeUndefined();
});
