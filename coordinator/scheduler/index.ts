/**
 * Leases, queues, fair share and affinity. Pure: time is an argument, nothing is awaited, and equal calls give equal
 * answers. Not for: what is true of a run (that is `coordinator/run`); what is lost with this state costs work in
 * flight, never a fact.
 *
 * Invariants:
 *  1. A lease's id (term, counter) is given once.
 *  2. A worker holds at most `slots` leases, and a task that wants the device alone is the only one its worker was granted.
 *  3. One task has at most LEASES_PER_TASK_MAX live leases, never two of one worker.
 *  4. A closed task has no lease.
 *  5. On one host, by its name, one measurement is under way: another one's load would be in its latency.
 *  6. A run that is not granted from (it is paused) keeps its tasks and leases, and is given no new lease.
 *  7. A worker that is cordoned is given no new lease, and counts for nobody as one that lives.
 *  8. What `explain` says keeps a task from a worker is what `grant` goes by.
 */
import { invariant } from '../../proto/errors.ts';
import type { Task } from '../../proto/gen/alumnus/v1/task.ts';
import type { HeldLease, Lease, LeaseId, Progress } from '../../proto/gen/alumnus/v1/worker.ts';

/** The straggler's own lease and one elsewhere. */
const LEASES_PER_TASK_MAX = 2;
/** A task is a straggler when it takes this many times the median of its stage… */
const STRAGGLER_FACTOR = 3;
/** …and once this many of the stage are done, so that the median means something… */
const STRAGGLER_SAMPLES_MIN = 5;
/** …and after this long at least: a second lease costs a device. */
const STRAGGLER_AGE_MS_MIN = 2_000;
/** How far into a queue a worker's own shard or teacher is looked for; bounds the cost of a grant. */
const AFFINITY_WINDOW = 64;
/** The wait after a failure doubles from the first to the second of these. */
const BACKOFF_MS_MIN = 250;
const BACKOFF_MS_MAX = 30_000;
/** Durations kept a stage for the median. */
const DURATIONS_MAX = 101;
/** A worker is known by a name of its own for each start: who was silent for so long and holds nothing does not come back under it. */
const FORGET_WORKER_MS = 3_600_000;

export interface SchedulerOptions {
  readonly term: number;
  readonly leaseMs: number;
  /** Workers that may work for a project's runs at once. Default: all. */
  readonly devicesOf?: (project: string) => number;
}

export interface WorkerState {
  readonly workerId: string;
  readonly host: string;
  readonly processId: number;
  readonly device: string;
  readonly slots: number;
  readonly version: string;
  readonly lastSeenMs: number;
  /** Its call for work was cut, and it has not been heard of since. */
  readonly left: boolean;
  readonly holds: ReadonlySet<string>;
  /** By an operator's word; empty: none. */
  readonly cordon: Cordon;
}

/** `cordoned`: nothing more is granted to it; `draining`: nor does it keep its trainings. */
export const cordons = ['', 'cordoned', 'draining'] as const;
export type Cordon = (typeof cordons)[number];
/** What is no word of ours is none. */
export const cordonOf = (text: string | undefined): Cordon => cordons.find((known) => known === text) ?? '';

/** Why one worker is not given a task; `detail` names what has it instead. */
export type WhyNot = 'cordoned' | 'draining' | 'device-taken' | 'full' | 'finishes-first' | 'measured-beside' | 'failed-here';

export type Obstacle =
  /** The run is not granted from. */
  | { readonly kind: 'run' }
  | { readonly kind: 'back-off'; readonly untilMs: number; readonly failures: number }
  /** None lives, or those that do are cordoned. */
  | { readonly kind: 'no-worker'; readonly cordoned: number }
  | { readonly kind: 'worker'; readonly workerId: string; readonly why: WhyNot; readonly detail: string }
  /** So many tasks of the run are before it. */
  | { readonly kind: 'turn'; readonly before: number }
  /** The run's project has so many workers, and may have no more. */
  | { readonly kind: 'quota'; readonly devices: number }
  /** Runs that have less than their share. */
  | { readonly kind: 'share'; readonly runs: readonly string[] };

export interface LiveLease {
  readonly leaseId: LeaseId;
  readonly runId: string;
  readonly taskId: string;
  readonly workerId: string;
  readonly grantedAtMs: number;
  readonly deadlineMs: number;
  readonly progress: Progress | undefined;
}

interface QueuedTask {
  readonly task: Task;
  readonly leases: Set<string>;
  failures: number;
  readonly failedOn: Set<string>;
  notBeforeMs: number;
}

interface RunQueue {
  /** Empty: the default one. */
  project: string;
  weight: number;
  granting: boolean;
  tasks: Map<string, QueuedTask>;
  /** Tasks of the queue without a lease, in order of grant. */
  waiting: Set<string>;
  leased: number;
  /** Counter of the run's last lease: of equal shares the run that waited longer goes first. */
  lastGranted: number;
  /** Wall times of finished tasks by kind and iteration, for the stragglers' median. */
  durations: Map<string, number[]>;
}

const keyOf = (leaseId: LeaseId): string => `${leaseId.term}.${leaseId.counter}`;
const wantsDeviceAlone = ({ spec }: Task): boolean => spec?.$case !== 'label' && spec?.$case !== 'index';
const isTraining = ({ spec }: Task): boolean => spec?.$case === 'train' || spec?.$case === 'replica';
const isMeasurement = ({ spec }: Task): boolean => spec?.$case === 'measure';
/** A merge is short against its replicas: among their times it would make stragglers of them. */
const stageKey = (task: Task): string => `${task.iteration}/${task.stage}/${task.spec?.$case}`;

export class Scheduler {
  readonly #term: number;
  readonly #leaseMs: number;
  readonly #devicesOf: (project: string) => number;
  #counter = 0;
  readonly #runs = new Map<string, RunQueue>();
  readonly #leases = new Map<string, LiveLease>();
  readonly #workers = new Map<string, WorkerState>();
  readonly #heldBy = new Map<string, Set<string>>();
  /** When a worker's device last was done with a task, for good or bad. */
  readonly #freedMs = new Map<string, number>();

  constructor(options: SchedulerOptions) {
    this.#term = options.term;
    this.#leaseMs = options.leaseMs;
    this.#devicesOf = options.devicesOf ?? (() => Infinity);
  }

  /**
   * Replaces the open tasks of a run. Leases of tasks that are no longer open end; those of open ones live on.
   * A run that is granted from again forgets its tasks' failures: whoever resumed it asks for another go. `nowMs`: when leases end, for `heldMs`.
   */
  setTasks(runId: string, weight: number, tasks: readonly Task[], granting = true, nowMs = 0, project = ''): void {
    const before = this.#runs.get(runId);
    const resumed = granting && before?.granting === false;
    const queue: RunQueue = { project, weight, granting, tasks: new Map(), waiting: new Set(), leased: 0, lastGranted: before?.lastGranted ?? 0, durations: before?.durations ?? new Map<string, number[]>() };
    for (const task of tasks) {
      const known = before?.tasks.get(task.taskId);
      const queued: QueuedTask = known ?? { task, leases: new Set(), failures: 0, failedOn: new Set(), notBeforeMs: 0 };
      if (resumed) {
        queued.failures = 0;
        queued.failedOn.clear();
        queued.notBeforeMs = 0;
      }
      queue.tasks.set(task.taskId, queued);
      if (queued.leases.size === 0) queue.waiting.add(task.taskId);
      else queue.leased += queued.leases.size;
    }
    for (const [taskId, queued] of before?.tasks ?? []) if (!queue.tasks.has(taskId)) for (const key of queued.leases) this.#free(key, nowMs);
    if (queue.tasks.size === 0 && tasks.length === 0) this.#runs.delete(runId);
    else this.#runs.set(runId, queue);
  }

  /** The task is done or given up: its leases end and it is granted no more. @returns the task and how long its oldest live lease ran; undefined where it had none, or was not open */
  close(runId: string, taskId: string, nowMs: number): { readonly task: Task; readonly ranMs: number } | undefined {
    const queue = this.#runs.get(runId);
    const queued = queue?.tasks.get(taskId);
    if (queue === undefined || queued === undefined) return undefined;
    const first = [...queued.leases].map((key) => this.#leases.get(key)?.grantedAtMs ?? nowMs);
    const ranMs = first.length === 0 ? undefined : nowMs - Math.min(...first);
    if (ranMs !== undefined) {
      const durations = queue.durations.get(stageKey(queued.task)) ?? [];
      if (durations.length < DURATIONS_MAX) durations.push(ranMs);
      queue.durations.set(stageKey(queued.task), durations);
    }
    for (const key of queued.leases) this.#free(key, nowMs);
    queue.leased -= queued.leases.size;
    queue.tasks.delete(taskId);
    queue.waiting.delete(taskId);
    return ranMs === undefined ? undefined : { task: queued.task, ranMs };
  }

  /** A worker says who it is and what it still holds. Returns the leases it must drop, and those that its earlier self left behind. */
  register(worker: Omit<WorkerState, 'lastSeenMs' | 'left' | 'holds' | 'cordon'> & { readonly cordon?: Cordon }, held: readonly HeldLease[], nowMs: number): { lost: LeaseId[]; abandoned: LiveLease[] } {
    const before = this.#workers.get(worker.workerId);
    this.#workers.set(worker.workerId, { ...worker, lastSeenMs: nowMs, left: false, holds: before?.holds ?? new Set(), cordon: before?.cordon ?? worker.cordon ?? '' });
    const announced = new Set(held.map((each) => (each.leaseId === undefined ? '' : keyOf(each.leaseId))));
    const abandoned = [...(this.#heldBy.get(worker.workerId) ?? [])].filter((key) => !announced.has(key)).map((key) => this.#mustLease(key));
    const lost = this.renew(worker.workerId, held, nowMs);
    return { lost, abandoned };
  }

  /** Extends what the worker holds; a lease of an older term is adopted while its task is open. Returns those to drop. */
  renew(workerId: string, held: readonly HeldLease[], nowMs: number): LeaseId[] {
    this.#see(workerId, nowMs);
    const lost: LeaseId[] = [];
    for (const { leaseId, taskId, progress } of held) {
      if (leaseId === undefined) continue;
      const key = keyOf(leaseId);
      const lease = this.#leases.get(key);
      if (lease !== undefined && lease.workerId === workerId) this.#leases.set(key, { ...lease, deadlineMs: nowMs + this.#leaseMs, progress: progress ?? lease.progress });
      else if (lease !== undefined || !this.#adopt(workerId, leaseId, taskId, progress, nowMs)) lost.push(leaseId);
    }
    return lost;
  }

  #adopt(workerId: string, leaseId: LeaseId, taskId: string, progress: Progress | undefined, nowMs: number): boolean {
    // A lease of this very term that isn't known has expired or was closed here: that was decided, and stays.
    if (leaseId.term >= this.#term) return false;
    // A late message may announce what its worker no longer holds, after that worker was granted other things.
    const mine = this.#leasesOf(workerId);
    if (mine.length >= (this.#workers.get(workerId)?.slots ?? Infinity) || mine.some((lease) => lease.taskId === taskId)) return false;
    for (const [runId, queue] of this.#runs) {
      const queued = queue.tasks.get(taskId);
      if (queued === undefined) continue;
      if (queued.leases.size >= LEASES_PER_TASK_MAX) return false;
      this.#hold(runId, queue, queued, { leaseId, runId, taskId, workerId, grantedAtMs: nowMs, deadlineMs: nowMs + this.#leaseMs, progress });
      return true;
    }
    return false;
  }

  /** @returns whether there is such a worker */
  cordon(workerId: string, cordon: Cordon): boolean {
    const worker = this.#workers.get(workerId);
    if (worker !== undefined) this.#workers.set(workerId, { ...worker, cordon });
    return worker !== undefined;
  }

  /** Leases that a worker is to hand back: trainings, which go on elsewhere from their newest checkpoint. Anything else is finished sooner than it would be begun again. */
  toHandBack(workerId: string, ofRun: (runId: string) => boolean): LeaseId[] {
    const draining = this.#workers.get(workerId)?.cordon === 'draining';
    return this.#leasesOf(workerId).filter((lease) => isTraining(this.#mustQueued(lease).task) && (draining || ofRun(lease.runId))).map(({ leaseId }) => leaseId);
  }

  /** At most `max` leases for this worker now; fewer, or none, where nothing fits. */
  grant(workerId: string, max: number, holds: readonly string[], nowMs: number): Lease[] {
    const worker = this.#workers.get(workerId);
    if (worker === undefined || worker.cordon !== '') return [];
    this.#workers.set(workerId, { ...worker, lastSeenMs: nowMs, left: false, holds: new Set(holds) });
    const granted: Lease[] = [];
    while (granted.length < max) {
      const lease = this.#grantOne(workerId, nowMs);
      if (lease === undefined) break;
      granted.push(lease);
    }
    return granted;
  }

  #grantOne(workerId: string, nowMs: number): Lease | undefined {
    const worker = this.#mustWorker(workerId);
    const mine = this.#leasesOf(workerId);
    if (mine.length >= worker.slots || mine.some((lease) => wantsDeviceAlone(this.#mustQueued(lease).task))) return undefined;
    const sharedOnly = mine.length > 0;
    // Fair share: the run with the fewest leases for its weight first; by turns where a small fleet makes them equal.
    const byShare = [...this.#runs].filter(([, queue]) => queue.granting).sort(([, a], [, b]) => a.leased / a.weight - b.leased / b.weight || a.lastGranted - b.lastGranted);
    for (const [runId, queue] of byShare) {
      if (this.#quotaSpent(queue.project, workerId)) continue;
      // A worker that is topped up shard by shard is never free for a task that wants its device alone: where such a
      // task's turn has come, this worker finishes what it holds first. It costs the fleet a shard's time at most.
      if (sharedOnly && this.#turnIsOfDeviceAlone(queue, worker, nowMs)) return undefined;
      const queued = this.#pickWaiting(queue, worker, sharedOnly, nowMs) ?? this.#pickStraggler(queue, worker, sharedOnly, nowMs);
      if (queued === undefined) continue;
      this.#counter += 1;
      queue.lastGranted = this.#counter;
      const leaseId: LeaseId = { term: this.#term, counter: this.#counter };
      this.#hold(runId, queue, queued, { leaseId, runId, taskId: queued.task.taskId, workerId, grantedAtMs: nowMs, deadlineMs: nowMs + this.#leaseMs, progress: undefined });
      return { leaseId, task: queued.task, attempt: queued.failures };
    }
    return undefined;
  }

  /** Whether as many workers as it may have work for the project, and this is none of them. */
  #quotaSpent(project: string, workerId: string): boolean {
    const devices = this.#devicesOf(project);
    if (devices === Infinity) return false;
    const workers = new Set([...this.#leases.values()].filter((lease) => this.#runs.get(lease.runId)?.project === project).map((lease) => lease.workerId));
    return !workers.has(workerId) && workers.size >= devices;
  }

  /** Whether the first task of the queue that this worker could take, were it free, wants the device alone. */
  #turnIsOfDeviceAlone(queue: RunQueue, worker: WorkerState, nowMs: number): boolean {
    for (const taskId of queue.waiting) {
      const queued = queue.tasks.get(taskId);
      if (queued !== undefined && this.#mayTake(queued, worker, nowMs)) return wantsDeviceAlone(queued.task);
    }
    return false;
  }

  #mayTake(queued: QueuedTask, worker: WorkerState, nowMs: number): boolean {
    return queued.notBeforeMs <= nowMs && !this.#isMeasuredBeside(queued, worker) && this.#elsewhere(queued, worker, nowMs) === undefined;
  }

  #isMeasuredBeside({ task }: QueuedTask, { host }: WorkerState): boolean {
    return isMeasurement(task) && [...this.#leases.values()].some((lease) => this.#workers.get(lease.workerId)?.host === host && isMeasurement(this.#mustQueued(lease).task));
  }

  /** A task that failed here goes elsewhere while there is an elsewhere: a live worker that isn't shut away with a training, which may take hours. */
  #elsewhere({ failedOn }: QueuedTask, worker: WorkerState, nowMs: number): WorkerState | undefined {
    if (!failedOn.has(worker.workerId)) return undefined;
    return [...this.#workers.values()].find((other) => this.#isLive(other, nowMs) && other.cordon === '' && !failedOn.has(other.workerId) && !this.#holdsDeviceAlone(other.workerId));
  }

  #holdsDeviceAlone(workerId: string): boolean {
    return this.#leasesOf(workerId).some((lease) => wantsDeviceAlone(this.#mustQueued(lease).task));
  }

  /**
   * Why an open task that has no lease is not granted now: of itself, then worker by worker, then what goes before it. Empty where the next
   * worker that asks gets it. Undefined where the task is not open.
   */
  explain(runId: string, taskId: string, nowMs: number): Obstacle[] | undefined {
    const queue = this.#runs.get(runId);
    const queued = queue?.tasks.get(taskId);
    if (queue === undefined || queued === undefined) return undefined;
    if (queued.leases.size > 0) return [];
    const obstacles: Obstacle[] = [];
    if (!queue.granting) obstacles.push({ kind: 'run' });
    if (queued.notBeforeMs > nowMs) obstacles.push({ kind: 'back-off', untilMs: queued.notBeforeMs, failures: queued.failures });
    const living = [...this.#workers.values()].filter((worker) => this.#isLive(worker, nowMs));
    if (living.every(({ cordon }) => cordon !== '')) obstacles.push({ kind: 'no-worker', cordoned: living.length });
    const devices = this.#devicesOf(queue.project);
    if (living.some(({ workerId, cordon }) => cordon === '' && this.#quotaSpent(queue.project, workerId))) obstacles.push({ kind: 'quota', devices });
    for (const worker of living) {
      const why = this.#whyNot(queued, worker, nowMs);
      if (why !== undefined) obstacles.push({ kind: 'worker', workerId: worker.workerId, ...why });
    }
    const before = [...queue.waiting].indexOf(taskId);
    if (before > 0) obstacles.push({ kind: 'turn', before });
    const share = queue.leased / queue.weight;
    const ahead = [...this.#runs].filter(([otherId, other]) => otherId !== runId && other.granting && other.waiting.size > 0 && other.leased / other.weight <= share).map(([otherId]) => otherId);
    if (ahead.length > 0) obstacles.push({ kind: 'share', runs: ahead });
    return obstacles;
  }

  #whyNot(queued: QueuedTask, worker: WorkerState, nowMs: number): { readonly why: WhyNot; readonly detail: string } | undefined {
    const mine = this.#leasesOf(worker.workerId);
    const held = mine.map(({ taskId }) => taskId).join(', ');
    if (worker.cordon !== '') return { why: worker.cordon, detail: '' };
    if (this.#holdsDeviceAlone(worker.workerId)) return { why: 'device-taken', detail: held };
    if (mine.length >= worker.slots) return { why: 'full', detail: held };
    if (mine.length > 0 && wantsDeviceAlone(queued.task)) return { why: 'finishes-first', detail: held };
    if (this.#isMeasuredBeside(queued, worker)) return { why: 'measured-beside', detail: worker.host };
    const other = this.#elsewhere(queued, worker, nowMs);
    return other === undefined ? undefined : { why: 'failed-here', detail: other.workerId };
  }

  #pickWaiting(queue: RunQueue, worker: WorkerState, sharedOnly: boolean, nowMs: number): QueuedTask | undefined {
    let best: QueuedTask | undefined;
    let bestScore = -1;
    let looked = 0;
    for (const taskId of queue.waiting) {
      const queued = queue.tasks.get(taskId);
      invariant(queued !== undefined, 'a waiting task is in its queue');
      if ((sharedOnly && wantsDeviceAlone(queued.task)) || !this.#mayTake(queued, worker, nowMs)) continue;
      const score = queued.task.affinity.reduce((sum, digest) => sum + (worker.holds.has(digest) ? 1 : 0), 0);
      if (score > bestScore) {
        best = queued;
        bestScore = score;
      }
      looked += 1;
      if (looked >= AFFINITY_WINDOW || score === queued.task.affinity.length) break;
    }
    return best;
  }

  #pickStraggler(queue: RunQueue, worker: WorkerState, sharedOnly: boolean, nowMs: number): QueuedTask | undefined {
    for (const queued of queue.tasks.values()) {
      if (queued.leases.size === 0 || queued.leases.size >= LEASES_PER_TASK_MAX || (sharedOnly && wantsDeviceAlone(queued.task)) || !this.#mayTake(queued, worker, nowMs)) continue;
      const durations = queue.durations.get(stageKey(queued.task)) ?? [];
      if (durations.length < STRAGGLER_SAMPLES_MIN) continue;
      const median = [...durations].sort((a, b) => a - b)[durations.length >> 1] ?? 0;
      const [lease] = [...queued.leases].map((key) => this.#mustLease(key));
      if (lease === undefined || lease.workerId === worker.workerId) continue;
      if (nowMs - lease.grantedAtMs > Math.max(STRAGGLER_AGE_MS_MIN, STRAGGLER_FACTOR * median)) return queued;
    }
    return undefined;
  }

  /** Takes a lease back after a failure; the task waits, longer after each failure. Returns false where it was not held. */
  release(leaseId: LeaseId, nowMs: number, counts: boolean): boolean {
    const lease = this.#leases.get(keyOf(leaseId));
    if (lease === undefined) return false;
    const queue = this.#runs.get(lease.runId);
    const queued = queue?.tasks.get(lease.taskId);
    invariant(queue !== undefined && queued !== undefined, 'a live lease is of an open task');
    this.#free(keyOf(leaseId), nowMs);
    queued.leases.delete(keyOf(leaseId));
    queue.leased -= 1;
    if (counts) {
      queued.notBeforeMs = nowMs + Math.min(BACKOFF_MS_MAX, BACKOFF_MS_MIN * 2 ** queued.failures);
      queued.failures += 1;
      queued.failedOn.add(lease.workerId);
    }
    if (queued.leases.size === 0) queue.waiting.add(lease.taskId);
    return true;
  }

  /** The leases whose time ran out by `nowMs`, still held: the caller journals each as a failed attempt and releases it. */
  expired(nowMs: number): LiveLease[] {
    return [...this.#leases.values()].filter((lease) => lease.deadlineMs <= nowMs);
  }

  /** Gives every lease its whole time again: whoever should have read the renewals stood still, and those that came meanwhile are still to be read. */
  extendAll(nowMs: number): void {
    for (const [key, lease] of this.#leases) this.#leases.set(key, { ...lease, deadlineMs: nowMs + this.#leaseMs });
  }

  /** Forgets workers that hold nothing and were silent for FORGET_WORKER_MS. One that is heard of all the same registers anew. */
  forgetSilent(nowMs: number): void {
    for (const [workerId, { lastSeenMs }] of this.#workers) {
      if (nowMs - lastSeenMs <= FORGET_WORKER_MS || (this.#heldBy.get(workerId)?.size ?? 0) > 0) continue;
      this.#workers.delete(workerId);
      this.#heldBy.delete(workerId);
      this.#freedMs.delete(workerId);
    }
  }

  lease(leaseId: LeaseId): LiveLease | undefined {
    return this.#leases.get(keyOf(leaseId));
  }

  task(taskId: string): Task | undefined {
    for (const queue of this.#runs.values()) {
      const queued = queue.tasks.get(taskId);
      if (queued !== undefined) return queued.task;
    }
    return undefined;
  }

  isLeased(runId: string, taskId: string): boolean {
    return this.leasesOf(runId, taskId) > 0;
  }

  /** How many live for a task; without one, for any of the run's. */
  leasesOf(runId: string, taskId?: string): number {
    const queue = this.#runs.get(runId);
    return (taskId === undefined ? queue?.leased : queue?.tasks.get(taskId)?.leases.size) ?? 0;
  }

  /** The open tasks of a run with the leases that live for each. */
  tasksOf(runId: string): { task: Task; leases: LiveLease[]; failures: number; notBeforeMs: number }[] {
    return [...(this.#runs.get(runId)?.tasks.values() ?? [])].map((queued) => ({
      task: queued.task, failures: queued.failures, notBeforeMs: queued.notBeforeMs, leases: [...queued.leases].map((key) => this.#mustLease(key)),
    }));
  }

  /**
   * How long this lease has had its worker's device, in milliseconds. A device works on one task at a time while the next
   * ones load: it has the oldest of its worker's leases in hand, since that was granted or, if that was later, since it
   * was done with the one before. So of leases that end together each is given a part, and the device's time is counted once; but where a later one was done first,
   * which has told its own time, that is in the older one's, too.
   */
  heldMs({ leaseId, workerId }: LiveLease, nowMs: number): number {
    const [inHand] = this.#leasesOf(workerId);
    if (inHand === undefined || keyOf(inHand.leaseId) !== keyOf(leaseId)) return 0;
    return Math.max(0, nowMs - Math.max(inHand.grantedAtMs, this.#freedMs.get(workerId) ?? 0));
  }

  /** How long this run's attempts under way have had their devices, in milliseconds. */
  inFlightMs(runId: string, nowMs: number): number {
    return [...this.#leases.values()].reduce((sum, lease) => sum + (lease.runId === runId ? this.heldMs(lease, nowMs) : 0), 0);
  }

  workers(): { worker: WorkerState; leases: LiveLease[] }[] {
    return [...this.#workers.values()].map((worker) => ({ worker, leases: this.#leasesOf(worker.workerId) }));
  }

  worker(workerId: string): WorkerState | undefined {
    return this.#workers.get(workerId);
  }

  /** The connection of a worker that waited for work ended: it died, unless it is heard of again. Its leases run on. */
  leave(workerId: string): void {
    const worker = this.#workers.get(workerId);
    if (worker !== undefined) this.#workers.set(workerId, { ...worker, left: true });
  }

  /** Those that take work. */
  liveWorkers(nowMs: number): number {
    return [...this.#workers.values()].filter((worker) => this.#isLive(worker, nowMs) && worker.cordon === '').length;
  }

  isLive(workerId: string, nowMs: number): boolean {
    const worker = this.#workers.get(workerId);
    return worker !== undefined && this.#isLive(worker, nowMs);
  }

  /**
   * A worker with a free slot is heard of as long as its Acquire is open, one without by its renewals; who is silent for
   * a lease has lost what it held, and is lost itself.
   */
  #isLive(worker: WorkerState, nowMs: number): boolean {
    return !worker.left && nowMs - worker.lastSeenMs <= this.#leaseMs;
  }

  #see(workerId: string, nowMs: number): void {
    const worker = this.#workers.get(workerId);
    if (worker !== undefined) this.#workers.set(workerId, { ...worker, lastSeenMs: nowMs, left: false });
  }

  #hold(runId: string, queue: RunQueue, queued: QueuedTask, lease: LiveLease): void {
    invariant(queue === this.#runs.get(runId), 'a lease is of a queue that is there');
    invariant(queued.leases.size < LEASES_PER_TASK_MAX && ![...queued.leases].some((each) => this.#mustLease(each).workerId === lease.workerId), `a task has at most ${LEASES_PER_TASK_MAX} leases, of different workers`);
    invariant((this.#heldBy.get(lease.workerId)?.size ?? 0) < (this.#workers.get(lease.workerId)?.slots ?? Infinity), 'a worker is given no more leases than it has slots');
    const key = keyOf(lease.leaseId);
    this.#leases.set(key, lease);
    queued.leases.add(key);
    queue.waiting.delete(lease.taskId);
    queue.leased += 1;
    const held = this.#heldBy.get(lease.workerId) ?? new Set();
    held.add(key);
    this.#heldBy.set(lease.workerId, held);
  }

  /** The lease ends, and what was next to it has the device. */
  #free(key: string, nowMs: number): void {
    const lease = this.#leases.get(key);
    if (lease === undefined) return;
    const [inHand] = this.#leasesOf(lease.workerId);
    if (inHand === lease) this.#freedMs.set(lease.workerId, Math.max(nowMs, this.#freedMs.get(lease.workerId) ?? 0));
    this.#leases.delete(key);
    this.#heldBy.get(lease.workerId)?.delete(key);
  }

  #leasesOf(workerId: string): LiveLease[] {
    return [...(this.#heldBy.get(workerId) ?? [])].map((key) => this.#mustLease(key));
  }

  #mustLease(key: string): LiveLease {
    const lease = this.#leases.get(key);
    invariant(lease !== undefined, `lease ${key} is live`);
    return lease;
  }

  #mustQueued(lease: LiveLease): QueuedTask {
    const queued = this.#runs.get(lease.runId)?.tasks.get(lease.taskId);
    invariant(queued !== undefined, `lease of ${lease.taskId} is of an open task`);
    return queued;
  }

  #mustWorker(workerId: string): WorkerState {
    const worker = this.#workers.get(workerId);
    invariant(worker !== undefined, `worker ${workerId} is registered`);
    return worker;
  }
}
