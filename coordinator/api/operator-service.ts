/** What operators ask, answered. Every answer is a fold of journalled facts with the leases of the moment beside it. */
import { randomBytes } from 'node:crypto';
import type { handleServerStreamingCall } from '@grpc/grpc-js';
import { AlumnusError, toAlumnusError } from '../../proto/errors.ts';
import type { ChangeBudgetRequest, GetRunRequest, OperatorServiceServer, ReviewLabelsRequest, RunCommandRequest, RunView } from '../../proto/gen/alumnus/v1/operator.ts';
import { statusOf } from '../../proto/status.ts';
import type { ObjectStore } from '../../store/index.ts';
import type { Leading } from '../node.ts';
import { canonicalJson } from '../../recipe/index.ts';
import { storeHoldsAnother } from '../manifests.ts';
import { reconcile } from '../reconcile.ts';
import { putRunData } from '../run-data.ts';
import { isEnded, type Command } from '../run/index.ts';
import { unary } from './grpc.ts';
import { indexTars } from './index-tars.ts';
import { prepareSubmission } from './submission.ts';
import { runView, statusView, summaryOf, workerView } from './views.ts';

/** A watcher sees progress this often, and changes at once but no closer than WATCH_MS_MIN. */
const WATCH_MS = 1_000;
const WATCH_MS_MIN = 100;
const RUN_ID = /^[a-z0-9]([a-z0-9._-]{0,78}[a-z0-9])?$/;

export function operatorService(leading: Leading, store: ObjectStore, storeUrl: string, version: string): OperatorServiceServer {
  const view = (runId: string): RunView => {
    const leader = leading.leader();
    return runView(leader, leader.run(runId), storeUrl);
  };
  const commanded = <Request extends { readonly runId: string }>(toCommand: (request: Request, inFlightMs: number) => Command) =>
    unary(async (request: Request): Promise<RunView> => {
      const leader = leading.leader();
      leader.run(request.runId);
      await leader.command(request.runId, toCommand(request, leader.scheduler.inFlightMs(request.runId, leader.now())));
      return view(request.runId);
    });

  const watchRun: handleServerStreamingCall<GetRunRequest, RunView> = (call) => {
    const { runId } = call.request;
    let stop = (): void => undefined;
    let lastMs = 0;
    let pending: NodeJS.Timeout | undefined;
    /** A view is on its way. Who does not read is sent no further one, since all would lie in our memory: then it's the newest. */
    let isSending = false;
    let isStale = false;
    const finish = (): void => {
      stop();
      clearInterval(ticker);
      clearTimeout(pending);
      isStale = false;
    };
    const send = (): void => {
      clearTimeout(pending);
      pending = undefined;
      lastMs = Date.now();
      try {
        // A watcher of a leader that is no more is sent to the next one.
        const state = leading.leader().run(runId);
        isSending = true;
        call.write(view(runId), sent);
        if (!isEnded(state.phase)) return;
        finish();
        call.end();
      } catch (thrown) {
        finish();
        call.emit('error', statusOf(toAlumnusError(thrown)));
      }
    };
    const sent = (): void => {
      isSending = false;
      if (isStale) soon();
      isStale = false;
    };
    const soon = (): void => {
      if (isSending) isStale = true;
      else pending ??= setTimeout(send, Math.max(0, WATCH_MS_MIN - (Date.now() - lastMs)));
    };
    const ticker = setInterval(soon, WATCH_MS);
    call.on('cancelled', finish);
    call.on('close', finish);
    try {
      stop = leading.leader().onChange(soon);
    } catch {
      // The first view says so.
    }
    send();
  };

  return {
    getStatus: unary(() => statusView(leading, storeUrl, version)),
    submitRun: unary(async (request) => {
      const leader = leading.leader();
      const { recipe, data } = await prepareSubmission(store, request.recipe);
      const runId = request.runId === '' ? `${recipe.name}-${randomBytes(3).toString('hex')}` : request.runId;
      if (!RUN_ID.test(runId)) throw new AlumnusError('USAGE', 'a run id is 1 to 80 of a-z, 0-9, ".", "_" and "-"', { where: runId });
      const isKnown = leader.runs().some((run) => run.runId === runId);
      if (!isKnown && await storeHoldsAnother(store, runId, canonicalJson(recipe))) {
        throw new AlumnusError('RUN_CONFLICT', 'the object store holds a run of this id that this journal does not know: `alumnus reconcile --dry-run` says what can be restored; or choose another id', { where: runId });
      }
      await leader.command(runId, { kind: 'submit', runId, recipe, data, dataRef: await putRunData(store, runId, data) });
      return { runId, warnings: data.warnings };
    }),
    listRuns: unary(() => {
      const leader = leading.leader();
      return { runs: leader.runs().map((run) => summaryOf(leader, run)).sort((a, b) => b.submittedAtMs - a.submittedAtMs), notice: leader.notice };
    }),
    getRun: unary((request) => view(request.runId)),
    watchRun,
    pauseRun: commanded((request: RunCommandRequest) => ({ kind: 'pause', reason: request.reason === '' ? 'paused by an operator' : request.reason })),
    resumeRun: commanded((_: RunCommandRequest, inFlightMs) => ({ kind: 'resume', inFlightMs })),
    cancelRun: commanded((request: RunCommandRequest) => ({ kind: 'cancel', reason: request.reason === '' ? 'cancelled by an operator' : request.reason })),
    changeBudget: commanded(({ deviceHours, wallHours }: ChangeBudgetRequest, inFlightMs) => ({ kind: 'budget', deviceHours, wallHours, inFlightMs })),
    reviewLabels: commanded(({ shards, labels, reviewed, samples, behindSha256 }: ReviewLabelsRequest) => ({ kind: 'review', review: { shards, labels, reviewed, samples }, behind: behindSha256 })),
    indexTars: indexTars(leading),
    reconcile: unary((request) => reconcile(leading.leader(), request)),
    listWorkers: unary(() => {
      const leader = leading.leader();
      return { workers: leader.scheduler.workers().map((each) => workerView(each, leader.scheduler.isLive(each.worker.workerId, leader.now()))) };
    }),
  };
}
