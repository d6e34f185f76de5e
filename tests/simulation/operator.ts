/**
 * The operator of a simulated cluster: submits the plan's runs until they are written, resumes what pauses itself, repairs
 * a shard that keeps failing, and reconciles when the journal lost something. Speaks to whoever leads, as a person would.
 */
import type { Leader } from '../../coordinator/leader.ts';
import { reconcile } from '../../coordinator/reconcile.ts';
import { RunData } from '../../proto/gen/alumnus/v1/events.ts';
import type { ReconcileResponse } from '../../proto/gen/alumnus/v1/operator.ts';
import { paths } from '../../store/index.ts';
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

export class Operator {
  readonly #options: OperatorOptions;
  readonly #data = new Map<string, RunData>();
  readonly #repaired = new Set<string>();
  readonly #resumes = new Map<string, number>();
  #lostAtMs: number | undefined;

  constructor(options: OperatorOptions) {
    this.#options = options;
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
    const data = makeData({ shards: run.shards, truth: run.truth });
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
        leading()?.command(run.runId, { kind: 'cancel', reason: 'no longer needed' }).then(() => world.count('fault: operator cancels'), () => undefined);
      });
    }
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
      for (const run of plan.runs) {
        const state = checker.state(run.runId);
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
