/**
 * Snapshots while a leader leads: every so many facts the fold goes to the store, and the journal drops what it covers.
 * Invariant: nothing waits for one, and one that fails costs a longer start alone.
 */
import { toAlumnusError } from '../proto/errors.ts';
import type { ObjectStore } from '../store/index.ts';
import type { Log } from '../telemetry/index.ts';
import type { Fold } from './fold.ts';
import type { Journal } from './journal/index.ts';

/** Facts between two snapshots: folding so many takes a second or two. */
const SNAPSHOT_EVENTS = 20_000;
/** After a snapshot that failed, facts until the next try. */
const SNAPSHOT_RETRY_EVENTS = 1_000;

export interface SnapshotsOptions {
  readonly journal: Journal;
  readonly fold: Fold;
  readonly store: ObjectStore;
  readonly term: number;
  readonly log: Log;
  /** Facts between two. Default SNAPSHOT_EVENTS. */
  readonly snapshotEvents?: number | undefined;
}

export class Snapshots {
  readonly #options: SnapshotsOptions;
  #atSequence: number;
  #writing = false;

  constructor(options: SnapshotsOptions) {
    this.#options = options;
    this.#atSequence = options.fold.sequence + (options.snapshotEvents ?? SNAPSHOT_EVENTS);
  }

  /** To be called after each group. */
  writeWhenDue(): void {
    const { fold, store, journal, term, log, snapshotEvents = SNAPSHOT_EVENTS } = this.#options;
    if (this.#writing || fold.sequence < this.#atSequence) return;
    this.#writing = true;
    fold.write(store, term).then(async (snapshot) => {
      await journal.truncate(snapshot);
      this.#atSequence = snapshot.sequence + snapshotEvents;
    }).catch((thrown: unknown) => {
      // The journal keeps everything until one succeeds: a longer start, no loss.
      this.#atSequence = fold.sequence + SNAPSHOT_RETRY_EVENTS;
      log(`no snapshot could be kept: ${toAlumnusError(thrown).sentence}`);
    }).finally(() => {
      this.#writing = false;
    });
  }
}
