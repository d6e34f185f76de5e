/** Workers as the page lists them: of a large fleet a part at a time, counted, searched and in order, from one look at the scheduler for all who ask. */
import { pageForm } from '../../proto/machine.ts';
import type { FleetCounts, WorkerRow, WorkersAnswer } from '../../proto/page.ts';
import { stageName } from '../../proto/stages.ts';
import { API_VERSION } from '../../proto/machine.ts';
import { workerView } from '../api/index.ts';
import type { Leader } from '../leader.ts';
import type { LiveLease, WorkerState } from '../scheduler/index.ts';

export interface WorkersQuestion {
  readonly from: number;
  readonly count: number;
  /** Empty: any. */
  readonly state: string;
  /** In id, host, device or a task's id; empty: any. */
  readonly search: string;
}

interface Seen {
  readonly worker: WorkerState;
  readonly leases: readonly LiveLease[];
  readonly state: 'busy' | 'idle' | 'lost';
}

export interface Roster {
  /** By id. */
  readonly seen: readonly Seen[];
  readonly counts: FleetCounts;
}

const byId = (a: Seen, b: Seen): number => (a.worker.workerId < b.worker.workerId ? -1 : 1);

export function rosterOf(leader: Leader): Roster {
  const nowMs = leader.now();
  const counts = { busy: 0, idle: 0, lost: 0 };
  const seen = leader.scheduler.workers().map(({ worker, leases }): Seen => {
    const state = !leader.scheduler.isLive(worker.workerId, nowMs) ? 'lost' : leases.length > 0 ? 'busy' : 'idle';
    counts[state] += 1;
    return { worker, leases, state };
  });
  return { seen: seen.sort(byId), counts };
}

export function workersAnswer(leader: Leader, { seen, counts }: Roster, { from, count, state, search }: WorkersQuestion): WorkersAnswer {
  const wanted = search.toLowerCase();
  const holds = ({ worker, leases }: Seen): boolean =>
    [worker.workerId, worker.host, worker.device, ...leases.map(({ taskId }) => taskId)].some((text) => text.toLowerCase().includes(wanted));
  const matching = state === '' && wanted === '' ? seen : seen.filter((each) => (state === '' || each.state === state) && (wanted === '' || holds(each)));
  const teachers = teachersOf(leader);
  return {
    apiVersion: API_VERSION, kind: 'WorkerList', counts, matching: matching.length, from,
    workers: matching.slice(from, from + count).map((each) => rowOf(leader, each, teachers)),
  };
}

export function rowOf(leader: Leader, { worker, leases, state }: Seen, teachers = teachersOf(leader)): WorkerRow {
  const [inHand] = leases;
  const task = inHand === undefined ? undefined : leader.scheduler.task(inHand.taskId);
  const teacher = [...worker.holds].reverse().flatMap((digest) => teachers.get(digest) ?? [])[0];
  const view = pageForm(workerView({ worker, leases: [...leases] }, state !== 'lost')) as Omit<WorkerRow, 'task' | 'teacher'>;
  return {
    ...view,
    ...(task === undefined ? {} : {
      task: {
        taskId: task.taskId, runId: task.runId, iteration: task.iteration, stage: stageName(task.stage), subject: task.subject, ...(inHand?.progress === undefined ? {} : { progress: inHand.progress }),
      },
    }),
    ...(teacher === undefined ? {} : { teacher }),
  };
}

/** What labels by digest: of every run that goes on its teachers so far. */
function teachersOf(leader: Leader): ReadonlyMap<string, { runId: string; iteration: number }> {
  const teachers = new Map<string, { runId: string; iteration: number }>();
  for (const { runId, teacher, promoted } of leader.runs()) {
    for (const each of [...promoted, ...(teacher === undefined ? [] : [teacher])]) teachers.set(each.model.sha256, { runId, iteration: each.iteration });
  }
  return teachers;
}
