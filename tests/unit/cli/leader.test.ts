/** The CLI among several coordinators: it finds the one that leads, and submits once whatever gets lost. */
import { Metadata, Server, ServerCredentials, type status, type UntypedHandleCall } from '@grpc/grpc-js';
import { afterEach, expect, test } from 'vitest';
import { errorTable, type ErrorCode } from '../../../proto/errors.ts';
import { ListRunsResponse, OperatorServiceService, SubmitRunResponse, type OperatorServiceServer } from '../../../proto/gen/alumnus/v1/operator.ts';
import { readyRecipe } from '../../../recipe/index.ts';
import { connect } from '../../../cli/client.ts';

let servers: Server[] = [];
afterEach(() => {
  for (const server of servers) server.forceShutdown();
  servers = [];
});

function refusal(code: ErrorCode, where = ''): { code: status; details: string; metadata: Metadata } {
  const metadata = new Metadata();
  metadata.set('alumnus-code', code);
  metadata.set('alumnus-where', encodeURIComponent(where));
  return { code: errorTable[code].grpc, details: code, metadata };
}

type Script = Partial<Pick<OperatorServiceServer, 'listRuns' | 'submitRun'>>;

/** What a script doesn't answer is a defect of the test. */
async function serve(script: Script): Promise<{ address: string; server: Server }> {
  const server = new Server();
  servers.push(server);
  const absent: UntypedHandleCall = (_: unknown, callback: (error: object) => void) => callback(refusal('INTERNAL'));
  server.addService(OperatorServiceService, Object.fromEntries(Object.keys(OperatorServiceService).map((name) => [name, script[name as keyof Script] ?? absent])));
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) => (error === null ? resolve(bound) : reject(error)));
  });
  return { address: `127.0.0.1:${port}`, server };
}

const runs = ListRunsResponse.fromPartial({ runs: [{ runId: 'r1' }] });
const leader = (): Promise<{ address: string; server: Server }> => serve({ listRuns: (_, callback) => callback(null, runs) });
const standby = (leaderAddress: () => string): Promise<{ address: string; server: Server }> => serve({ listRuns: (_, callback) => callback(refusal('NOT_LEADER', leaderAddress())) });

async function ask<Result>(addresses: string, what: (operator: ReturnType<typeof connect>) => Promise<Result>): Promise<Result> {
  const operator = connect(addresses);
  try {
    return await what(operator);
  } finally {
    operator.close();
  }
}

test('a standby sends the call on to the leader that it names', async () => {
  const { address } = await leader();
  const { address: first } = await standby(() => address);
  expect(await ask(first, (operator) => operator.runs())).toEqual(runs);
});

test('of several addresses the ones that are away are passed by', async () => {
  const { address: gone, server } = await leader();
  server.forceShutdown();
  const { address } = await leader();
  expect(await ask(`${gone},${address}`, (operator) => operator.runs())).toEqual(runs);
});

test('where nobody leads just now it waits for an election to end', async () => {
  let elected = '';
  const { address: second } = await leader();
  const { address: first } = await standby(() => elected);
  setTimeout(() => (elected = second), 700);
  expect(await ask(first, (operator) => operator.runs())).toEqual(runs);
});

test('one address that does not answer is told at once', async () => {
  const { address, server } = await leader();
  server.forceShutdown();
  await expect(ask(address, (operator) => operator.runs())).rejects.toMatchObject({ code: 'UNREACHABLE', where: address });
});

test('a submission whose answer was lost is said again under the same id, and one run comes of it', async () => {
  const submitted: string[] = [];
  const dying = await serve({
    submitRun: (call, _callback) => {
      submitted.push(call.request.runId);
      dying.server.forceShutdown();
    },
  });
  const next = await serve({
    submitRun: (call, callback) => {
      if (submitted.includes(call.request.runId)) callback(refusal('RUN_CONFLICT', call.request.runId));
      else callback(null, SubmitRunResponse.fromPartial({ runId: call.request.runId }));
    },
  });
  const { runId } = await ask(`${dying.address},${next.address}`, (operator) => operator.submit(readyRecipe('mnist') ?? '', ''));
  expect(submitted).toEqual([runId]);
  expect(runId).toMatch(/^mnist-[0-9a-f]{6}$/);
});

test('an id that somebody else took stays a conflict', async () => {
  const { address } = await serve({ submitRun: (call, callback) => callback(refusal('RUN_CONFLICT', call.request.runId)) });
  await expect(ask(address, (operator) => operator.submit(readyRecipe('mnist') ?? '', 'mine'))).rejects.toMatchObject({ code: 'RUN_CONFLICT' });
});
