/** What operators ask, answered. Every answer is a fold of journalled facts with the leases of the moment beside it. */
import { randomBytes } from 'node:crypto';
import type { handleServerStreamingCall } from '@grpc/grpc-js';
import { AlumnusError, toAlumnusError } from '../../proto/errors.ts';
import type { GetRunRequest, OperatorServiceServer, RunCommandRequest, RunView } from '../../proto/gen/alumnus/v1/operator.ts';
import type { ObjectStore } from '../../store/index.ts';
import type { Leader } from '../leader.ts';
import { isEnded, type Command } from '../run/index.ts';
import { statusOf, unary } from './grpc.ts';
import { prepareSubmission } from './submission.ts';
import { runView, summaryOf, workerView } from './views.ts';

/** A watcher sees progress this often, and changes at once but no closer than WATCH_MS_MIN. */
const WATCH_MS = 1_000;
const WATCH_MS_MIN = 100;
const RUN_ID = /^[a-z0-9]([a-z0-9._-]{0,78}[a-z0-9])?$/;

export function operatorService(leader: Leader, store: ObjectStore, storeUrl: string, version: string): OperatorServiceServer {
  const view = (runId: string): RunView => runView(leader, leader.run(runId), storeUrl);
  const commanded = (toCommand: (request: RunCommandRequest) => Command) =>
    unary(async (request: RunCommandRequest): Promise<RunView> => {
      leader.run(request.runId);
      await leader.command(request.runId, toCommand(request));
      return view(request.runId);
    });

  const watchRun: handleServerStreamingCall<GetRunRequest, RunView> = (call) => {
    const { runId } = call.request;
    let lastMs = 0;
    let pending: NodeJS.Timeout | undefined;
    const finish = (): void => {
      stop();
      clearInterval(ticker);
      clearTimeout(pending);
    };
    const send = (): void => {
      clearTimeout(pending);
      pending = undefined;
      lastMs = Date.now();
      try {
        const state = leader.run(runId);
        call.write(view(runId));
        if (!isEnded(state.phase)) return;
        finish();
        call.end();
      } catch (thrown) {
        finish();
        call.emit('error', statusOf(toAlumnusError(thrown)));
      }
    };
    const soon = (): void => {
      pending ??= setTimeout(send, Math.max(0, WATCH_MS_MIN - (Date.now() - lastMs)));
    };
    const stop = leader.onChange(soon);
    const ticker = setInterval(soon, WATCH_MS);
    call.on('cancelled', finish);
    call.on('close', finish);
    send();
  };

  return {
    getStatus: unary(() => ({ version, term: leader.term, storeUrl, journal: leader.journal.description, workers: leader.scheduler.liveWorkers(leader.now()), sequence: leader.journal.lastSequence, role: 'leader', leaderAddress: '' })),
    submitRun: unary(async (request) => {
      const { recipe, data } = await prepareSubmission(store, request.recipe);
      const runId = request.runId === '' ? `${recipe.name}-${randomBytes(3).toString('hex')}` : request.runId;
      if (!RUN_ID.test(runId)) throw new AlumnusError('USAGE', 'a run id is 1 to 80 of a-z, 0-9, ".", "_" and "-"', { where: runId });
      await leader.command(runId, { kind: 'submit', runId, recipe, data });
      return { runId };
    }),
    listRuns: unary(() => ({ runs: leader.runs().map(summaryOf).sort((a, b) => b.submittedAtMs - a.submittedAtMs) })),
    getRun: unary((request) => view(request.runId)),
    watchRun,
    pauseRun: commanded((request) => ({ kind: 'pause', reason: request.reason === '' ? 'paused by an operator' : request.reason })),
    resumeRun: commanded(() => ({ kind: 'resume' })),
    cancelRun: commanded((request) => ({ kind: 'cancel', reason: request.reason === '' ? 'cancelled by an operator' : request.reason })),
    changeBudget: unary(() => Promise.reject(new AlumnusError('USAGE', 'budgets come with the next commit'))),
    reconcile: unary(() => Promise.reject(new AlumnusError('USAGE', 'reconcile comes with the next commit'))),
    listWorkers: unary(() => ({ workers: leader.scheduler.workers().map((each) => workerView(each, leader.scheduler.isLive(each.worker.workerId, leader.now()))) })),
  };
}
