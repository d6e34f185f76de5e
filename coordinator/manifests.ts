/**
 * Manifests: a run's facts in the object store, one behind another, so that the bucket alone can give the run back. The
 * leader writes one ahead of journalling a run's beginning, a stage's end, the begin and end of a round of a shared training, or the run's end; and with every command of an
 * operator and every pause, where the store takes it: a store that is full must not keep a run from being paused for it.
 * What tasks ended since lies beside their outputs, in records that workers write.
 *
 * Invariants:
 *  1. A manifest holds the facts of its run since the one before, which it names by digest; nothing is told twice.
 *  2. It is written and verified before its facts are journalled. So one may tell of facts that never were: two leaders, or
 *     an append that failed, leave two of one number. Which of them holds is said by the next one, or by the journal.
 */
import { AlumnusError, toAlumnusError } from '../proto/errors.ts';
import type { Event } from '../proto/gen/alumnus/v1/events.ts';
import { RunManifest } from '../proto/gen/alumnus/v1/record.ts';
import { paths, type ObjectRef, type ObjectStore } from '../store/index.ts';
import { EVENT_SCHEMA_VERSION, schemaVersionOf } from './journal/index.ts';
import { journalled, type RunState } from './run/index.ts';

type Kind = NonNullable<Event['fact']>['$case'];

/** What becomes of a task is told by its record and by its checkpoints, and by the manifest of its stage's end. */
const OF_TASKS: readonly Kind[] = ['taskCompleted', 'taskFailed', 'taskQuarantined', 'checkpointReached', 'manifestWritten'];

/** What the bucket must know before the journal does: of rounds, how many replicas share one and which of them are merged, since no record tells. */
const STAGE_ENDS: readonly Kind[] = ['runSubmitted', 'stageEntered', 'roundOpened', 'roundClosed', 'studentPromoted', 'studentRefused', 'runSucceeded'];

export const needsManifest = (events: readonly Event[]): boolean => events.some(({ fact }) => fact !== undefined && STAGE_ENDS.includes(fact.$case));

export const wantsManifest = (events: readonly Event[]): boolean => events.some(({ fact }) => fact !== undefined && !OF_TASKS.includes(fact.$case));

/** Writes the run's next manifest and resolves to the fact that says so. @param last the run's last one. @throws the store's errors. */
export async function writeManifest(store: ObjectStore, runId: string, last: RunState['manifest'], events: readonly Event[], term: number): Promise<NonNullable<Event['fact']>> {
  const number = last === undefined ? 0 : last.number + 1;
  const factsBefore = last?.facts ?? 0;
  const schemaVersion = schemaVersionOf(events);
  const bytes = RunManifest.encode({ schemaVersion, runId, number, previous: last?.ref, term, factsBefore, events: events.map(journalled) }).finish();
  const manifest = await store.putAddressed(paths.runManifest(runId, number), bytes, {
    extension: '.manifest',
    metadata: { 'alumnus.run': runId, 'alumnus.schema': String(schemaVersion), 'alumnus.manifest': String(number), 'alumnus.previous': last?.ref.sha256 ?? '', 'alumnus.term': String(term) },
  });
  return { $case: 'manifestWritten', value: { manifest, number, facts: factsBefore + events.length } };
}

export interface FoundManifest {
  readonly ref: ObjectRef;
  readonly manifest: RunManifest;
}

/** A run's facts as its manifests tell them, and what of them could not be used. */
export interface Testimony {
  /** From number 0 on, each naming the one before it. */
  readonly chain: readonly FoundManifest[];
  readonly notes: readonly string[];
  readonly objects: number;
}

/**
 * Reads a run's manifests and follows them from the last: the longest unbroken line that ends in the highest number. Of
 * two ends of one number the one on the journal's own line goes first; where the journal can't tell, the one of the later
 * term, and then the one that tells of later facts: a put that the leader no longer waited for may arrive behind the next.
 * @param journalled digest of the last manifest that the journal names.
 */
export async function readManifests(store: ObjectStore, runId: string, journalled?: string): Promise<Testimony> {
  const found = new Map<string, FoundManifest>();
  const notes: string[] = [];
  let objects = 0;
  for await (const { key } of store.list(paths.runManifests(runId))) {
    objects += 1;
    try {
      const read = await store.getNamed(key);
      if (read === undefined) continue;
      // The key ends in the digest of what lies there: another one means other bytes than were written.
      if (!key.includes(read.ref.sha256)) throw new AlumnusError('DIGEST_MISMATCH', `its sha256 is ${read.ref.sha256}`, { where: key });
      const manifest = RunManifest.decode(read.content);
      if (manifest.schemaVersion > EVENT_SCHEMA_VERSION) throw new AlumnusError('JOURNAL_UNREADABLE', `it is of schema ${manifest.schemaVersion}, this release reads up to ${EVENT_SCHEMA_VERSION}`, { where: key });
      if (manifest.runId !== runId) throw new AlumnusError('SHARD_CORRUPT', `it is of run ${manifest.runId}`, { where: key });
      found.set(read.ref.sha256, { ref: read.ref, manifest });
    } catch (thrown) {
      const error = toAlumnusError(thrown, key);
      // The store being away is no statement about the manifest.
      if (error.retryable) throw error;
      notes.push(`${key} can't be used: ${error.message}`);
    }
  }
  const own = new Set<string>();
  for (const { ref, manifest } of [...found.values()].sort((a, b) => a.manifest.number - b.manifest.number)) {
    if (ref.sha256 === journalled || own.has(manifest.previous?.sha256 ?? '')) own.add(ref.sha256);
  }
  const ends = [...found.values()].sort((a, b) => b.manifest.number - a.manifest.number || Number(own.has(b.ref.sha256)) - Number(own.has(a.ref.sha256)) || b.manifest.term - a.manifest.term || lastMsOf(b) - lastMsOf(a) || (a.ref.sha256 < b.ref.sha256 ? -1 : 1));
  for (const end of ends) {
    const chain: FoundManifest[] = [end];
    for (let at: FoundManifest | undefined = end; at !== undefined && at.manifest.number > 0;) {
      at = at.manifest.previous === undefined ? undefined : found.get(at.manifest.previous.sha256);
      if (at !== undefined) chain.unshift(at);
    }
    const [first] = chain;
    if (first?.manifest.number !== 0) {
      notes.push(`manifest ${end.manifest.number} leads back to number ${first?.manifest.number ?? end.manifest.number} only: one before it is missing`);
      continue;
    }
    const unused = [...found.values()].filter((each) => !chain.includes(each) && each.manifest.number <= end.manifest.number && !notes.some((note) => note.startsWith(`manifest ${each.manifest.number} `)));
    for (const { manifest, ref } of unused) notes.push(`manifest ${manifest.number} of term ${manifest.term} (${ref.sha256.slice(0, 12)}) was left by a leader that did not get to journal it`);
    return { chain, notes, objects };
  }
  return { chain: [], notes, objects };
}

/**
 * Whether the store tells of a run of this id that went on, or was submitted otherwise. A submission whose journaling
 * failed leaves its first manifest: said again it is the same, and must be taken. @throws the store's errors.
 */
export async function storeHoldsAnother(store: ObjectStore, runId: string, recipeJson: string): Promise<boolean> {
  for await (const { key } of store.list(paths.runManifests(runId))) {
    if (!key.startsWith(`${paths.runManifest(runId, 0)}/`)) return true;
    const read = await store.getNamed(key);
    const [fact, ...more] = read === undefined ? [] : RunManifest.decode(read.content).events;
    if (more.length > 0 || fact?.fact?.$case !== 'runSubmitted' || fact.fact.value.recipeJson !== recipeJson) return true;
  }
  return false;
}

const lastMsOf = ({ manifest }: FoundManifest): number => manifest.events.at(-1)?.atMs ?? 0;

/** The facts of a line of manifests, the facts about manifests included, as the journal has them. */
export function factsOf(chain: readonly FoundManifest[]): Event[] {
  return chain.flatMap(({ ref, manifest }) => {
    const written: Event = { runId: manifest.runId, atMs: lastMsOf({ ref, manifest }), fact: { $case: 'manifestWritten', value: { manifest: ref, number: manifest.number, facts: manifest.factsBefore + manifest.events.length } } };
    return [...manifest.events, written];
  });
}
