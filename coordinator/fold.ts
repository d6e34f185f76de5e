/**
 * What is journalled, folded: the state of every run, and of each the facts that no manifest holds yet. A leader owns one
 * and a standby keeps one warm; both learn only from groups that are in the journal.
 * Invariant: equal journals give equal folds, whether read from the first group or from a snapshot on.
 */
import { AlumnusError, invariant } from '../proto/errors.ts';
import type { Event, EventGroup } from '../proto/gen/alumnus/v1/events.ts';
import { RunStateSnapshot, Snapshot, type SnapshotRef } from '../proto/gen/alumnus/v1/record.ts';
import { paths, type ObjectRef, type ObjectStore } from '../store/index.ts';
import { EVENT_SCHEMA_VERSION, versionOfRecipe, type Journal } from './journal/index.ts';
import { hydrate, readRunData } from './run-data.ts';
import { evolve, isEnded, journalled, stateFromJson, stateToJson, type RunState } from './run/index.ts';

export class Fold {
  readonly #runs = new Map<string, RunState>();
  /** By run; absent where every fact lies in a manifest. */
  readonly #pending = new Map<string, Event[]>();
  /** Where the run's state was last written, and which state that was. */
  readonly #written = new Map<string, { state: RunState; pending: number; ref: ObjectRef }>();
  #sequence = 0;

  /** Sequence of the last event folded. */
  get sequence(): number {
    return this.#sequence;
  }

  get runs(): ReadonlyMap<string, RunState> {
    return this.#runs;
  }

  /** The run's facts since its last manifest, in order. */
  pending(runId: string): readonly Event[] {
    return this.#pending.get(runId) ?? [];
  }

  /** @param group its submissions with their data, wherever that lies */
  take(group: EventGroup): void {
    invariant(group.firstSequence === this.#sequence + 1, `the group after sequence ${this.#sequence} begins at ${group.firstSequence}`);
    for (const event of group.events) {
      this.#runs.set(event.runId, evolve(this.#runs.get(event.runId), event));
      // A manifest is journalled behind the facts that it holds, in their group.
      if (event.fact?.$case === 'manifestWritten') this.#pending.delete(event.runId);
      else {
        const pending = this.#pending.get(event.runId);
        if (pending === undefined) this.#pending.set(event.runId, [journalled(event)]);
        else pending.push(journalled(event));
      }
    }
    this.#sequence += group.events.length;
  }

  /** Takes in what the journal holds beyond this. @throws AlumnusError JOURNAL_UNREADABLE also where a snapshot has passed this by; the store's errors. */
  async follow(journal: Journal, store: ObjectStore): Promise<void> {
    for await (const group of journal.read(this.#sequence)) this.take({ ...group, events: await Promise.all(group.events.map((event) => hydrate(store, event))) });
  }

  /** From the newest snapshot, or from the first group where there is none, to the journal's end. */
  static async load(journal: Journal, store: ObjectStore): Promise<Fold> {
    const fold = new Fold();
    const newest = await journal.snapshot();
    if (newest !== undefined) await fold.#restore(newest, store);
    await fold.follow(journal, store);
    return fold;
  }

  async #restore({ snapshot: ref, sequence }: SnapshotRef, store: ObjectStore): Promise<void> {
    invariant(ref !== undefined, 'a snapshot has an address');
    const snapshot = Snapshot.decode(await store.get(ref));
    if (snapshot.schemaVersion > EVENT_SCHEMA_VERSION || snapshot.sequence !== sequence) {
      throw new AlumnusError('JOURNAL_UNREADABLE', `the snapshot is of schema ${snapshot.schemaVersion} and sequence ${snapshot.sequence}; this release reads schemas up to ${EVENT_SCHEMA_VERSION}, and the journal names sequence ${sequence}`, { where: ref.key });
    }
    for (const { runId, state: stateRef } of snapshot.runs) {
      invariant(stateRef !== undefined, `the snapshot of run ${runId} has an address`);
      const { stateJson, pending, dataRef } = RunStateSnapshot.decode(await store.get(stateRef));
      const state = stateFromJson(stateJson, dataRef === undefined ? undefined : await readRunData(store, dataRef));
      this.#runs.set(runId, state);
      this.#written.set(runId, { state, pending: pending.length, ref: stateRef });
      if (pending.length > 0) this.#pending.set(runId, pending);
    }
    this.#sequence = snapshot.sequence;
  }

  /** Writes all of it to the store as of now, whatever is folded meanwhile. A run whose state is the same as last time is not written again. */
  async write(store: ObjectStore, term: number): Promise<SnapshotRef> {
    const sequence = this.#sequence;
    const now = [...this.#runs].map(([runId, state]) => ({ runId, state, pending: [...this.pending(runId)] }));
    const runs: Snapshot['runs'] = [];
    for (const { runId, state, pending } of now) {
      let written = this.#written.get(runId);
      // A fact that leaves the state as it was (a lease handed back) is pending all the same.
      if (written?.state !== state || written.pending !== pending.length) {
        const { dataRef } = state;
        const bytes = RunStateSnapshot.encode({ schemaVersion: versionOf(state), runId, stateJson: stateToJson(state), pending, dataRef }).finish();
        const ref = await store.putAddressed(paths.runSnapshots(runId), bytes, { extension: '.state', metadata: { 'alumnus.run': runId, 'alumnus.schema': String(versionOf(state)), 'alumnus.sequence': String(sequence), 'alumnus.ended': String(isEnded(state.phase)) } });
        written = { state, pending: pending.length, ref };
        this.#written.set(runId, written);
      }
      runs.push({ runId, state: written.ref });
    }
    // Whoever reads it reads the states that it names.
    const schemaVersion = Math.max(1, ...now.map(({ state }) => versionOf(state)));
    const bytes = Snapshot.encode({ schemaVersion, sequence, term, runs }).finish();
    const snapshot = await store.putAddressed(paths.snapshots, bytes, { extension: '.snapshot', metadata: { 'alumnus.schema': String(schemaVersion), 'alumnus.sequence': String(sequence), 'alumnus.term': String(term) } });
    return { sequence, term, snapshot };
  }
}

/** As `schemaVersionOf` of the run's facts. */
const versionOf = ({ dataRef, recipe, reviews }: RunState): number => Math.max(versionOfRecipe(recipe), dataRef === undefined ? 1 : 2, reviews.length === 0 ? 1 : 4);
