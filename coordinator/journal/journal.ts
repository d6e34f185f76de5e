/**
 * Journal: the only truth about runs, as groups of facts in one order. Not for:
 * leases, progress or anything else that may be lost.
 *
 * Invariants that every engine keeps (tests/unit/coordinator/journal-conformance.ts runs them against each):
 *  1. `append` resolves only after the group would survive the loss of power.
 *  2. A group is there whole or not at all, and groups are read in the order of their sequences, without gaps.
 *  3. An append whose `expectedSequence` is not the last one, or whose term is not the newest, changes nothing and fails with JOURNAL_CONFLICT.
 */
import type { Event, EventGroup } from '../../proto/gen/alumnus/v1/events.ts';

/** Version of the schema of events that this release writes. A reader refuses newer ones. */
export const EVENT_SCHEMA_VERSION = 1;

/** One group is one message; NATS carries at most 1 MiB by default, and half of that leaves room for what surrounds it. */
export const GROUP_BYTES_MAX = 512 * 1024;

export interface Journal {
  /** Such as `lmdb:/path`, for people. */
  readonly description: string;
  /** Sequence of the last event; 0 when there is none. */
  readonly lastSequence: number;
  /** Appends the facts as one group. Resolves to the sequence of the last of them. @throws AlumnusError JOURNAL_CONFLICT, STORE_FULL. */
  append(expectedSequence: number, term: number, events: readonly Event[]): Promise<number>;
  /** All groups after `sequence`, in order. @throws AlumnusError JOURNAL_UNREADABLE. */
  read(sequence: number): AsyncIterable<EventGroup>;
  close(): Promise<void>;
}
