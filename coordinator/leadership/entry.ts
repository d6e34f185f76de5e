/**
 * LeaderEntry: one entry with a time to live, which whoever leads holds and renews. It says who may try to lead and where
 * the leader answers. Not for: fencing. Two processes that both believe to hold it do no harm, since a term begins in the
 * journal, where one append wins (coordinator/journal).
 *
 * Invariants that every engine keeps:
 *  1. Of several creates of a free entry one succeeds.
 *  2. An entry that was not renewed for `ttlMs` is free; one that was renewed is not.
 *  3. An update or delete with another revision than the present one changes nothing.
 *  4. Every call ends within a bounded time well below `ttlMs`; one that failed may have taken effect all the same.
 */

export interface Holder {
  /** Of this start of the process: a restarted one is another. */
  readonly id: string;
  /** `host:port` at which workers and operators reach it. */
  readonly address: string;
}

export interface LeaderEntry {
  /** Infinity where nobody else can hold it. */
  readonly ttlMs: number;
  /** Takes the entry where it is free. Resolves to its revision, or undefined where another holds it. @throws AlumnusError JOURNAL_UNREACHABLE. */
  create(holder: Holder): Promise<number | undefined>;
  /** Renews. Resolves to the new revision, or undefined where `revision` is no longer the present one. @throws AlumnusError JOURNAL_UNREACHABLE. */
  update(holder: Holder, revision: number): Promise<number | undefined>;
  /** Who holds it now. @throws AlumnusError JOURNAL_UNREACHABLE. */
  read(): Promise<{ readonly holder: Holder; readonly revision: number } | undefined>;
  /** Gives it up, so that another need not wait for its end. */
  delete(revision: number): Promise<void>;
}
