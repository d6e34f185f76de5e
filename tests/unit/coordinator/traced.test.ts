/** A submission in a trace, as callers of all kinds make it, over a real connection. */
import { credentials, Metadata, type ServiceError } from '@grpc/grpc-js';
import { afterEach, expect, test } from 'vitest';
import { serve } from '../../../coordinator/api/index.ts';
import { OperatorServiceClient } from '../../../proto/gen/alumnus/v1/operator.ts';
import { acceptSpan, submitSpan, TRACEPARENT, traceparentOf, type SpanIds } from '../../../proto/trace.ts';
import type { EndedSpan } from '../../../telemetry/index.ts';
import { patternsHome, patternsRecipe } from '../../harness/patterns.ts';
import { openStore } from '../../../store/index.ts';
import { Scene } from './scene.ts';

const ended: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ended.splice(0).reverse()) await end();
});

async function traced() {
  const home = await patternsHome();
  ended.push(() => home.remove());
  const store = await openStore(`file://${home.home}/store`);
  const scene = new Scene();
  const leader = await scene.lead(60_000, scene.disk, { store });
  const spans: EndedSpan[] = [];
  const server = await serve({ leading: { leader: () => leader, leaderAddress: '', journal: leader.journal, trouble: '' }, store, storeUrl: 'file:///x', listen: '127.0.0.1:0', version: 'v', traces: { ended: (span) => spans.push(span), close: () => Promise.resolve() } });
  ended.push(() => server.close());
  const client = new OperatorServiceClient(server.address, credentials.createInsecure());
  ended.push(() => client.close());
  const submit = (runId: string, by?: SpanIds, recipe = patternsRecipe()): Promise<ServiceError | null> => {
    const metadata = new Metadata();
    if (by !== undefined) metadata.set(TRACEPARENT, traceparentOf(by));
    return new Promise((resolve) => client.submitRun({ recipe, runId }, metadata, (error) => resolve(error)));
  };
  return { submit, spans, leader, client };
}

test('is a span of the run\'s own trace, below the caller\'s where that is of it, else linked to it', async () => {
  const { submit, spans, leader } = await traced();
  const foreign: SpanIds = { traceId: 'a'.repeat(32), spanId: 'b'.repeat(16) };
  expect([await submit('one', submitSpan('one')), await submit('two', foreign), await submit('three')]).toEqual([null, null, null]);
  expect(spans).toMatchObject([
    { name: 'SubmitRun', kind: 'server', ids: acceptSpan('one'), parent: submitSpan('one'), links: [], error: undefined, attributes: { 'alumnus.run': 'one', 'rpc.method': 'SubmitRun', 'rpc.grpc.status_code': 0 } },
    { ids: acceptSpan('two'), parent: undefined, links: [foreign] },
    { ids: acceptSpan('three'), parent: undefined, links: [] },
  ]);
  // Where the coordinator draws the id, its answer tells it.
  expect(await submit('', foreign)).toBeNull();
  const drawn = leader.runs().map(({ runId }) => runId).find((runId) => runId.startsWith('patterns-')) ?? '';
  expect(spans.at(-1)).toMatchObject({ ids: acceptSpan(drawn), links: [foreign], attributes: { 'alumnus.run': drawn } });
});

test('that is refused is told with the refusal, and is not what the run is of', async () => {
  const { submit, spans } = await traced();
  expect(await submit('one')).toBeNull();
  expect(await submit('one', submitSpan('one'), patternsRecipe({ rounds: 1 }))).not.toBeNull();
  expect(spans[1]).toMatchObject({ name: 'SubmitRun', parent: submitSpan('one'), error: 'a run of this id is there already' });
  expect(spans[1]).not.toHaveProperty('ids');
});

test('is the only call that is told', async () => {
  const { client, spans } = await traced();
  await new Promise((resolve) => client.getStatus({}, resolve));
  expect(spans).toEqual([]);
});
