/**
 * A run's facts in words, by number: what the leader holds of them, and before that what the run's manifests do, read from the
 * last one back. Reads no more manifests than it needs. Not for: what of it is told, and to whom (coordinator/api).
 */
import type { EventView } from '../proto/gen/alumnus/v1/operator.ts';
import { RunManifest } from '../proto/gen/alumnus/v1/record.ts';
import type { Event } from '../proto/gen/alumnus/v1/events.ts';
import type { Leader } from './leader.ts';
import { tellFact, type RunState } from './run/index.ts';

export const EVENTS_MAX = 1_000;

/** How many facts a run has, those about manifests aside. */
export const eventsTotal = (leader: Leader, { runId, manifest }: RunState): number => (manifest?.facts ?? 0) + leader.pending(runId).length;

/** The facts after number `after` (of the first it is 1), at most `max`. @throws the store's errors */
export async function eventsAfter(leader: Leader, run: RunState, after: number, max: number): Promise<EventView[]> {
  const { runId, manifest } = run;
  const told = (event: Event, number: number): EventView => {
    const { kind, text, iteration = 0, taskId = '', workerId = '' } = tellFact(event);
    return { runId, number, atMs: event.atMs, kind, text, iteration, taskId, workerId };
  };
  // Taken now: while manifests are read, the run may write another.
  const inManifests = manifest?.facts ?? 0;
  const pending = [...leader.pending(runId)].map((event, at) => told(event, inManifests + at + 1));
  const earlier: EventView[][] = [];
  for (let ref = after < inManifests ? manifest?.ref : undefined; ref !== undefined;) {
    const { events, factsBefore, previous } = RunManifest.decode(await leader.store.get(ref));
    earlier.unshift(events.map((event, at) => told(event, factsBefore + at + 1)));
    ref = factsBefore > after ? previous : undefined;
  }
  return [...earlier.flat(), ...pending].filter(({ number }) => number > after).slice(0, max);
}

/** The last facts of a run, at most `max`. @throws the store's errors */
export const newestEvents = (leader: Leader, run: RunState, max: number): Promise<EventView[]> => eventsAfter(leader, run, Math.max(0, eventsTotal(leader, run) - max), max);
