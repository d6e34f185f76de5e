/** What operators ask, answered. Every answer is a fold of journalled facts with the leases of the moment beside it. */
import { randomBytes } from 'node:crypto';
import type { handleServerStreamingCall, Metadata, ServerUnaryCall } from '@grpc/grpc-js';
import { AlumnusError, invariant, toAlumnusError } from '../../proto/errors.ts';
import type { ChangeBudgetRequest, ChooseModelRequest, CollectGarbageRequest, CordonWorkerRequest, ExplainTaskRequest, GetRunRequest, ListEventsRequest, ListLogsRequest, OperatorServiceServer, ReviewLabelsRequest, RunCommandRequest, RunView } from '../../proto/gen/alumnus/v1/operator.ts';
import { statusOf } from '../../proto/status.ts';
import type { ObjectStore } from '../../store/index.ts';
import type { Leading } from '../node.ts';
import { canonicalJson } from '../../recipe/index.ts';
import { storeHoldsAnother } from '../manifests.ts';
import { reconcile } from '../reconcile.ts';
import { putRunData } from '../run-data.ts';
import { isEnded, type Command, type RunState } from '../run/index.ts';
import { FLEET, openAccess, PROJECT, PROJECT_DEFAULT } from '../access.ts';
import { overQuota } from '../quota.ts';
import { Authority } from './authority.ts';
import { unary } from './grpc.ts';
import { indexTars } from './index-tars.ts';
import { prepareSubmission } from './submission.ts';
import { eventsAfter, EVENTS_MAX, eventsTotal, newestEvents } from '../events.ts';
import { explainTask } from '../explain.ts';
import { collectGarbage } from '../garbage.ts';
import { cordonOf, cordons } from '../scheduler/index.ts';
import { runView, statusView, summaryOf, taskViewOf, workerView } from './views.ts';

/** A watcher sees progress this often, and changes at once but no closer than WATCH_MS_MIN. */
const WATCH_MS = 1_000;
const WATCH_MS_MIN = 100;
/** Whose newest events are told where no run is named. */
const RUNS_TOLD_MAX = 50;
const RUN_ID = /^[a-z0-9]([a-z0-9._-]{0,78}[a-z0-9])?$/;

export function operatorService(leading: Leading, store: ObjectStore, storeUrl: string, version: string, access = openAccess): OperatorServiceServer {
  const authority = new Authority(access);
  const view = (runId: string): RunView => {
    const leader = leading.leader();
    return runView(leader, leader.run(runId), storeUrl);
  };
  /** @param toCommand `by`: who asks, empty where nobody was asked */
  const commanded = <Request extends { readonly runId: string }>(toCommand: (request: Request, inFlightMs: number, by: string) => Command) =>
    unary(async (request: Request, { metadata }: ServerUnaryCall<Request, RunView>): Promise<RunView> => {
      authority.callerOf(metadata);
      const leader = leading.leader();
      const { name } = authority.operator(metadata, leader.run(request.runId).project);
      await leader.command(request.runId, toCommand(request, leader.scheduler.inFlightMs(request.runId, leader.now()), name));
      return view(request.runId);
    });
  const seen = (metadata: Metadata, runId: string): RunState => {
    authority.callerOf(metadata);
    const run = leading.leader().run(runId);
    authority.reader(metadata, run.project);
    return run;
  };
  /** Runs of projects that the caller may read. */
  const seenRuns = (metadata: Metadata): RunState[] => {
    const caller = authority.callerOf(metadata);
    return leading.leader().runs().filter(({ project }) => caller.roleIn(project === '' ? PROJECT_DEFAULT : project) !== undefined);
  };
  const why = (reason: string, otherwise: string, by: string): string => {
    const said = reason === '' ? otherwise : reason;
    return by === '' ? said : `${by}: ${said}`;
  };

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
      seen(call.metadata, runId);
    } catch (thrown) {
      const error = toAlumnusError(thrown);
      // Whoever does not lead cannot know the run; the first view says so.
      if (error.code.startsWith('ACCESS_')) {
        call.emit('error', statusOf(error));
        finish();
        return;
      }
    }
    try {
      stop = leading.leader().onChange(soon);
    } catch {
      // The first view says so.
    }
    send();
  };

  const index = indexTars(leading);

  return {
    getStatus: unary((_, { metadata }) => {
      authority.callerOf(metadata);
      return statusView(leading, storeUrl, version);
    }),
    submitRun: unary(async (request, { metadata }) => {
      const project = request.project === PROJECT_DEFAULT || request.project === '' ? undefined : request.project;
      authority.operator(metadata, project ?? '');
      const leader = leading.leader();
      if (project !== undefined && !PROJECT.test(project)) throw new AlumnusError('USAGE', 'a project\'s name is 1 to 63 of a-z, 0-9 and "-"', { where: project });
      if (project !== undefined && access.projects?.includes(project) === false) throw new AlumnusError('USAGE', `there is no such project; there are ${access.projects.join(', ')}`, { where: project });
      const over = overQuota(leader.runs(), access, project ?? '');
      if (over !== undefined) throw new AlumnusError('QUOTA_SPENT', over, { where: project ?? PROJECT_DEFAULT });
      const { recipe, data } = await prepareSubmission(store, request.recipe);
      const runId = request.runId === '' ? `${recipe.name}-${randomBytes(3).toString('hex')}` : request.runId;
      if (!RUN_ID.test(runId)) throw new AlumnusError('USAGE', 'a run id is 1 to 80 of a-z, 0-9, ".", "_" and "-"', { where: runId });
      const isKnown = leader.runs().some((run) => run.runId === runId);
      if (!isKnown && await storeHoldsAnother(store, runId, canonicalJson(recipe))) {
        throw new AlumnusError('RUN_CONFLICT', 'the object store holds a run of this id that this journal does not know: `alumnus reconcile --dry-run` says what can be restored; or choose another id', { where: runId });
      }
      await leader.command(runId, { kind: 'submit', runId, recipe, data, dataRef: await putRunData(store, runId, data), ...(project === undefined ? {} : { project }) });
      return { runId, warnings: data.warnings };
    }),
    listRuns: unary((_, { metadata }) => {
      const runs = seenRuns(metadata);
      const leader = leading.leader();
      return { runs: runs.map((run) => summaryOf(leader, run)).sort((a, b) => b.submittedAtMs - a.submittedAtMs), notice: leader.notice };
    }),
    getRun: unary(({ runId }, { metadata }) => {
      seen(metadata, runId);
      return view(runId);
    }),
    watchRun,
    pauseRun: commanded((request: RunCommandRequest, _, by) => ({ kind: 'pause', reason: why(request.reason, 'paused by an operator', by) })),
    resumeRun: commanded((_: RunCommandRequest, inFlightMs) => ({ kind: 'resume', inFlightMs })),
    cancelRun: commanded((request: RunCommandRequest, _, by) => ({ kind: 'cancel', reason: why(request.reason, 'cancelled by an operator', by) })),
    killRun: commanded((request: RunCommandRequest, _, by) => ({ kind: 'kill', reason: why(request.reason, 'killed by an operator', by) })),
    retryRun: commanded((_: RunCommandRequest, __, by) => ({ kind: 'retry', by })),
    promoteModel: commanded(({ iteration, reason }: ChooseModelRequest, _, by) => ({ kind: 'promote', iteration, reason: reason === '' ? 'promoted by an operator' : reason, by })),
    rollBackRun: commanded(({ iteration, reason }: ChooseModelRequest, _, by) => ({ kind: 'rollback', iteration, reason: reason === '' ? 'gone back to by an operator' : reason, by })),
    changeBudget: commanded(({ deviceHours, wallHours }: ChangeBudgetRequest, inFlightMs) => ({ kind: 'budget', deviceHours, wallHours, inFlightMs })),
    reviewLabels: commanded(({ shards, labels, reviewed, samples, behindSha256 }: ReviewLabelsRequest) => ({ kind: 'review', review: { shards, labels, reviewed, samples }, behind: behindSha256 })),
    indexTars: (call) => {
      try {
        authority.operator(call.metadata, FLEET);
      } catch (thrown) {
        call.emit('error', statusOf(toAlumnusError(thrown)));
        return;
      }
      index(call);
    },
    reconcile: unary((request, { metadata }) => {
      authority.operator(metadata, FLEET);
      return reconcile(leading.leader(), request);
    }),
    cordonWorker: unary(({ workerId, cordon }: CordonWorkerRequest, { metadata }) => {
      authority.operator(metadata, FLEET);
      const leader = leading.leader();
      if (!cordons.some((known) => known === cordon)) throw new AlumnusError('USAGE', 'a worker is cordoned, draining, or neither (empty)', { where: cordon });
      if (!leader.scheduler.cordon(workerId, cordonOf(cordon))) throw new AlumnusError('WORKER_NOT_FOUND', 'there is no such worker', { where: workerId });
      leader.log(`worker ${workerId} is ${cordon === '' ? 'given work again' : cordon}, by an operator`);
      leader.touch();
      const found = leader.scheduler.workers().find(({ worker }) => worker.workerId === workerId);
      invariant(found !== undefined, 'a worker that was cordoned is there');
      return workerView(found, leader.scheduler.isLive(workerId, leader.now()));
    }),
    explainTask: unary(({ runId, task }: ExplainTaskRequest, { metadata }) => {
      authority.callerOf(metadata);
      const leader = leading.leader();
      const told = explainTask(leader, runId, task);
      seen(metadata, told.runId);
      return { ...told, view: told.taskId === '' ? undefined : taskViewOf(leader, leader.run(told.runId), told.taskId) };
    }),
    listLogs: unary(({ runId, after, max, taskId, workerId, newest }: ListLogsRequest, { metadata }) => {
      seen(metadata, runId);
      const leader = leading.leader();
      const { lines, dropped } = leader.logs.of(runId);
      const most = max === 0 ? EVENTS_MAX : Math.min(max, EVENTS_MAX);
      const wanted = lines.filter((each) => (newest || each.number > after) && (taskId === '' || each.line.taskId === taskId) && (workerId === '' || each.workerId === workerId));
      return { lines: newest ? wanted.slice(-most) : wanted.slice(0, most), term: leader.term, dropped };
    }),
    listEvents: unary(async ({ runId, after, max, newest }: ListEventsRequest, { metadata }) => {
      authority.callerOf(metadata);
      const leader = leading.leader();
      const most = max === 0 ? EVENTS_MAX : Math.min(max, EVENTS_MAX);
      if (runId !== '') {
        const run = seen(metadata, runId);
        return { events: await (newest ? newestEvents(leader, run, most) : eventsAfter(leader, run, after, most)), total: eventsTotal(leader, run) };
      }
      const runs = seenRuns(metadata).sort((a, b) => b.submittedAtMs - a.submittedAtMs).slice(0, RUNS_TOLD_MAX);
      const events = (await Promise.all(runs.map((run) => newestEvents(leader, run, most)))).flat();
      return { events: events.sort((a, b) => a.atMs - b.atMs || a.number - b.number).slice(-most), total: 0 };
    }),
    collectGarbage: unary(({ apply, keepLabels }: CollectGarbageRequest, { metadata }) => {
      authority.operator(metadata, FLEET);
      return collectGarbage(leading.leader(), { apply, keepLabels });
    }),
    listWorkers: unary((_, { metadata }) => {
      authority.callerOf(metadata);
      const leader = leading.leader();
      return { workers: leader.scheduler.workers().map((each) => workerView(each, leader.scheduler.isLive(each.worker.workerId, leader.now()))) };
    }),
  };
}
