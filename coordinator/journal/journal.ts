/**
 * Journal: the only truth about runs, as groups of facts in one order. Not for:
 * leases, progress or anything else that may be lost; nor for who leads (coordinator/leadership), though it is here that
 * a deposed leader's appends fail.
 *
 * Invariants that every engine keeps (tests/unit/coordinator/journal-conformance.ts runs them against each):
 *  1. `append` resolves only after the group would survive the loss of power.
 *  2. A group is there whole or not at all, and groups are read in the order of their sequences, without gaps.
 *  3. An append whose `expectedSequence` is not the last one, or whose term is not the newest, changes nothing and fails with JOURNAL_CONFLICT.
 *  4. An append that failed with JOURNAL_CONFLICT is not there and never will be. One that failed otherwise may be there,
 *     whole, then or later: who goes on reads first.
 *  5. `truncate` drops only what its snapshot covers, and only after the snapshot's place is as durable as a group.
 */
import type { Event, EventGroup } from '../../proto/gen/alumnus/v1/events.ts';
import type { SnapshotRef } from '../../proto/gen/alumnus/v1/record.ts';
import type { Recipe } from '../../recipe/index.ts';

/**
 * Newest version of the schema of events that this release reads; a reader refuses newer ones. 1: every fact holds all it
 * says. 2: a submission may name its data by digest, and a training's checkpoints are facts.
 * 3: trainings may be shared by several workers, in rounds, be fine-tuned and stop early, and a first teacher may be imported.
 * 4: a recipe may ask for comparisons, distillation, corrupted images, near-duplicates, how labels drift, and compression, and people may give labels.
 * 5: a run may be tried again after its end, and people may choose its model.
 */
export const EVENT_SCHEMA_VERSION = 5;

/** The oldest version that holds a run of this recipe: an earlier release would break on what it does not know. */
export const versionOfRecipe = ({ data, models, training, labels, promotion, comparisons, compress }: Recipe): number => {
  if (comparisons !== undefined || compress !== undefined || training.distill !== undefined || data.corrupted !== undefined || data.near_duplicates !== undefined || promotion.corruption_error_most !== undefined || labels.drift === true) return 4;
  return models.teacher !== undefined || training.replicas !== undefined || training.fine_tune !== undefined || training.early_stop !== undefined ? 3 : 1;
};

/** Kinds of results that earlier releases do not know. */
const sinceOf: Readonly<Record<string, number>> = { import: 3, fingerprint: 4, measure: 4 };

/** The oldest version that holds these facts: what is written in it is read by the release before, too. */
export const schemaVersionOf = (events: readonly Event[]): number => Math.max(1, ...events.map(({ fact }) => {
  switch (fact?.$case) {
    case 'roundOpened': case 'roundClosed': return 3;
    case 'runSubmitted': return Math.max(versionOfRecipe(JSON.parse(fact.value.recipeJson) as Recipe), fact.value.dataRef === undefined ? 1 : 2);
    case 'taskCompleted': return sinceOf[fact.value.result?.result?.$case ?? ''] ?? 1;
    case 'checkpointReached': return 2;
    case 'labelsReviewed': return 4;
    case 'runRetried': case 'modelChosen': return 5;
    default: return 1;
  }
}));

/** One group is one message; NATS carries at most 1 MiB by default, and half of that leaves room for what surrounds it. */
export const GROUP_BYTES_MAX = 512 * 1024;

export interface Journal {
  /** Such as `lmdb:/path`, for people; without secrets. */
  readonly description: string;
  /** The most that one command's facts may take, in bytes: they go together. */
  readonly factBytesMax: number;
  /** Sequence of the last event that was read or appended here; 0 when there is none. */
  readonly lastSequence: number;
  /**
   * Begins a term, the newest one plus one, also where the newest was begun here: from then on appends of every earlier
   * term fail. Resolves to the term. Where several begin at once, one succeeds.
   * @throws AlumnusError JOURNAL_CONFLICT where the journal has gone on since it was last read here: read on, then begin again.
   */
  begin(): Promise<number>;
  /** Appends the facts as one group. Resolves to the sequence of the last of them. @throws AlumnusError JOURNAL_CONFLICT, JOURNAL_UNREACHABLE, STORE_FULL. */
  append(expectedSequence: number, term: number, events: readonly Event[]): Promise<number>;
  /** All groups after `sequence` that are there now, in order. @throws AlumnusError JOURNAL_UNREADABLE, also where groups are missing; JOURNAL_UNREACHABLE. */
  read(sequence: number): AsyncIterable<EventGroup>;
  /** Where the newest snapshot lies; undefined where there is none and the groups reach back to the first. */
  snapshot(): Promise<SnapshotRef | undefined>;
  /** Keeps where the snapshot lies, then drops the groups that it covers. @throws AlumnusError JOURNAL_CONFLICT where a newer leader has kept one. */
  truncate(snapshot: SnapshotRef): Promise<void>;
  close(): Promise<void>;
}
