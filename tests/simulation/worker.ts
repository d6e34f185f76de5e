/**
 * A worker as coordinators meet it: it does what worker/lease-loop does (find who leads, register, acquire, renew, report
 * until answered), and it crashes, stops for a while, drains and comes back. Outputs and record are in the store before it reports. What it computes is a pure function of the task.
 */
import { Addresses } from '../../proto/call.ts';
import { AlumnusError, errorTable, isErrorCode } from '../../proto/errors.ts';
import type { ObjectStore } from '../../store/index.ts';
import type { Checkpoint, Task, TaskResult } from '../../proto/gen/alumnus/v1/task.ts';
import type { AcquireResponse, CompleteResponse, Lease, LeaseId, RegisterResponse, RenewResponse } from '../../proto/gen/alumnus/v1/worker.ts';
import { finished, store } from '../unit/coordinator/bucket.ts';
import { digestOf, type Checker } from './checker.ts';
import type { Answer, Method, Network } from './network.ts';
import type { Plan } from './plan.ts';
import { Violation } from './violation.ts';
import type { World } from './world.ts';

const BACKOFF_MS_MIN = 100;
const BACKOFF_MS_MAX = 5_000;
/** Between two looks for who leads. */
const LOOK_MS_MAX = 500;
const SLOW_FACTOR = 20;
/** A part of a training takes the part of a training's time that its steps are of so many. */
const STEPS_OF_TRAIN_MS = 1_000;

interface Held {
  readonly leaseId: LeaseId;
  readonly lease: Lease;
  dropped: boolean;
  progress: number;
  checkpoint: Checkpoint | undefined;
  /** The engine has ended. */
  ended: boolean;
}

export interface Surroundings {
  readonly world: World;
  readonly plan: Plan;
  readonly network: Network;
  readonly checker: Checker;
  readonly store: (workerId: string) => ObjectStore;
  /** With commas between them. */
  readonly addresses: string;
  readonly faulty: () => boolean;
  /** The last labels of each shard, by whomever, and their task. */
  readonly labels: Map<string, { taskId: string; result: TaskResult }>;
  /** An object is gone from the store. */
  readonly forget: (key: string) => Promise<void>;
  /** A check failed where nobody waits. */
  readonly broke: (thrown: Violation) => void;
  readonly isPoison: (runId: string, shard: string) => boolean;
}

/** Of a replica: its checkpoints count the steps of the whole training. */
const firstStepOf = ({ spec }: Task): number => (spec?.$case === 'replica' ? spec.value.firstStep : 0);

const keyOf = (leaseId: LeaseId): string => `${leaseId.term}.${leaseId.counter}`;

export class SimulatedWorker {
  readonly workerId: string;
  readonly #at: Surroundings;
  readonly #held = new Map<string, Held>();
  readonly #holds = new Set<string>();
  readonly #addresses: Addresses;
  readonly #rate: number;
  readonly #store: ObjectStore;
  /** Raised by each start: what an earlier process had in mind no longer happens. */
  #process = 0;
  #running = false;
  #draining = false;
  #pausedUntilMs = 0;
  #term = 0;
  #renewEveryMs = 1_000;
  /** Renewals that fail while nobody leads ask for one registration, not for one each. */
  #reregisters = false;
  #failures = 0;

  constructor(workerId: string, at: Surroundings) {
    this.workerId = workerId;
    this.#at = at;
    this.#addresses = new Addresses(at.addresses);
    this.#store = at.store(workerId);
    const { workerRates } = at.plan;
    this.#rate = workerRates[Number(workerId.slice(1)) % workerRates.length] ?? 1;
  }

  get isRunning(): boolean {
    return this.#running;
  }

  start(): void {
    this.#process += 1;
    this.#held.clear();
    this.#running = true;
    this.#draining = false;
    this.#failures = 0;
    this.#reregisters = false;
    this.#register(() => this.#acquire());
    this.#later(this.#renewEveryMs, () => this.#renew());
  }

  crash(): void {
    this.#process += 1;
    this.#running = false;
    this.#held.clear();
  }

  /** The process stands still, and goes on later as if nothing had happened. */
  pause(ms: number): void {
    this.#pausedUntilMs = this.#at.world.nowMs + Math.round(ms);
  }

  /** Hands back what is held and ends. */
  drain(): void {
    this.#draining = true;
    for (const held of this.#held.values()) {
      held.dropped = true;
      this.#call('fail', { ...this.#naming(held), code: 'WORKER_STOPPED', message: 'the worker was asked to stop', counts: false, checkpoint: held.checkpoint }, () => undefined);
    }
    this.#later(1_000, () => this.crash());
  }

  /** Runs later in this very process, and after its pause if it has one. */
  #later(ms: number, run: () => void): void {
    const process = this.#process;
    const wake = (): void => {
      if (process !== this.#process) return;
      const { nowMs } = this.#at.world;
      if (nowMs < this.#pausedUntilMs) this.#at.world.after(this.#pausedUntilMs - nowMs, wake);
      else run();
    };
    this.#at.world.after(ms / this.#rate, wake);
  }

  #call<Response>(method: Method, request: object, onAnswer: (answer: Answer<Response>) => void, onResponse?: (response: Response) => void): void {
    const process = this.#process;
    const asked = this.#addresses.current;
    this.#at.network.call<Response>(this.workerId, asked, method, { workerId: this.workerId, ...request }, (given) => {
      if (process !== this.#process) return;
      this.#later(0, () => {
        if ('error' in given && this.#addresses.current === asked) {
          if (given.error === 'NOT_LEADER') {
            if (given.where !== '') this.#at.world.count('branch: a standby sends a worker on to the leader');
            this.#addresses.redirect(given.where);
          } else if (['UNREACHABLE', 'TIMED_OUT', 'JOURNAL_UNREACHABLE'].includes(given.error)) this.#addresses.next();
        }
        onAnswer(given);
      });
    }, onResponse);
  }

  #backoff(most = BACKOFF_MS_MAX): number {
    const bound = Math.min(most, BACKOFF_MS_MIN * 2 ** this.#failures);
    this.#failures += 1;
    return bound / 2 + this.#at.world.random.next() * (bound / 2);
  }

  #announce(): unknown[] {
    return [...this.#held.values()].map(({ leaseId, lease, progress, checkpoint }) => ({ leaseId, taskId: lease.task?.taskId ?? '', checkpoint, progress: { done: progress, total: lease.task?.work ?? 0, unit: 'images', rate: 1, loss: 0 } }));
  }

  #naming(held: Held): { leaseId: LeaseId; taskId: string } {
    return { leaseId: held.leaseId, taskId: held.lease.task?.taskId ?? '' };
  }

  #register(then: () => void): void {
    const { plan } = this.#at;
    const request = { host: 'simulated', processId: this.#process, device: 'none', slots: plan.slots, held: this.#announce(), version: '0.1.0' };
    this.#call<RegisterResponse>('register', request, (given) => {
      if ('error' in given) {
        this.#later(this.#backoff(LOOK_MS_MAX), () => this.#register(then));
        return;
      }
      this.#failures = 0;
      this.#term = given.response.term;
      this.#renewEveryMs = given.response.renewEveryMs;
      this.#drop(given.response.lost);
      then();
    });
  }

  #acquire(): void {
    if (this.#draining) return;
    const { plan, checker } = this.#at;
    const free = plan.slots - this.#held.size;
    if (free <= 0) {
      this.#later(plan.pollMs, () => this.#acquire());
      return;
    }
    this.#call<AcquireResponse>('acquire', { max: free, waitMs: 0, holds: [...this.#holds] }, (given) => {
      if ('error' in given) {
        if (['NOT_LEADER', 'UNREACHABLE', 'JOURNAL_UNREACHABLE'].includes(given.error)) this.#register(() => this.#acquire());
        else this.#later(this.#backoff(), () => this.#acquire());
        return;
      }
      this.#failures = 0;
      for (const lease of given.response.leases) this.#begin(lease);
      this.#later(given.response.leases.length > 0 ? 0 : plan.pollMs, () => this.#acquire());
    }, (response) => {
      for (const { task } of response.leases) if (task !== undefined) checker.handedOut(task, response.term);
    });
  }

  #renew(): void {
    this.#later(this.#renewEveryMs, () => this.#renew());
    if (this.#held.size === 0) return;
    this.#call<RenewResponse>('renew', { held: this.#announce() }, (given) => {
      if ('error' in given) {
        if (given.error !== 'TIMED_OUT') this.#reregister();
        return;
      }
      this.#drop(given.response.lost);
      if (given.response.term !== this.#term) this.#reregister();
    });
  }

  #reregister(): void {
    if (this.#reregisters) return;
    this.#reregisters = true;
    this.#register(() => {
      this.#reregisters = false;
    });
  }

  #drop(lost: readonly LeaseId[]): void {
    for (const leaseId of lost) {
      const held = this.#held.get(keyOf(leaseId));
      if (held === undefined) continue;
      held.dropped = true;
      this.#held.delete(keyOf(leaseId));
      this.#at.world.count('branch: a worker is told that its lease is lost');
    }
  }

  #begin(lease: Lease): void {
    const { leaseId, task } = lease;
    if (leaseId === undefined || task === undefined || this.#held.has(keyOf(leaseId))) return;
    const held: Held = { leaseId, lease, dropped: false, progress: 0, checkpoint: undefined, ended: false };
    this.#held.set(keyOf(leaseId), held);
    if (task.checkpoints.length === 0) {
      this.#do(held, task, firstStepOf(task));
      return;
    }
    const process = this.#process;
    this.#resume(task).then((step) => {
      if (process === this.#process && !held.dropped) this.#do(held, task, step);
    }, (thrown: unknown) => {
      if (thrown instanceof Violation) this.#at.broke(thrown);
      // A store that doesn't answer fails the attempt.
      else if (process === this.#process && !held.dropped) this.#fail(held, 'STORE_UNREACHABLE');
    });
  }

  /** The step of the newest checkpoint that is whole, or the task's first one. @throws where the store is away */
  async #resume(task: Task): Promise<number> {
    const { world, checker } = this.#at;
    for (const [at, { step, ref }] of task.checkpoints.entries()) {
      try {
        if (ref === undefined) continue;
        await this.#store.get(ref);
        world.count(at === 0 ? 'branch: a training goes on from its checkpoint' : 'branch: a training goes on from the checkpoint before');
        checker.resumed(task, step, ref.sha256);
        return step;
      } catch (thrown) {
        if (!(thrown instanceof AlumnusError) || thrown.retryable) throw thrown;
      }
    }
    world.count('branch: a training begins anew, its checkpoints are lost');
    return firstStepOf(task);
  }

  /** Does a task, a training from `from` steps on. */
  #do(held: Held, task: Task, from: number): void {
    const { world, plan, faulty, isPoison } = this.#at;
    const { random } = world;
    const first = firstStepOf(task);
    const wholeMs = task.spec?.$case === 'train' ? plan.trainMs : task.spec?.$case === 'replica' ? plan.trainMs * (task.work / STEPS_OF_TRAIN_MS) : plan.labelMs;
    let ms = wholeMs * (0.5 + random.next()) * (from === first ? 1 : 1 - (from - first) / task.work);
    if (faulty() && random.chance(plan.chance.slowTask)) {
      world.count('fault: slow task');
      ms *= SLOW_FACTOR;
    }
    const poisoned = task.spec?.$case === 'label' && isPoison(task.runId, task.subject);
    const crashes = poisoned || (faulty() && random.chance(plan.chance.engineCrash));
    const end = first + task.work;
    for (let step = from + task.checkpointSteps; task.checkpointSteps > 0 && step < end; step += task.checkpointSteps) {
      this.#later(ms * ((step - from) / (end - from)), () => this.#keep(held, task, step));
    }
    this.#later(crashes ? ms * random.next() : ms, () => {
      if (held.dropped) return;
      held.ended = true;
      if (!crashes) {
        for (const digest of task.affinity) this.#holds.add(digest);
        held.progress = task.work;
        this.#write(held, task);
        return;
      }
      world.count(poisoned ? 'fault: poison shard' : 'fault: engine crash');
      // Some poison kills the worker with the engine, and then nobody reports.
      if (poisoned && faulty() && random.chance(0.2)) {
        world.count('fault: poison kills the worker');
        this.crash();
        world.after(5_000, () => {
          if (!this.#running) this.start();
        });
        return;
      }
      this.#fail(held);
    });
  }

  /** A checkpoint lies in the store before it is told of; where the store refuses, the training goes on without. */
  #keep(held: Held, task: Task, step: number): void {
    if (held.dropped || held.ended) return;
    const { world, plan, faulty, forget } = this.#at;
    const process = this.#process;
    const salt = plan.chance.differentResult > 0 ? `${this.workerId} ${keyOf(held.leaseId)}` : '';
    this.#store.putAddressed(task.outputPrefix, Buffer.from(`checkpoint of ${task.taskId} at ${step} ${salt}`), { extension: '.checkpoint', metadata: { 'alumnus.step': String(step) } }).then((ref) => {
      if (plan.chance.checkpointLost > 0 && faulty() && world.random.chance(plan.chance.checkpointLost)) {
        world.count('fault: a checkpoint is lost');
        void forget(ref.key);
      }
      if (process === this.#process && !held.dropped && step > (held.checkpoint?.step ?? 0)) held.checkpoint = { step, ref };
    }, () => undefined);
  }

  /** Outputs, then the record, as the engine does; where the store refuses, the attempt has failed. */
  #write(held: Held, task: Task): void {
    const { plan } = this.#at;
    const done = finished(task, plan.chance.differentResult > 0 ? `${this.workerId} ${keyOf(held.leaseId)}` : undefined);
    const { result } = done;
    const process = this.#process;
    store(this.#store, task, this.workerId, done).then(() => 'written', () => 'refused').then((how) => {
      if (process !== this.#process || held.dropped) return;
      if (how === 'written') this.#report(held, result);
      else this.#fail(held, 'STORE_UNREACHABLE');
    }, () => undefined);
  }

  #fail(held: Held, code = 'ENGINE_CRASHED'): void {
    this.#call('fail', { ...this.#naming(held), code, message: 'it died', counts: true, checkpoint: held.checkpoint }, (given) => {
      if ('error' in given && !held.dropped) this.#later(this.#backoff(LOOK_MS_MAX), () => this.#fail(held, code));
      else this.#held.delete(keyOf(held.leaseId));
    });
  }

  #report(held: Held, result: TaskResult): void {
    const { world, plan, faulty, checker } = this.#at;
    const { task } = held.lease;
    if (task === undefined || held.dropped) return;
    const bad = faulty() && world.random.chance(plan.chance.badResult);
    if (bad) world.count('fault: result of the wrong form');
    const shard = `${task.runId} ${task.subject}`;
    const former = result.result?.$case === 'label' ? this.#at.labels.get(shard) : undefined;
    if (former !== undefined && former.taskId !== task.taskId && plan.chance.formerTeacher > 0 && faulty() && world.random.chance(plan.chance.formerTeacher)) {
      this.#reportFormer(held, former);
      return;
    }
    if (result.result?.$case === 'label') this.#at.labels.set(shard, { taskId: task.taskId, result });
    this.#call<CompleteResponse>('complete', { ...this.#naming(held), result: bad ? spoiled(result) : result }, (given) => {
      if ('error' in given && !held.dropped) {
        const { error } = given;
        if (isErrorCode(error) && errorTable[error].kind === 'terminal') {
          world.count('branch: a result that is refused for good is reported as a failure');
          this.#fail(held, error);
        } else this.#later(this.#backoff(LOOK_MS_MAX), () => this.#report(held, result));
      } else this.#held.delete(keyOf(held.leaseId));
    }, (response) => {
      if (response.accepted) {
        checker.acknowledged(task.taskId, this.workerId, digestOf(result));
        if (held.leaseId.term < this.#term) world.count('branch: a result of an older term\'s lease is accepted');
      } else if (checker.isAccepted(task.taskId)) world.count('branch: a second completion is refused');
      else world.count('branch: a completion of a closed task is refused');
    });
  }

  /** Labels of the former teacher, as the new task's or as those of the task that they were: never to be taken. */
  #reportFormer(held: Held, former: { taskId: string; result: TaskResult }): void {
    const { world } = this.#at;
    const named = world.random.chance(0.5) ? this.#naming(held) : { leaseId: held.leaseId, taskId: former.taskId };
    world.count('fault: labels of the former teacher');
    this.#call<CompleteResponse>('complete', { ...named, result: former.result }, () => {
      // Whoever mixes them up does not do the task: its lease runs out.
      held.dropped = true;
      this.#held.delete(keyOf(held.leaseId));
    }, (response) => {
      if (response.accepted) throw new Violation(`labels of ${former.taskId} were accepted as ${named.taskId}`);
      world.count('branch: labels of the former teacher are refused');
    });
  }

}

function spoiled(result: TaskResult): TaskResult {
  switch (result.result?.$case) {
    case 'evaluate': return { ...result, result: { $case: 'evaluate', value: { ...result.result.value, validation: undefined, paired: [] } } };
    case 'label': return { ...result, result: { $case: 'label', value: { ...result.result.value, labels: undefined } } };
    case 'train': return { ...result, result: { $case: 'train', value: { ...result.result.value, model: undefined } } };
    case 'replica': return { ...result, result: { $case: 'replica', value: { ...result.result.value, steps: result.result.value.steps - 1 } } };
    case 'measure': return { ...result, result: { $case: 'measure', value: { ...result.result.value, weights: result.result.value.weights.slice(1) } } };
    case 'fingerprint': return { ...result, result: { $case: 'fingerprint', value: { ...result.result.value, fingerprints: undefined, nearAny: result.result.value.nearAny + 1 } } };
    // A last merge without a model, or one in the middle with one.
    case 'merge': return { ...result, result: { $case: 'merge', value: { ...result.result.value, trained: result.result.value.trained === undefined ? { model: result.result.value.merged, parameters: 1, steps: 1, images: 1, finalLoss: 1, curve: [], heldOutCurve: [] } : undefined } } };
    default: return { ...result, result: undefined };
  }
}
