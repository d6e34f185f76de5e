/**
 * The operator of a simulated cluster: submits the plan's runs until they are written, cancels or kills some and tries most of those again,
 * resumes what pauses itself, repairs a shard that keeps failing, cordons and drains workers for a while, brings labels, and reconciles when
 * the journal lost something. Speaks to whoever leads, as a person would.
 */
import type { Leader } from '../../coordinator/leader.ts';
import { reconcile } from '../../coordinator/reconcile.ts';
import { isEnded, type Command, type Review, type RunState } from '../../coordinator/run/index.ts';
import type { AlumnusError } from '../../proto/errors.ts';
import { RunData } from '../../proto/gen/alumnus/v1/events.ts';
import type { ReconcileResponse } from '../../proto/gen/alumnus/v1/operator.ts';
import { paths, sha256, type ObjectRef } from '../../store/index.ts';
import { makeData } from '../unit/coordinator/work.ts';
import type { Checker } from './checker.ts';
import { LIST_LAG_MS_MAX } from './engines.ts';
import type { Plan, RunPlan } from './plan.ts';
import type { MemoryStore } from './store.ts';
import { recipeOf } from './undisturbed.ts';
import { Violation } from './violation.ts';
import type { World } from './world.ts';

const LOOKS_MS = 20_000;
/** A run is resumed this often before the cause is looked for and the shard repaired. */
const RESUMES_BEFORE_REPAIR = 2;

/** So often a cancelled run is tried again: where the journal says otherwise than the checker, it would be asked for ever. */
const RETRIES_MAX = 20;

/** How often labels are said once more before they are looked for, as by a client that lost the answer. */
const SAID_TWICE = 0.3;

/** What a person wrote, behind the labels that were the last then. */
interface Written {
  readonly review: Review;
  readonly behind: string;
}

/** Wraps a check so that what it throws deep inside a callback of the code under test is not swallowed there. */
export type Guard = <Args extends unknown[]>(check: (...args: Args) => void) => (...args: Args) => void;

export interface OperatorOptions {
  readonly world: World;
  readonly plan: Plan;
  readonly checker: Checker;
  readonly store: MemoryStore;
  /** Whoever leads, as the operator finds it; undefined where nobody does. */
  readonly leading: () => Leader | undefined;
  /** Before each look. */
  readonly onLook: () => void;
  /** What a check throws in here is for the simulation to see. */
  readonly guard: Guard;
}

const ofBytes = (key: string, bytes: Uint8Array): ObjectRef => ({ key: `${key}/${sha256(bytes)}`, sha256: sha256(bytes), bytes: bytes.byteLength });

/** Labels of images, of which one may have none but another label than before. */
function makeReview(runId: string, number: number): Review {
  const made = (what: string): ObjectRef => ofBytes(paths.runReviewed(runId), Buffer.from(`${what} of review ${number} of ${runId}`));
  const samples = number % 3;
  return { shards: samples === 0 ? [] : [{ name: `reviewed-${number}`, ref: made('images'), samples, location: undefined }], labels: made('labels'), reviewed: made('table'), samples };
}

export class Operator {
  readonly #options: OperatorOptions;
  readonly #data = new Map<string, RunData>();
  readonly #repaired = new Set<string>();
  readonly #resumes = new Map<string, number>();
  readonly #beganMs: number;
  /** By run: the labels that are being brought. */
  readonly #written = new Map<string, Written>();
  /** Runs that were told that labels come too late for them. */
  readonly #late = new Set<string>();
  #reviews = 0;
  #looks = 0;
  readonly #retries = new Map<string, number>();
  #lostAtMs: number | undefined;

  constructor(options: OperatorOptions) {
    this.#options = options;
    this.#beganMs = options.world.nowMs;
  }

  /** The journal lost something that the bucket has: runs are not submitted again until it is reconciled. */
  get isReconciling(): boolean {
    return this.#lostAtMs !== undefined;
  }

  /** To be called when the journal has lost something. */
  journalLost(): void {
    this.#lostAtMs = this.#options.world.nowMs;
  }

  isRepaired(runId: string): boolean {
    return this.#repaired.has(runId);
  }

  /** What a run was submitted with. */
  dataOf(runId: string): RunData | undefined {
    return this.#data.get(runId);
  }

  /** Said until it is written: an answer may be lost with its leader. */
  submit(run: RunPlan): void {
    const { world, plan, checker, store, leading } = this.#options;
    if (checker.state(run.runId) !== undefined) return;
    const data = makeData({ shards: run.shards, truth: run.truth, corrupted: run.wishes.corrupted });
    this.#data.set(run.runId, data);
    world.after(20_000, () => this.submit(run));
    // What the bucket knows is not submitted anew.
    if ([...store.objects.keys()].some((key) => key.startsWith(`runs/${run.runId}/`)) && plan.journalLoss !== undefined && checker.knew(run.runId)) return;
    // Of half of all seeds' runs, as of large sets, the data lies in the bucket.
    const written = (plan.seed + plan.runs.indexOf(run)) % 2 === 0 ? Promise.resolve(undefined)
      : store.putAddressed(paths.runData(run.runId), RunData.encode(data).finish(), { extension: '.data' });
    written.then((dataRef) => leading()?.command(run.runId, { kind: 'submit', runId: run.runId, recipe: recipeOf(run, plan), data, dataRef })).catch(() => undefined);
    if (run.cancelAtMs !== undefined) {
      world.after(run.cancelAtMs, () => {
        const kind = this.#turnOf(run) % 2 === 0 ? 'cancel' : 'kill';
        leading()?.command(run.runId, { kind, reason: 'no longer needed' }).then(() => world.count(`fault: operator ${kind}s`), () => undefined);
      });
    }
  }

  /** A number of each run's own in each seed, so that what is asked of it needs no draw. */
  #turnOf(run: RunPlan): number {
    const { plan } = this.#options;
    return plan.seed + plan.runs.indexOf(run);
  }

  /** Whether a run that was cancelled is to be tried again: the simulation goes on until it was. */
  wantsRetry(run: RunPlan, state: RunState): boolean {
    return state.phase === 'cancelled' && this.#turnOf(run) % 3 !== 0 && (this.#retries.get(run.runId) ?? 0) < RETRIES_MAX;
  }

  #retry(runId: string): void {
    const { world, leading } = this.#options;
    const leader = leading();
    if (leader === undefined) return;
    this.#retries.set(runId, (this.#retries.get(runId) ?? 0) + 1);
    leader.command(runId, { kind: 'retry', by: 'operator' }).then(() => world.count('branch: a cancelled run is tried again'), () => undefined);
  }

  /** One worker at a time is given no more work, or hands back what it has, until the next look. */
  #cordon(): void {
    const { world, plan, leading } = this.#options;
    this.#looks += 1;
    const leader = leading();
    if (leader === undefined) return;
    const workers = leader.scheduler.workers().map(({ worker }) => worker);
    for (const { workerId, cordon } of workers) if (cordon !== '') leader.scheduler.cordon(workerId, '');
    const worker = workers[this.#looks % Math.max(1, workers.length)];
    if (worker === undefined || workers.length < 2 || (this.#looks + plan.seed) % 3 !== 0 || world.nowMs - this.#beganMs > plan.healAtMs) return;
    const cordon = this.#looks % 2 === 0 ? 'draining' : 'cordoned';
    leader.scheduler.cordon(worker.workerId, cordon);
    world.count(`fault: a worker is ${cordon}`);
  }

  /** Looks from now on, again and again. */
  operate(): void {
    const { world, plan, checker, leading, onLook } = this.#options;
    world.after(LOOKS_MS, () => {
      this.operate();
      onLook();
      if (this.isReconciling) {
        this.#reconcile();
        return;
      }
      this.#cordon();
      for (const run of plan.runs) {
        const state = checker.state(run.runId);
        if (state !== undefined && this.wantsRetry(run, state)) this.#retry(run.runId);
        if (state !== undefined) this.#bringLabels(run, state);
        if (state?.phase !== 'paused') continue;
        const resumes = (this.#resumes.get(run.runId) ?? 0) + 1;
        if (resumes > RESUMES_BEFORE_REPAIR && !this.#repaired.has(run.runId) && run.poison.length > 0) {
          this.#repaired.add(run.runId);
          world.count('branch: a shard is repaired');
        }
        leading()?.command(run.runId, { kind: 'resume' }).then(() => this.#resumes.set(run.runId, resumes), () => undefined);
      }
    });
  }

  /** The next labels that are due are said, as they were written, until they are known or too late; where others came in between they have to be written anew, behind those. */
  #bringLabels({ runId, submitAtMs, wishes }: RunPlan, state: RunState): void {
    const { world, checker, leading, guard } = this.#options;
    const atMs = wishes.reviewsAtMs[state.reviews.length];
    if (atMs === undefined || world.nowMs < this.#beganMs + submitAtMs + atMs || isEnded(state.phase) || this.#late.has(runId)) return;
    const behind = (state.reviews.at(-1) ?? state.data.labeled)?.labels?.sha256 ?? '';
    let written = this.#written.get(runId);
    if (written?.behind !== behind) this.#written.set(runId, written = { review: makeReview(runId, this.#reviews += 1), behind });
    const command: Command = { kind: 'review', ...written };
    const say = (): void => void leading()?.command(runId, command).then(guard(() => checker.reviewAcknowledged(runId, command.review.labels?.sha256 ?? '')), ({ code, message }: AlumnusError) => {
      if (code === 'RUN_CONFLICT') world.count(`branch: a person's labels are refused (${message.includes('last iteration') ? 'too late' : 'not behind the last'})`);
      if (code === 'RUN_CONFLICT' && message.includes('last iteration')) this.#late.add(runId);
    });
    say();
    if (!world.random.chance(SAID_TWICE)) return;
    world.count('fault: a person\'s labels are said twice');
    world.after(world.random.magnitude(1, LOOKS_MS), say);
  }

  /** First without applying, as the operator is told to: what could not be read for a moment is asked for again. */
  #reconcile(): void {
    const { world, plan, checker, leading, guard } = this.#options;
    const leader = leading();
    if (leader === undefined || this.#lostAtMs === undefined || world.nowMs < this.#lostAtMs + LIST_LAG_MS_MAX) return;
    const unclear = ({ runs }: ReconcileResponse): boolean => runs.some(({ notes }) => notes.some((note) => !note.includes('was left by a leader') && !note.includes('went on otherwise')));
    const looked = plan.chance.wrongNamedBytes > 0 ? reconcile(leader, { runId: '', apply: false }) : Promise.resolve({ runs: [], objectsSeen: 0 });
    looked.then((look) => {
      if (unclear(look)) return undefined;
      checker.reconciling = true;
      return reconcile(leader, { runId: '', apply: true });
    }).then(guard((done) => {
      if (!this.isReconciling || done === undefined) return;
      const { runs } = done;
      for (const { verdict } of runs) world.count(`branch: reconcile says ${verdict}`);
      // Where the store gave other bytes for a moment the operator is told so, and asks again.
      if (unclear(done)) return;
      this.#lostAtMs = undefined;
      for (const { runId, verdict, notes } of runs) if (verdict === 'unreadable') throw new Violation(`reconcile found ${runId} unreadable: ${notes.join('; ')}`);
      checker.reconciled(runs.filter(({ verdict }) => verdict === 'diverged').map(({ runId }) => runId));
    }), () => undefined).finally(() => {
      checker.reconciling = false;
    });
  }
}
