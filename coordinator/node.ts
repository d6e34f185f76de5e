/**
 * One coordinator among others: stands by with a warm fold, tries for the entry, leads while it holds it, and stands by
 * again. Not for: serving (coordinator/api asks `leader()` at each call), nor for what a leader decides.
 *
 * Invariants:
 *  1. At most one leader lives in a node, and it has ended before the node tries again.
 *  2. A leader begins only with a fold that reaches up to its own term's beginning in the journal.
 *  3. A node ends only by `stop` or by a failure that no other try can mend (`onFatal`).
 */
import { AlumnusError, toAlumnusError } from '../proto/errors.ts';
import type { ObjectStore } from '../store/index.ts';
import type { Log } from '../telemetry/index.ts';
import type { Clock } from './clock.ts';
import { Fold } from './fold.ts';
import { schemaVersionOf, type FactSink, type Journal } from './journal/index.ts';
import { Leader, type LeaderOptions } from './leader.ts';
import { Tenure, type Holder, type LeaderEntry } from './leadership/index.ts';

/** Leases are looked at this many times in their length. */
const TICKS_PER_LEASE = 5;
/** How often a standby looks whether the entry is free, and reads on: a few times in the shortest sensible time to live. */
const STANDBY_MS_DEFAULT = 250;
/** Others may append while we read up to the end; so often in a row means that the entry isn't what keeps them out. */
const BEGIN_TRIES_MAX = 20;

export interface NodeOptions {
  readonly journal: Journal;
  readonly entry: LeaderEntry;
  readonly store: ObjectStore;
  readonly holder: Holder;
  readonly leaseMs: number;
  readonly clock: Clock;
  /** In [0, 1): jitter, so that standbys don't try all at once. */
  readonly random: () => number;
  readonly log: Log;
  readonly onLead?: (leader: Leader) => void;
  readonly onFatal: (error: AlumnusError) => void;
  /** Told of each group that is journalled here, and of each term that begins. */
  readonly facts?: FactSink;
  /** Facts between two snapshots. */
  readonly snapshotEvents?: number;
  readonly observe?: LeaderOptions['observe'];
  readonly access?: LeaderOptions['access'];
  /** Default STANDBY_MS_DEFAULT. */
  readonly standbyMs?: number;
}

/** What the services ask at each call. */
export interface Leading {
  /** @throws AlumnusError NOT_LEADER, whose `where` is the leader's address, or '' where none is known. */
  leader(): Leader;
  readonly leaderAddress: string;
  /** What keeps it from standing by and from leading, and for how long; else empty. */
  readonly trouble: string;
  readonly journal: Journal;
}

export class Node implements Leading {
  readonly #options: NodeOptions;
  readonly #stopping = new AbortController();
  #fold: Fold | undefined;
  #leader: Leader | undefined;
  #leaderAddress = '';
  #trouble: { readonly error: AlumnusError; readonly sinceMs: number } | undefined;
  #running: Promise<void> = Promise.resolve();

  constructor(options: NodeOptions) {
    this.#options = options;
  }

  get journal(): Journal {
    return this.#options.journal;
  }

  get leaderAddress(): string {
    return this.#leaderAddress;
  }

  get trouble(): string {
    if (this.#trouble === undefined) return '';
    const { error, sinceMs } = this.#trouble;
    const seconds = Math.round((this.#options.clock.now() - sinceMs) / 1000);
    return `${error.code === 'JOURNAL_UNREACHABLE' ? 'the journal does not answer' : 'it cannot stand by'} since ${seconds} s: ${error.message}`;
  }

  leader(): Leader {
    const { address } = this.#options.holder;
    if (this.#leader !== undefined && this.#leader.failure === undefined) return this.#leader;
    const elsewhere = this.#leaderAddress === address ? '' : this.#leaderAddress;
    throw new AlumnusError('NOT_LEADER', elsewhere === '' ? 'no coordinator leads just now' : 'this coordinator stands by', { where: elsewhere });
  }

  start(): void {
    this.#running = this.#run();
  }

  /** Hands over: stops leading, frees the entry, and ends. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#leader?.stop(new AlumnusError('NOT_LEADER', 'this coordinator stops'));
    await this.#running;
  }

  async #run(): Promise<void> {
    const { log, onFatal, random, clock, standbyMs = STANDBY_MS_DEFAULT } = this.#options;
    while (!this.#stopping.signal.aborted) {
      try {
        await this.#standBy();
        await this.#tryToLead();
        this.#recovered();
      } catch (thrown) {
        const error = toAlumnusError(thrown);
        if (this.#isFatal(error)) {
          onFatal(error);
          return;
        }
        if (this.#trouble === undefined) log(error.sentence, { code: error.code, level: 'warn' });
        this.#trouble = { error, sinceMs: this.#trouble?.sinceMs ?? clock.now() };
      }
      await clock.sleep(standbyMs * (0.5 + random()), this.#stopping.signal);
    }
  }

  #recovered(): void {
    if (this.#trouble !== undefined) this.#options.log('reaches the journal again');
    this.#trouble = undefined;
  }

  /** With an entry that nobody else can hold there is nobody to stand by for. */
  #isFatal(error: AlumnusError): boolean {
    return !error.retryable && (this.#options.entry.ttlMs === Infinity || error.code !== 'JOURNAL_CONFLICT') || error.code === 'STORE_FULL';
  }

  /** Brings the fold up to the journal's end. */
  async #standBy(): Promise<Fold> {
    const { journal, store } = this.#options;
    if (this.#fold === undefined) return (this.#fold = await Fold.load(journal, store));
    try {
      await this.#fold.follow(journal, store);
    } catch (thrown) {
      const error = toAlumnusError(thrown);
      if (error.code !== 'JOURNAL_UNREADABLE') throw error;
      // We were away so long that a snapshot has passed us by; if it is something else, loading says so again.
      this.#fold = undefined;
      this.#fold = await Fold.load(journal, store);
    }
    return this.#fold;
  }

  async #tryToLead(): Promise<void> {
    const { entry, holder, clock } = this.#options;
    const tenure = await Tenure.take(entry, holder, clock);
    if (tenure === undefined) {
      const address = (await entry.read())?.holder.address ?? '';
      if (address !== this.#leaderAddress && address !== '' && address !== holder.address) this.#options.log(`stands by; ${address} leads`);
      this.#leaderAddress = address;
      return;
    }
    try {
      if (!this.#stopping.signal.aborted) await this.#lead(tenure);
    } finally {
      await tenure.release();
    }
  }

  /** Leads until the tenure is over, an append fails or the node stops. */
  async #lead(tenure: Tenure): Promise<void> {
    const { journal, store, leaseMs, clock, log, onLead, holder, facts, snapshotEvents, observe, access } = this.#options;
    const begun = await this.#begin(tenure);
    if (begun === undefined) return;
    const leader = new Leader({ journal, fold: begun.fold, store, term: begun.term, leaseMs, clock, untilMs: () => tenure.untilMs, log, access, ...(facts === undefined ? {} : { facts }), ...(snapshotEvents === undefined ? {} : { snapshotEvents }), ...(observe === undefined ? {} : { observe }) });
    const over = new AbortController();
    const failure = new Promise<AlumnusError>((resolve) => {
      leader.onFailure((error) => {
        resolve(error);
        over.abort();
      });
    });
    const depose = (): void => leader.stop(new AlumnusError('NOT_LEADER', tenure.ended.reason instanceof Error ? tenure.ended.reason.message : 'the leader\'s entry was given up'));
    tenure.ended.addEventListener('abort', depose, { once: true });
    if (tenure.ended.aborted) depose();
    this.#leader = leader;
    this.#leaderAddress = holder.address;
    this.#recovered();
    log(`leads term ${begun.term} from sequence ${begun.fold.sequence}`, { term: begun.term });
    facts?.publish({ schemaVersion: schemaVersionOf([]), term: begun.term, firstSequence: begun.fold.sequence + 1, events: [] });
    // One that was deposed before it began has said so to nobody.
    if (leader.failure === undefined) onLead?.(leader);
    if (this.#stopping.signal.aborted) leader.stop(new AlumnusError('NOT_LEADER', 'this coordinator stops'));
    while (leader.failure === undefined) {
      await leader.tick().catch((thrown: unknown) => log(toAlumnusError(thrown).sentence));
      await clock.sleep(leaseMs / TICKS_PER_LEASE, over.signal);
    }
    const error = await failure;
    this.#leader = undefined;
    this.#leaderAddress = '';
    log(`no longer leads term ${begun.term}: ${error.message}`, { term: begun.term, code: error.code, level: 'warn' });
    if (this.#isFatal(error)) throw error;
    // What cost the tenure costs the next one, too: it is told as what keeps this coordinator from standing by.
    const why: unknown = tenure.ended.reason;
    if (why instanceof AlumnusError && why.code === 'JOURNAL_UNREACHABLE') throw why;
  }

  async #begin(tenure: Tenure): Promise<{ fold: Fold; term: number } | undefined> {
    for (let tries = 1; !tenure.ended.aborted; tries += 1) {
      const fold = await this.#standBy();
      try {
        return { fold, term: await this.#options.journal.begin() };
      } catch (thrown) {
        const error = toAlumnusError(thrown);
        if (error.code !== 'JOURNAL_CONFLICT' || tries >= BEGIN_TRIES_MAX) throw error;
      }
    }
    return undefined;
  }
}
