/** What one seed stands for: fleet, runs, and which faults happen how often. A kind of fault is often absent, so that the others are met alone. */
import { drawWishes, type Wishes } from './wishes.ts';
import { Random } from './world.ts';

export interface RunPlan {
  readonly runId: string;
  readonly submitAtMs: number;
  readonly rounds: number;
  readonly shards: number;
  readonly weight: number;
  readonly truth: boolean;
  readonly control: boolean;
  readonly onRefusal: 'keep-teacher' | 'retry' | 'stop' | 'wait';
  readonly require: 'not-worse' | 'better';
  readonly quarantinedShare: number;
  readonly attempts: number;
  readonly poison: readonly string[];
  /** Guards that often pause the run, and a precision that many a teacher lacks. */
  readonly guarded: boolean;
  /** Whether trained models are fine-tuned, and which of the two teaches. */
  readonly fineTuning: 'none' | 'reports' | 'teaches';
  readonly cancelAtMs: number | undefined;
  /** How its trainings are shared; undefined where one worker does each. */
  readonly shared: { readonly replicas: number | 'auto'; readonly localSteps: number; readonly quorum: number; readonly stragglerWait: number } | undefined;
  readonly wishes: Wishes;
}

export interface Plan {
  readonly seed: number;
  readonly runs: readonly RunPlan[];
  readonly workers: number;
  readonly coordinators: number;
  /** Of the leader's entry. */
  readonly ttlMs: number;
  readonly standbyMs: number;
  /** Facts between two snapshots. */
  readonly snapshotEvents: number;
  /** Speeds of the coordinators' clocks, 1 for true. */
  readonly clockRates: readonly number[];
  /** Speeds of the workers' timers. */
  readonly workerRates: readonly number[];
  /** When a newer release replaces the older one, coordinator by coordinator; undefined where all are of one. */
  readonly upgrade: { readonly atMs: number; readonly everyMs: number } | undefined;
  /** When the journal is lost, and how much of it: groups at its end, or all; undefined for never. */
  readonly journalLoss: { readonly atMs: number; readonly groups: number } | undefined;
  /** Steps between two checkpoints of a training (1,000 or 2,500 steps long); 0: none. */
  readonly checkpointSteps: number;
  readonly slots: number;
  readonly leaseMs: number;
  readonly pollMs: number;
  readonly labelMs: number;
  readonly trainMs: number;
  readonly delayMs: number;
  readonly appendMs: number;
  /** From this time on nothing goes wrong any more, and every run must end. */
  readonly healAtMs: number;
  /** Mean time between faults of a kind, in milliseconds; Infinity for never. */
  readonly every: Readonly<Record<'workerCrash' | 'workerPause' | 'workerDrain' | 'workerReplaced' | 'coordinatorKill' | 'coordinatorPause' | 'entryLost' | 'operatorPause' | 'partition' | 'powerLoss' | 'clockStep', number>>;
  /** Chance of a fault at each occasion. */
  readonly chance: Readonly<Record<'requestLost' | 'responseLost' | 'duplicated' | 'delayed' | 'engineCrash' | 'slowTask' | 'appendSlow' | 'appendLostAck' | 'appendRefused' | 'killInAppend' | 'badResult' | 'differentResult' | 'crashAtAwait' | 'entryAnswerLost' | 'storeFails' | 'storeHangs' | 'wrongBytes' | 'wrongNamedBytes' | 'staleList' | 'formerTeacher' | 'checkpointLost', number>>;
}

const secondMs = 1_000;
const minuteMs = 60 * secondMs;

/** The world's times, all of them, against those of a small test: leases of half a minute, tasks of minutes, as clusters have them. */
const SLOWNESS = 4;

export function drawPlan(seed: number): Plan {
  const random = new Random(seed, 1);
  // Kinds that came later draw from a stream of their own: seeds that know none of them keep their histories.
  const later = new Random(seed, 3);
  const last = new Random(seed, 4);
  // Of all runs of a seed or of none.
  const guarded = new Random(seed, 6).chance(0.25);
  const sharing = new Random(seed, 7);
  const drawShared = (): RunPlan['shared'] => (sharing.chance(0.35)
    ? { replicas: sharing.pick([2, 4, 'auto', 'auto'] as const), localSteps: sharing.pick([300, 500, 1_000, 1_000]), quorum: sharing.pick([0.25, 0.5, 0.75, 1]), stragglerWait: sharing.pick([0, 0.5, 0.5, 3]) }
    : undefined);
  const wishing = new Random(seed, 23);
  const fineTuning = new Random(seed, 17).pick(['none', 'none', 'none', 'reports', 'teaches'] as const);
  const sometimesLater = (least: number, most: number): number => (later.chance(0.2) ? later.magnitude(least, most) : 0);
  /** Zero more often than not: many faults at once hide one another. */
  const sometimes = (least: number, most: number): number => (random.chance(0.45) ? random.magnitude(least, most) : 0);
  const interval = (leastMs: number, mostMs: number): number => (random.chance(0.45) ? random.magnitude(leastMs, mostMs) * SLOWNESS : Infinity);
  // What is lost may have been one of several results of a task: which of them a record brings back is not promised.
  const loses = random.chance(0.12);
  const ttlMs = Math.round(random.magnitude(1.5 * secondMs, 15 * secondMs));
  const runs = Array.from({ length: random.chance(0.3) ? 2 : 1 }, (_, index): RunPlan => {
    const shards = Math.round(random.magnitude(1, 24));
    const poisoned = random.chance(0.25) ? random.whole(1, Math.min(2, shards)) : 0;
    const run = {
      runId: `run-${index}`,
      submitAtMs: random.whole(0, index === 0 ? 2 * secondMs : minuteMs) * SLOWNESS,
      rounds: random.pick([0, 1, 1, 2, 2, 3]), shards,
      weight: random.pick([1, 1, 2, 5]),
      truth: random.chance(0.3), control: random.chance(0.3),
      onRefusal: random.pick(['keep-teacher', 'retry', 'stop', 'wait'] as const),
      require: random.pick(['not-worse', 'not-worse', 'better'] as const),
      quarantinedShare: random.pick([0, 0.05, 0.3, 1]),
      attempts: random.whole(1, 4),
      poison: Array.from({ length: poisoned }, () => `shard-${String(random.whole(0, shards - 1)).padStart(5, '0')}`),
      guarded, fineTuning,
      cancelAtMs: random.chance(0.05) ? random.whole(0, 3 * minuteMs) * SLOWNESS : undefined,
      shared: drawShared(),
    };
    return { ...run, wishes: drawWishes(wishing, run, SLOWNESS) };
  });
  return {
    seed, runs,
    checkpointSteps: last.chance(0.6) ? last.whole(100, 600) : 0,
    workers: random.whole(1, 6), slots: random.whole(1, 3), coordinators: random.pick([1, 2, 2, 3]),
    ttlMs, standbyMs: random.magnitude(ttlMs / 4, ttlMs),
    snapshotEvents: random.chance(0.5) ? Math.round(random.magnitude(4, 200)) : Infinity,
    clockRates: Array.from({ length: 3 }, () => (random.chance(0.3) ? 1 + (random.next() - 0.5) / 10 : 1)),
    workerRates: later.chance(0.2) ? Array.from({ length: 6 }, () => later.magnitude(0.6, 1.6)) : [1],
    upgrade: later.chance(0.2) ? { atMs: later.whole(0, 120) * secondMs * SLOWNESS, everyMs: later.magnitude(10 * secondMs, 2 * minuteMs) * SLOWNESS } : undefined,
    journalLoss: loses ? { atMs: random.whole(10, 200) * secondMs * SLOWNESS, groups: random.chance(0.5) ? Infinity : Math.round(random.magnitude(1, 40)) } : undefined,
    leaseMs: Math.round(random.magnitude(2 * secondMs, 20 * secondMs)) * SLOWNESS,
    pollMs: random.whole(300, 2 * secondMs) * SLOWNESS,
    labelMs: random.magnitude(200, 4 * secondMs) * SLOWNESS, trainMs: random.magnitude(secondMs, 30 * secondMs) * SLOWNESS,
    delayMs: random.magnitude(1, 300), appendMs: random.magnitude(1, 200),
    healAtMs: random.whole(20, 240) * secondMs * SLOWNESS,
    every: {
      workerCrash: interval(5 * secondMs, 2 * minuteMs), workerPause: interval(5 * secondMs, 2 * minuteMs), workerDrain: interval(10 * secondMs, 2 * minuteMs),
      workerReplaced: interval(20 * secondMs, 3 * minuteMs),
      coordinatorKill: interval(5 * secondMs, 2 * minuteMs), coordinatorPause: interval(5 * secondMs, 2 * minuteMs), entryLost: interval(10 * secondMs, 2 * minuteMs),
      operatorPause: interval(20 * secondMs, 3 * minuteMs), partition: interval(5 * secondMs, minuteMs), powerLoss: random.chance(0.15) ? random.magnitude(30 * secondMs, 3 * minuteMs) * SLOWNESS : Infinity,
      clockStep: later.chance(0.2) ? later.magnitude(10 * secondMs, 3 * minuteMs) * SLOWNESS : Infinity,
    },
    chance: {
      requestLost: sometimes(0.005, 0.3), responseLost: sometimes(0.005, 0.3), duplicated: sometimes(0.01, 0.4), delayed: sometimes(0.01, 0.3),
      engineCrash: sometimes(0.01, 0.3), slowTask: sometimes(0.02, 0.2),
      appendSlow: sometimes(0.01, 0.3), appendLostAck: sometimes(0.003, 0.05), appendRefused: sometimes(0.003, 0.05), killInAppend: sometimes(0.003, 0.08),
      badResult: sometimes(0.01, 0.1), differentResult: !loses && random.chance(0.15) ? 1 : 0,
      crashAtAwait: sometimes(0.001, 0.03), entryAnswerLost: sometimes(0.01, 0.3), storeFails: sometimes(0.003, 0.1), storeHangs: sometimes(0.003, 0.05), wrongBytes: sometimes(0.01, 0.2),
      wrongNamedBytes: sometimesLater(0.01, 0.2), staleList: later.chance(loses ? 0.6 : 0.1) ? later.magnitude(0.1, 1) : 0, formerTeacher: sometimesLater(0.1, 1), checkpointLost: last.chance(0.2) ? last.magnitude(0.05, 0.5) : 0,
    },
  };
}
