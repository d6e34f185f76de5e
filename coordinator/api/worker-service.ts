/** What workers say, answered: leases from the scheduler, results into the journal. One small function a call. */
import type { ServerUnaryCall } from '@grpc/grpc-js';
import { AlumnusError, isErrorCode, toAlumnusError } from '../../proto/errors.ts';
import type { AcquireRequest, AcquireResponse, CompleteRequest, CompleteResponse, FailRequest, FailResponse, HeldLease, RegisterRequest, RegisterResponse, RenewRequest, RenewResponse, WorkerServiceServer } from '../../proto/gen/alumnus/v1/worker.ts';
import type { Leader } from '../leader.ts';
import type { Leading } from '../node.ts';
import { isCancelling } from '../run/index.ts';
import { cordonOf } from '../scheduler/index.ts';
import { openAccess } from '../access.ts';
import { Authority } from './authority.ts';
import { unary } from './grpc.ts';

/** Longest that one Acquire is held open; shorter than proxies' usual idle time-outs. */
const WAIT_MS_MAX = 30_000;
/** A worker renews this many times within a lease, so that two lost calls cost nothing. */
const RENEWALS_PER_LEASE = 4;
/** An open Acquire looks this often whether its worker is still there, and says so; backed-off tasks get free meanwhile. */
const LOOK_MS_MAX = 500;

export function workerService(leading: Leading, storeUrl: string, authority = new Authority(openAccess)): WorkerServiceServer {
  async function register(request: RegisterRequest): Promise<RegisterResponse> {
    const { workerId, host, processId, device, slots, version } = request;
    const leader = leading.leader();
    takeCheckpoints(leader, workerId, request.held);
    if (workerId === '') throw new AlumnusError('USAGE', 'a worker must name itself', { where: 'worker_id' });
    tellOf(leader, request);
    const { lost, abandoned } = leader.scheduler.register({ workerId, host, processId, device, slots: Math.max(1, slots), version, cordon: cordonOf(request.cordon) }, request.held, leader.now());
    await Promise.all(abandoned.map((lease) => leader.failLease(lease, 'WORKER_RESTARTED', `worker ${workerId} came back without it`, true)));
    leader.touch();
    return { term: leader.term, leaseMs: leader.leaseMs, renewEveryMs: Math.floor(leader.leaseMs / RENEWALS_PER_LEASE), lost, storeUrl };
  }

  async function acquire(request: AcquireRequest, call: ServerUnaryCall<AcquireRequest, AcquireResponse>): Promise<AcquireResponse> {
    const { workerId, max, holds } = request;
    const leader = leading.leader();
    const now = (): number => leader.now();
    if (leader.scheduler.worker(workerId) === undefined) throw new AlumnusError('NOT_LEADER', `worker ${workerId} has not registered with this leader`);
    const untilMs = now() + Math.min(request.waitMs, WAIT_MS_MAX);
    const cordon = (): string => leader.scheduler.worker(workerId)?.cordon ?? '';
    const before = cordon();
    for (;;) {
      if (leader.failure !== undefined) throw leader.failure;
      if (call.cancelled) {
        // The worker is gone: nobody would do what it is granted.
        leader.scheduler.leave(workerId);
        leader.touch();
        return { term: leader.term, leases: [] };
      }
      // It is to know, so that it can say so to the next leader.
      if (cordon() !== before) return { term: leader.term, leases: [], cordon: cordon() };
      const leases = leader.grant(workerId, max, holds);
      if (leases.length > 0) {
        leader.touch();
        const portable = await leader.portable(leases);
        if (!call.cancelled) return { term: leader.term, leases: portable, cordon: cordon() };
        // Nobody heard of them: others need not wait for their time to be over.
        leader.takeBack(leases);
        continue;
      }
      const waitMs = Math.min(untilMs - now(), now() < leader.grantsFromMs ? leader.grantsFromMs - now() : Math.min(LOOK_MS_MAX, leader.leaseMs / 2));
      if (waitMs <= 0) return { term: leader.term, leases: [], cordon: cordon() };
      await changeOr(leader, waitMs);
    }
  }

  function renew(request: RenewRequest): RenewResponse {
    const leader = leading.leader();
    takeCheckpoints(leader, request.workerId, request.held);
    const lost = leader.scheduler.renew(request.workerId, request.held, leader.now());
    // A worker that is called in process may leave it out.
    const { lines = [] }: Partial<RenewRequest> = request;
    if (lines.length > 0) {
      const known = new Set(leader.runs().map(({ runId }) => runId));
      for (const line of lines) if (known.has(line.runId)) leader.logs.add(line, request.workerId);
    }
    const handBack = leader.scheduler.toHandBack(request.workerId, (runId) => isCancelling(leader.run(runId)));
    return { term: leader.term, lost, cordon: leader.scheduler.worker(request.workerId)?.cordon, handBack };
  }

  async function complete(request: CompleteRequest): Promise<CompleteResponse> {
    const { taskId, workerId, result } = request;
    const leader = leading.leader();
    if (result?.result === undefined) throw new AlumnusError('USAGE', 'a completion carries a result', { where: taskId });
    const task = leader.scheduler.task(taskId);
    if (task === undefined) return { accepted: false, reason: 'the task is closed' };
    if (task.spec?.$case !== result.result.$case) throw new AlumnusError('USAGE', `a ${task.spec?.$case ?? 'nameless'} task can't be completed by a ${result.result.$case} result`, { where: taskId });
    if (task.spec.$case === 'index') {
      leader.indexing.complete(task, leader.now());
      leader.touch();
      return { accepted: true, reason: '' };
    }
    try {
      await leader.command(task.runId, { kind: 'complete', task, workerId, result });
      return { accepted: true, reason: '' };
    } catch (thrown) {
      const error = toAlumnusError(thrown);
      if (error.code === 'LEASE_LOST') return { accepted: false, reason: error.message };
      throw error;
    }
  }

  async function fail(request: FailRequest): Promise<FailResponse> {
    const leader = leading.leader();
    // Before the task is granted again. One that is none must not keep the failure from being one.
    if (request.checkpoint !== undefined) await leader.checkpoint(request.taskId, request.workerId, request.checkpoint).catch(ignoreUsage);
    const lease = request.leaseId === undefined ? undefined : leader.scheduler.lease(request.leaseId);
    // A lease that already ended was journalled then; to count it again would be to count one failure twice.
    if (lease?.workerId === request.workerId) {
      const code = isErrorCode(request.code) ? request.code : 'INTERNAL';
      await leader.failLease(lease, code, request.message, request.counts);
    }
    return {};
  }

  const allowed = <Request, Response>(handle: (request: Request, call: ServerUnaryCall<Request, Response>) => Response | Promise<Response>) => (request: Request, call: ServerUnaryCall<Request, Response>): Response | Promise<Response> => {
    authority.worker(call.metadata);
    return handle(request, call);
  };
  return {
    register: unary(allowed(register)), acquire: unary(allowed(acquire)), renew: unary(allowed(renew)), complete: unary(allowed(complete)), fail: unary(allowed(fail)),
  };
}

/**
 * Journals the checkpoints that a worker tells of, whatever becomes of its leases: a training's bytes are the same whoever
 * wrote them. No renewal waits for the journal: what isn't a fact by the next one is said again there.
 */
function takeCheckpoints(leader: Leader, workerId: string, held: readonly HeldLease[]): void {
  for (const { taskId, checkpoint } of held) if (checkpoint !== undefined) leader.checkpoint(taskId, workerId, checkpoint).catch(() => undefined);
}

/** A worker that registers again with the same leader is no news; one that comes as another process is, since two of one id take each other's leases. */
function tellOf(leader: Leader, { workerId, host, processId }: RegisterRequest): void {
  const before = leader.scheduler.worker(workerId);
  const isLive = leader.scheduler.isLive(workerId, leader.now());
  if (before?.host === host && before.processId === processId && isLive) return;
  const other = before !== undefined && isLive ? `; it was here as process ${before.processId} on ${before.host} a moment ago: it was restarted, or two workers have one --id` : '';
  leader.log(`worker ${workerId} registered: process ${processId} on ${host}${other}`, { worker: workerId });
}

function ignoreUsage(thrown: unknown): void {
  if (!(thrown instanceof AlumnusError && thrown.code === 'USAGE')) throw thrown;
}

/** Resolves at the leader's next change, or after `ms`. */
function changeOr(leader: Leader, ms: number): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      stop();
      clearTimeout(timer);
      resolve();
    };
    const timer = setTimeout(done, ms);
    const stop = leader.onChange(done);
  });
}
