/**
 * Group commit: decisions become facts. Commands are decided one after another; what arrives during one append is the next
 * group. Not for: what a fact means for leases, nor who may be answered what (coordinator/leader).
 *
 * Invariants:
 *  1. A caller is answered only after the journal has the facts, and the listener was told of them.
 *  2. The fold takes a group only once it is journalled; decisions see drafts, and nobody else does.
 *  3. When an append fails, nothing more is taken: whoever waits is refused, and so is whoever comes.
 *  4. A stage's end lies in a manifest before it is journalled (coordinator/manifests).
 */
import { AlumnusError, invariant, toAlumnusError } from '../proto/errors.ts';
import { Event } from '../proto/gen/alumnus/v1/events.ts';
import type { ObjectStore } from '../store/index.ts';
import type { Log } from '../telemetry/index.ts';
import type { Clock } from './clock.ts';
import type { Fold } from './fold.ts';
import { GROUP_BYTES_MAX, schemaVersionOf, type FactSink, type Journal } from './journal/index.ts';
import { needsManifest, wantsManifest, writeManifest } from './manifests.ts';
import { evolve, journalled, type RunState } from './run/index.ts';

/** Commands waiting for the journal; beyond it callers are told to come again. */
const QUEUE_MAX = 10_000;
/** Leaves room in a message for the group's own fields, and for a fact about a manifest for each of its runs. */
const GROUP_BYTES_WANTED = GROUP_BYTES_MAX - 64 * 1024;
/**
 * A store that takes longer for a manifest holds up every run's facts: those of the one run are refused, to be said again.
 * Half of the time after which callers give up (10 s, workers' and the CLI's), so that they hear why, and others' facts in
 * the group are still acknowledged in time.
 */
const MANIFEST_MS_MAX = 5_000;

export interface Decided {
  readonly events: readonly Event[];
  readonly state: RunState;
}

/** Something to be decided of a run, once all before it is. */
export interface Decision {
  readonly runId: string;
  readonly decide: (state: RunState | undefined, nowMs: number) => Decided;
  /** The task that it completes. */
  readonly closes?: string;
}

interface Queued extends Decision {
  /** Facts as they were once journalled: alone in their group, since they have their manifests. */
  readonly restores: boolean;
  readonly resolve: (state: RunState) => void;
  readonly reject: (error: unknown) => void;
}

/** What one group brings for one run. */
interface Share {
  readonly taken: Queued[];
  readonly events: Event[];
  draft: RunState;
}

/** What one group brought for one run, for whoever follows it. */
export interface Change {
  readonly runId: string;
  /** Undefined also where facts were restored: they may change anything. */
  readonly before: RunState | undefined;
  /** Tasks that were completed. */
  readonly closed: readonly string[];
  /** The facts are of old, and were brought back from the bucket. */
  readonly restored: boolean;
}

export interface GroupCommitOptions {
  readonly journal: Journal;
  readonly fold: Fold;
  readonly store: ObjectStore;
  readonly term: number;
  readonly clock: Clock;
  readonly log: Log;
  /** Told of each group after the journal has it. */
  readonly facts?: FactSink | undefined;
  /** The fold has a group, and nobody was answered yet. */
  readonly onCommitted: (events: readonly Event[], changes: readonly Change[]) => void;
  /** Those whose group it was are answered. */
  readonly onAnswered: () => void;
  /** Nothing more is taken. */
  readonly onFailure: (error: AlumnusError) => void;
}

export class GroupCommit {
  readonly #options: GroupCommitOptions;
  #queue: Queued[] = [];
  #committing = false;
  #failed: AlumnusError | undefined;
  /** Runs whose last manifest could not be written: callers come again and again, and the log says it once. */
  readonly #unwritten = new Set<string>();

  constructor(options: GroupCommitOptions) {
    this.#options = options;
  }

  /** Why nothing more is taken; undefined while it is. */
  get failure(): AlumnusError | undefined {
    return this.#failed;
  }

  /** Commands that no append has taken yet. */
  get waiting(): number {
    return this.#queue.length;
  }

  /** Whether the run does not go on since the store took no manifest. */
  isHeldUp(runId: string): boolean {
    return this.#unwritten.has(runId);
  }

  /** Resolves with the run's state once the facts are journalled. @throws what `decide` throws; NOT_LEADER, where the facts may be journalled or not. */
  take(decision: Decision): Promise<RunState> {
    return this.#enqueue({ ...decision, restores: false });
  }

  /**
   * Takes facts as they were once journalled, with their data: `reconcile` has them from the bucket. Nothing that comes meanwhile gets
   * between two pieces. @param expected how many facts of the run are known, those about manifests aside. @throws RUN_CONFLICT where the run went on, and what `take` does.
   */
  async restore(runId: string, pieces: readonly (readonly Event[])[], expected: number): Promise<void> {
    let known = expected;
    await Promise.all(pieces.map((facts) => {
      const before = known;
      known += facts.filter(({ fact }) => fact?.$case !== 'manifestWritten').length;
      return this.#enqueue({
        runId, restores: true,
        decide: (state) => {
          // Alone in its group: the draft is what is journalled, and so is what is pending.
          if ((state?.manifest?.facts ?? 0) + this.#options.fold.pending(runId).length !== before) throw new AlumnusError('RUN_CONFLICT', 'the run went on meanwhile: say reconcile again', { where: runId });
          let restored = state;
          for (const fact of facts) restored = evolve(restored, fact);
          invariant(restored !== undefined, 'facts that are restored leave a run');
          return { events: facts, state: restored };
        },
      });
    }));
  }

  #enqueue(command: Omit<Queued, 'resolve' | 'reject'>): Promise<RunState> {
    if (this.#failed !== undefined) return Promise.reject(this.#failed);
    if (this.#queue.length >= QUEUE_MAX) return Promise.reject(new AlumnusError('TIMED_OUT', 'the journal is behind', { where: this.#options.journal.description }));
    return new Promise<RunState>((resolve, reject) => {
      this.#queue.push({ ...command, resolve, reject });
      if (!this.#committing) void this.#commit();
    });
  }

  async #commit(): Promise<void> {
    this.#committing = true;
    // Let everything that arrived in this turn of the event loop join the group.
    await new Promise((resolve) => setImmediate(resolve));
    while (this.#queue.length > 0 && this.#failed === undefined) {
      const shares = this.#gather();
      await this.#writeManifests(shares);
      const events = [...shares.values()].flatMap((share) => share.events);
      if (events.length === 0) continue;
      if (this.#stopped()) {
        this.#refuse(shares);
        break;
      }
      const { journal, fold, term } = this.#options;
      const group = { schemaVersion: schemaVersionOf(events), term, firstSequence: fold.sequence + 1, events };
      const facts = events.map(journalled);
      try {
        await journal.append(fold.sequence, term, facts);
      } catch (thrown) {
        this.#fail(toAlumnusError(thrown), [...shares.values()].flatMap((share) => share.taken));
        break;
      }
      if (this.#stopped()) {
        // It ended during the append: the fold belongs to the node again, which reads these facts from the journal.
        this.#refuse(shares);
        break;
      }
      const changes = [...shares].map(([runId, { taken }]): Change => ({
        runId,
        before: taken.some((queued) => queued.restores) ? undefined : fold.runs.get(runId),
        closed: taken.flatMap(({ closes }) => closes ?? []),
        restored: taken.some(({ restores }) => restores),
      }));
      fold.take(group);
      this.#options.facts?.publish({ ...group, events: facts });
      this.#options.onCommitted(events, changes);
      for (const [runId, { taken }] of shares) {
        const state = fold.runs.get(runId);
        invariant(state !== undefined, 'facts leave a run');
        for (const queued of taken) queued.resolve(state);
      }
      this.#options.onAnswered();
    }
    this.#committing = false;
  }

  /** Who ended during an await says so to those whose group it was; `#fail` could not know of them. */
  #refuse(shares: ReadonlyMap<string, Share>): void {
    for (const { taken } of shares.values()) for (const queued of taken) queued.reject(this.#failed);
  }

  /** Asked after each await: the world goes on meanwhile. */
  #stopped(): boolean {
    return this.#failed !== undefined;
  }

  /** As many commands as one group holds, decided one after another. */
  #gather(): Map<string, Share> {
    const shares = new Map<string, Share>();
    let bytes = 0;
    let at = 0;
    for (; at < this.#queue.length; at += 1) {
      const queued = this.#queue[at];
      invariant(queued !== undefined, 'the queue has no holes');
      const { runId } = queued;
      if (queued.restores && shares.size > 0) break;
      try {
        const share = shares.get(runId);
        const { events, state } = queued.decide(share?.draft ?? this.#options.fold.runs.get(runId), this.#options.clock.now());
        invariant(events.length > 0, 'a decision that is taken has facts: nobody is answered without');
        const more = events.reduce((sum, event) => sum + Event.encode(journalled(event)).finish().length, 0);
        const { factBytesMax } = this.#options.journal;
        if (more > factBytesMax) throw new AlumnusError('FACT_TOO_LARGE', `its facts take ${more} bytes, and the journal takes ${factBytesMax} at once`, { where: runId });
        // What would outgrow the message opens the next one; a fact that is larger by itself goes alone.
        if (bytes > 0 && bytes + more > GROUP_BYTES_WANTED) break;
        bytes += more;
        if (share === undefined) shares.set(runId, { taken: [queued], events: [...events], draft: state });
        else {
          share.taken.push(queued);
          share.events.push(...events);
          share.draft = state;
        }
        if (queued.restores) {
          at += 1;
          break;
        }
      } catch (thrown) {
        queued.reject(toAlumnusError(thrown, runId));
      }
    }
    this.#queue = this.#queue.slice(at);
    return shares;
  }

  /** Ahead of the journal; where the store can't, what needs one is refused and all others go on. */
  async #writeManifests(shares: Map<string, Share>): Promise<void> {
    const { store, clock, fold, term, log } = this.#options;
    await Promise.all([...shares].map(async ([runId, share]) => {
      if (!wantsManifest(share.events) || share.taken.some((queued) => queued.restores)) return;
      const late = new AbortController();
      try {
        const fact = await Promise.race([
          writeManifest(store, runId, share.draft.manifest, [...fold.pending(runId), ...share.events], term),
          clock.sleep(MANIFEST_MS_MAX, late.signal).then((): never => {
            throw new AlumnusError('TIMED_OUT', `the object store took longer than ${MANIFEST_MS_MAX / 1000} s for a manifest`, { where: runId });
          }),
        ]);
        share.events.push({ runId, atMs: clock.now(), fact });
        if (this.#unwritten.delete(runId)) log(`run ${runId} goes on: its manifest is written`);
      } catch (thrown) {
        // What needs none is told by the next one.
        if (!needsManifest(share.events)) return;
        shares.delete(runId);
        const error = toAlumnusError(thrown, runId);
        if (!this.#unwritten.has(runId)) log(`run ${runId} does not go on while its manifest can't be written: ${error.sentence}`);
        this.#unwritten.add(runId);
        // What the store holds against the leader says nothing about what its callers brought: they are to come again with it.
        const refusal = error.retryable ? error : new AlumnusError('MANIFEST_REFUSED', `the coordinator's manifest was refused: ${error.sentence}`, { where: runId, cause: error });
        for (const queued of share.taken) queued.reject(refusal);
      } finally {
        late.abort();
      }
    }));
  }

  /** Takes no more, and says so to everyone who waits. */
  stop(why: AlumnusError): void {
    if (this.#failed === undefined) this.#fail(why, []);
  }

  #fail(error: AlumnusError, taken: readonly Queued[]): void {
    // Callers are to come again, to whoever leads then: their facts may be journalled or not, and either is found there.
    this.#failed = error.retryable ? error : new AlumnusError('NOT_LEADER', error.message, { cause: error });
    for (const queued of [...taken, ...this.#queue]) queued.reject(this.#failed);
    this.#queue = [];
    this.#options.onFailure(error);
  }
}
