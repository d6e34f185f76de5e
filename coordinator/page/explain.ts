/** Why a task is not running, or what has it: as far as the run and the leases of the moment tell. */
import { AlumnusError } from '../../proto/errors.ts';
import { API_VERSION } from '../../proto/machine.ts';
import type { ExplainAnswer } from '../../proto/page.ts';
import type { Leader } from '../leader.ts';

/** @throws AlumnusError RUN_NOT_FOUND, USAGE (no open task of the run) */
export function explainTask(leader: Leader, runId: string, taskId: string): ExplainAnswer {
  const run = leader.run(runId);
  const open = leader.scheduler.tasksOf(runId).find(({ task }) => task.taskId === taskId);
  if (open === undefined) throw new AlumnusError('USAGE', 'the run has no open task of this id: it is done, given up, or still to come', { where: taskId });
  const nowMs = leader.now();
  const failures = run.failures.get(taskId) ?? [];
  const reasons = [
    ...open.leases.map(({ workerId, grantedAtMs }) => ({ kind: 'leased', text: `worker ${workerId} has it since ${Math.round((nowMs - grantedAtMs) / 1000)} s` })),
    ...(open.leases.length > 0 ? [] : [
      ...(run.phase === 'running' ? [] : [{ kind: 'run', text: `the run is ${run.phase}: ${run.reason}` }]),
      ...(leader.scheduler.liveWorkers(nowMs) > 0 ? [] : [{ kind: 'no-worker', text: 'no worker is there' }]),
      ...(open.notBeforeMs > nowMs ? [{ kind: 'back-off', text: `it failed, and is granted again in ${Math.ceil((open.notBeforeMs - nowMs) / 1000)} s` }] : []),
      { kind: 'share', text: 'it waits for its turn: workers have other tasks in hand' },
    ]),
    ...failures.map(({ workerId, code, message }) => ({ kind: 'failed', text: `it failed on worker ${workerId}: ${code}: ${message}` })),
  ];
  return { apiVersion: API_VERSION, kind: 'TaskExplained', taskId, state: open.leases.length > 0 ? 'leased' : 'waiting', reasons };
}
