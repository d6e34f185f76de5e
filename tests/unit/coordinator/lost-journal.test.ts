/** A journal that is empty beside a bucket with runs: what an operator is told, and which ids are not given twice. */
import { credentials, Server, ServerCredentials, type ServiceError } from '@grpc/grpc-js';
import { afterEach, expect, test } from 'vitest';
import { operatorService } from '../../../coordinator/api/operator-service.ts';
import { Fold } from '../../../coordinator/fold.ts';
import { Leader } from '../../../coordinator/leader.ts';
import { importDataset } from '../../../dataset/index.ts';
import { OperatorServiceClient, OperatorServiceService } from '../../../proto/gen/alumnus/v1/operator.ts';
import type { ObjectStore } from '../../../store/index.ts';
import { memorySource, temporaryStore } from '../dataset/fixture.ts';
import { MemoryDisk } from './memory-journal.ts';

const recipe = (rounds: number): string => `name: digits\nrounds: ${rounds}\ndata: { dataset: set }\nmodels: { ladder: [{ model: cnn, width: 4 }] }\n`;
const endings: (() => void)[] = [];
afterEach(() => {
  for (const end of endings.splice(0).reverse()) end();
});

/** A leader on an empty journal, asked over the wire. */
async function begin(store: ObjectStore): Promise<{ leader: Leader; ask: <Response>(call: (client: OperatorServiceClient, callback: (error: ServiceError | null, response: Response) => void) => void) => Promise<Response> }> {
  const journal = new MemoryDisk().open();
  const leader = new Leader({ journal, fold: await Fold.load(journal, store), store, term: await journal.begin(), leaseMs: 1_000, clock: { now: () => Date.now(), sleep: () => new Promise<void>(() => undefined) } });
  const server = new Server();
  server.addService(OperatorServiceService, operatorService({ leader: () => leader, leaderAddress: '', trouble: '', journal }, store, 'file:///store', '0'));
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) => (error === null ? resolve(bound) : reject(error)));
  });
  const client = new OperatorServiceClient(`127.0.0.1:${port}`, credentials.createInsecure());
  endings.push(() => server.forceShutdown(), () => client.close());
  return { leader, ask: (call) => new Promise((resolve, reject) => call(client, (error, response) => (error === null ? resolve(response) : reject(error)))) };
}

test('an id whose run only the object store knows is refused; a submission said again after its journal failed is not', async () => {
  const { store } = await temporaryStore();
  await importDataset(store, memorySource({ labeled: 30, test: 6, unlabeled: 6 }), { name: 'set', labeledPerClass: 4, validation: 6 });
  const first = await begin(store);
  await first.ask((client, callback) => client.submitRun({ recipe: recipe(1), runId: 'same' }, callback));
  await first.ask((client, callback) => client.submitRun({ recipe: recipe(1), runId: 'gone-on' }, callback));
  await first.leader.command('gone-on', { kind: 'pause', reason: 'lunch' });

  const next = await begin(store);
  const submit = (rounds: number, runId: string) => next.ask<{ runId: string }>((client, callback) => client.submitRun({ recipe: recipe(rounds), runId }, callback));
  const refused = expect.objectContaining({ details: expect.stringMatching(/the object store holds a run of this id that this journal does not know: `alumnus reconcile --dry-run`/) as string }) as Error;
  await expect(submit(1, 'gone-on')).rejects.toEqual(refused);
  await expect(submit(2, 'same')).rejects.toEqual(refused);
  expect(next.leader.runs()).toEqual([]);
  expect((await submit(1, 'same')).runId).toBe('same');
  expect((await submit(2, 'other')).runId).toBe('other');
});

test('runs that this journal does not know are told in the status, in the list and where a run is not found, until it knows one', async () => {
  const { store } = await temporaryStore();
  await importDataset(store, memorySource({ labeled: 30, test: 6, unlabeled: 6 }), { name: 'set', labeledPerClass: 4, validation: 6 });
  const first = await begin(store);
  await first.leader.lookForRuns();
  expect((await first.ask<{ notice: string }>((client, callback) => client.listRuns({}, callback))).notice).toBe('');
  await first.ask((client, callback) => client.submitRun({ recipe: recipe(1), runId: 'lost' }, callback));

  const next = await begin(store);
  await next.leader.lookForRuns();
  const notices = async (): Promise<string[]> => [
    (await next.ask<{ notice: string }>((client, callback) => client.getStatus({}, callback))).notice,
    (await next.ask<{ notice: string }>((client, callback) => client.listRuns({}, callback))).notice,
    await next.ask((client, callback) => client.getRun({ runId: 'none' }, callback)).then(() => '', (error: ServiceError) => error.details),
  ];
  for (const notice of await notices()) expect(notice).toContain('`alumnus reconcile --dry-run` says what can be restored');
  await next.ask((client, callback) => client.reconcile({ runId: 'lost', apply: true }, callback));
  expect(await notices()).toEqual(['', '', 'there is no such run']);
});
