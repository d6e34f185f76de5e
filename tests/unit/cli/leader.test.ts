/** The CLI among several coordinators: it finds the one that leads, and submits once whatever gets lost. */
import { Server, ServerCredentials, type UntypedHandleCall } from '@grpc/grpc-js';
import { afterEach, expect, test } from 'vitest';
import { AlumnusError, type ErrorCode } from '../../../proto/errors.ts';
import { statusOf, type CarriedStatus } from '../../../proto/status.ts';
import { GetStatusResponse, ListRunsResponse, OperatorServiceService, RunView, SubmitRunResponse, type OperatorServiceServer } from '../../../proto/gen/alumnus/v1/operator.ts';
import { readyRecipe } from '../../../recipe/index.ts';
import { connect } from '../../../cli/client.ts';
import { Proxy } from '../../harness/proxy.ts';
import { run } from './console.ts';

let servers: Server[] = [];
afterEach(() => {
  for (const server of servers) server.forceShutdown();
  servers = [];
});

const refusal = (code: ErrorCode, where = ''): CarriedStatus => statusOf(new AlumnusError(code, code, { where }));

type Script = Partial<OperatorServiceServer>;

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
  const operator = connect({ address: addresses });
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

test('an id that was wished for and is taken stays a conflict, also when it is asked for again', async () => {
  const dying = await serve({ submitRun: () => dying.server.forceShutdown() });
  const { address } = await serve({ submitRun: (call, callback) => callback(refusal('RUN_CONFLICT', call.request.runId)) });
  await expect(ask(`${dying.address},${address}`, (operator) => operator.submit(readyRecipe('mnist') ?? '', 'mine'))).rejects.toMatchObject({ code: 'RUN_CONFLICT' });
});

test('a standby that sends a pause on has not heard it: that the run is paused already stays a conflict', async () => {
  const leads = await serve({
    pauseRun: (call, callback) => callback(refusal('RUN_CONFLICT', call.request.runId)),
    getRun: (_, callback) => callback(null, RunView.fromPartial({ summary: { state: 'paused' } })),
  });
  const stands = await serve({ pauseRun: (_, callback) => callback(refusal('NOT_LEADER', leads.address)) });
  await expect(ask(`${stands.address},${leads.address}`, (operator) => operator.pause('r1', ''))).rejects.toMatchObject({ code: 'RUN_CONFLICT' });
});

test('a pause whose answer was lost is done once; one that comes too late is a conflict', async () => {
  let state = 'running';
  const dying = await serve({
    pauseRun: () => {
      if (state === 'running') state = 'paused';
      dying.server.forceShutdown();
    },
  });
  const next = await serve({
    pauseRun: (call, callback) => callback(refusal('RUN_CONFLICT', call.request.runId)),
    getRun: (_, callback) => callback(null, RunView.fromPartial({ summary: { state } })),
  });
  const pause = (): Promise<RunView> => ask(`${dying.address},${next.address}`, (operator) => operator.pause('r1', ''));
  expect((await pause()).summary?.state).toBe('paused');
  state = 'succeeded';
  await expect(pause()).rejects.toMatchObject({ code: 'RUN_CONFLICT' });
});

test('a standby that still names a leader that is gone does not hide the one that leads', async () => {
  const { address: gone, server } = await leader();
  server.forceShutdown();
  const { address: late } = await standby(() => gone);
  const { address } = await leader();
  expect(await ask(`${gone},${late},${address}`, (operator) => operator.runs())).toEqual(runs);
});

test('a coordinator that stands still, with its connection open, is passed by', async () => {
  const still = await leader();
  const proxy = await Proxy.start(() => still.address);
  try {
    const { address } = await leader();
    await ask(`${proxy.address},${address}`, async (operator) => {
      await operator.runs();
      expect(operator.address).toBe(proxy.address);
      proxy.disturb({ requests: () => 'stall', answers: () => 'stall' });
      expect(await operator.runs()).toEqual(runs);
      expect(operator.address).toBe(address);
    });
  } finally {
    proxy.stop();
  }
});

test('a watch follows the leader without a word where it is sent on, and says when nobody leads', async () => {
  const view = (state: string): RunView => RunView.fromPartial({ summary: { runId: 'r1', state } });
  let dies = true;
  const next = await serve({
    watchRun: (call) => {
      call.write(view(dies ? 'running' : 'succeeded'));
      if (!dies) return call.end();
      dies = false;
      call.emit('error', refusal('NOT_LEADER'));
    },
  });
  const first = await serve({ watchRun: (call) => void call.emit('error', refusal('NOT_LEADER', next.address)) });
  const away: boolean[] = [];
  const states: (string | undefined)[] = [];
  await ask(first.address, async (operator) => {
    for await (const each of operator.watch('r1', { signal: new AbortController().signal, onAway: (told) => away.push(told) })) {
      if (states.length === 0) expect(away).toEqual([]);
      states.push(each.summary?.state);
    }
  });
  expect(states).toEqual(['running', 'succeeded']);
  // The second time neither of the two led.
  expect(away).toEqual([true, false]);
});

test('status has a line for each address, and is an error only where none leads and one is away', async () => {
  const status = (role: string, leaderAddress: string): Script => ({ getStatus: (_, callback) => callback(null, GetStatusResponse.fromPartial({ role, leaderAddress, term: role === 'leader' ? 4 : 0, workers: 2, version: '0.1.0' })) });
  const { address: leads } = await serve(status('leader', ''));
  const { address: stands } = await serve(status('standby', leads));
  const { address: gone, server } = await leader();
  server.forceShutdown();
  const all = await run(['status', '--address', `${leads},${stands},${gone}`]);
  expect(all.code).toBe(0);
  expect(all.out.trim().split('\n').slice(1)).toEqual([expect.stringMatching(`^${leads} +leader +4 +2 `), expect.stringMatching(`^${stands} +standby `), expect.stringMatching(`^${gone} +away: `)]);
  expect((await run(['status', '--address', `${stands},${gone}`])).code).toBe(5);
  expect((await run(['status', '--address', stands])).out).toMatch(new RegExp(`^Leader +${leads}$`, 'm'));
});

test('a coordinator that its journal does not answer says so in the status, and none leads', async () => {
  const away: Script = { getStatus: (_, callback) => callback(null, GetStatusResponse.fromPartial({ role: 'standby', version: '0.1.0', notice: 'the journal does not answer since 12 s: timeout' })) };
  const [one, two] = [await serve(away), await serve(away)];
  const single = await run(['status', '--address', one.address]);
  expect([single.code, single.out]).toEqual([5, expect.stringMatching(/^Notice +the journal does not answer since 12 s: timeout$/m)]);
  const both = await run(['status', '--address', `${one.address},${two.address}`]);
  expect(both.code).toBe(5);
  expect(both.err).toContain(`${two.address}: the journal does not answer since 12 s: timeout`);
});
