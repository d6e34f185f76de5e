/**
 * A tenure: the leader's entry while this process holds it. Renews it, and says until when it surely is ours. Not for:
 * what the leader does with it.
 *
 * Invariants:
 *  1. `untilMs` is never later than the entry's own end, since it counts from before the renewal was sent.
 *  2. A renewal whose answer was lost loses nothing: the entry is read, and where it is ours it is renewed again.
 *  3. Once lost, a tenure stays lost.
 */
import { AlumnusError, toAlumnusError } from '../../proto/errors.ts';
import type { Clock } from '../clock.ts';
import type { Holder, LeaderEntry } from './entry.ts';

/** Renewals in the entry's time to live: two may be lost without harm. */
const RENEWALS_PER_TTL = 5;
/** Taken off the end: clocks of two machines run at slightly different speeds. */
const MARGIN_SHARE = 0.1;

export class Tenure {
  readonly #entry: LeaderEntry;
  readonly #holder: Holder;
  readonly #clock: Clock;
  readonly #ended = new AbortController();
  #revision: number;
  #untilMs: number;

  private constructor(entry: LeaderEntry, holder: Holder, clock: Clock, revision: number, sentMs: number) {
    this.#entry = entry;
    this.#holder = holder;
    this.#clock = clock;
    this.#revision = revision;
    this.#untilMs = this.#endOf(sentMs);
    if (entry.ttlMs !== Infinity) void this.#renew();
  }

  /** Takes the entry where it is free, or ours already. @throws AlumnusError JOURNAL_UNREACHABLE. */
  static async take(entry: LeaderEntry, holder: Holder, clock: Clock): Promise<Tenure | undefined> {
    const sentMs = clock.now();
    const revision = await entry.create(holder);
    if (revision !== undefined) return new Tenure(entry, holder, clock, revision, sentMs);
    const present = await entry.read();
    if (present?.holder.id !== holder.id) return undefined;
    // We took it by a create whose answer was lost.
    const renewedMs = clock.now();
    const renewed = await entry.update(holder, present.revision);
    return renewed === undefined ? undefined : new Tenure(entry, holder, clock, renewed, renewedMs);
  }

  /** Until when, on the clock given, nobody else can hold the entry. */
  get untilMs(): number {
    return this.#ended.signal.aborted ? 0 : this.#untilMs;
  }

  /** Aborted when the tenure is over. */
  get ended(): AbortSignal {
    return this.#ended.signal;
  }

  /** Ends the tenure and frees the entry for the next. */
  async release(): Promise<void> {
    const wasOurs = !this.#ended.signal.aborted;
    this.#ended.abort();
    if (wasOurs) await this.#entry.delete(this.#revision).catch(() => undefined);
  }

  #endOf(sentMs: number): number {
    return this.#entry.ttlMs === Infinity ? Infinity : sentMs + this.#entry.ttlMs * (1 - MARGIN_SHARE);
  }

  async #renew(): Promise<void> {
    const { signal } = this.#ended;
    let unanswered: AlumnusError | undefined;
    for (;;) {
      await this.#clock.sleep(this.#entry.ttlMs / RENEWALS_PER_TTL, signal);
      if (signal.aborted) return;
      if (this.#clock.now() >= this.#untilMs) return this.#ended.abort(lateFor(unanswered));
      try {
        if (!(await this.#renewOnce())) return this.#ended.abort(new Error('another holds the leader\'s entry'));
        unanswered = undefined;
      } catch (thrown) {
        // What we hold may still be held: the next renewal tries again, while there is time.
        unanswered = toAlumnusError(thrown);
        if (!unanswered.retryable) return this.#ended.abort(unanswered);
      }
    }
  }

  async #renewOnce(): Promise<boolean> {
    const sentMs = this.#clock.now();
    const revision = await this.#entry.update(this.#holder, this.#revision);
    if (revision !== undefined) {
      this.#revision = revision;
      this.#untilMs = this.#endOf(sentMs);
      return true;
    }
    const present = await this.#entry.read();
    if (present?.holder.id !== this.#holder.id) return false;
    this.#revision = present.revision;
    return true;
  }
}

/** A process that stood still has nobody to blame but itself. */
function lateFor(unanswered: AlumnusError | undefined): Error {
  const what = 'the leader\'s entry could not be renewed in time';
  return unanswered === undefined ? new Error(what) : new AlumnusError(unanswered.code, `${what}: ${unanswered.message}`, { where: unanswered.where, cause: unanswered });
}
