/**
 * Whether the witnesses of a run agree, on real engines: what the journal holds, what the bucket's manifests tell, and what
 * `reconcile` finds. Not for: whether the run is sound by itself (`problemsOf` in evidence.ts).
 */
import { isMap } from 'immutable';
import { Fold } from '../../coordinator/fold.ts';
import { openJetStream } from '../../coordinator/journal/index.ts';
import { factsOf, readManifests } from '../../coordinator/manifests.ts';
import { connectNats } from '../../coordinator/nats.ts';
import { canonicalJson, type ObjectStore } from '../../store/index.ts';
import { Event } from '../../proto/gen/alumnus/v1/events.ts';
import { fold } from '../unit/coordinator/work.ts';
import type { RealCluster } from './real-cluster.ts';

/** Everything of the data sets of one store into another, as it is. */
export async function copyDatasets(from: ObjectStore, to: ObjectStore): Promise<void> {
  for await (const { key } of from.list('datasets/')) {
    const named = await from.getNamed(key);
    if (named === undefined) continue;
    const [, prefix = '', extension = ''] = /^(.*)\/[0-9a-f]{64}(\.[a-z]+)?$/.exec(key) ?? [];
    if (prefix === '') await to.putNamed(key, named.content);
    else await to.putAddressed(prefix, named.content, { extension, metadata: await from.metadata(key) });
  }
}

/** The facts of a run, by its manifests. */
export const toldFacts = async (store: ObjectStore, runId: string): Promise<Event[]> => factsOf((await readManifests(store, runId)).chain);

/** When a manifest's place was journalled is in the journal alone. */
const textOf = (event: Event): string => canonicalJson(Event.toJSON(event.fact?.$case === 'manifestWritten' ? { ...event, atMs: 0 } : event));

/**
 * What does not agree about runs that ended; nothing where all is well.
 *  1. The facts of the journal are those of the manifests, in their order; where a snapshot took the first ones, the last of them.
 *  2. The journal's fold, snapshot included, is the fold of the manifests' facts.
 *  3. `reconcile` finds nothing to do, and nothing that it can't explain.
 */
export async function disagreements(cluster: RealCluster, runIds: readonly string[]): Promise<{ problems: string[]; unjournalled: number }> {
  const problems: string[] = [];
  const store = await cluster.openStore();
  const { after, events } = await cluster.journalled();
  const nats = await connectNats(cluster.journalUrl, { env: {} });
  const folded = await Fold.load(await openJetStream(nats), store).finally(() => nats.close());
  for (const runId of runIds) {
    const facts = await toldFacts(store, runId);
    const told = facts.map(textOf);
    const journalled = events.filter((event) => event.runId === runId).map(textOf);
    const expected = after === 0 ? told : told.slice(told.length - journalled.length);
    const at = expected.findIndex((text, each) => text !== journalled[each]);
    if (expected.length !== journalled.length || at >= 0) problems.push(`${runId}: the journal has ${journalled.length} facts and the manifests ${told.length}; they differ from ${at} on: ${journalled[at]} where the bucket has ${expected[at]}`);
    if (canonicalJson(plain(folded.runs.get(runId))) !== canonicalJson(plain(fold(facts)))) problems.push(`${runId}: the journal and the manifests fold to different states`);
  }
  const { runs } = await cluster.operator.reconcile('', false);
  const verdicts = new Map(runs.map(({ runId, verdict }) => [runId, verdict]));
  for (const runId of runIds) if (verdicts.get(runId) !== 'agrees') problems.push(`reconcile says ${verdicts.get(runId) ?? 'nothing'} of ${runId}: ${runs.find((run) => run.runId === runId)?.notes.join('; ')}`);
  // A leader that lost its term between a manifest and its journalling leaves it behind; there is nothing else to tell.
  const notes = runs.flatMap((run) => run.notes);
  for (const note of notes) if (!note.includes('was left by a leader')) problems.push(`reconcile notes: ${note}`);
  return { problems, unjournalled: notes.length };
}

/** Maps, sets and bytes as lists, so that states can be compared as text: how a map is built inside depends on how it came to be. */
function plain(value: unknown): unknown {
  if (value instanceof Map || isMap(value)) return [...value].map(plain).sort((a, b) => (canonicalJson(a) < canonicalJson(b) ? -1 : 1));
  if (value instanceof Set) return [...value].map(plain);
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value === 'object' && value !== null) return Object.fromEntries(Object.entries(value).filter(([, each]) => each !== undefined).map(([key, each]) => [key, plain(each)]));
  return value;
}
