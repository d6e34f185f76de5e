/**
 * fingerprint: what images look like. Of those that judge, kept for who is compared with them; of a shard of those that train, compared, and its near-duplicates told.
 * Which are left out of what is the run's to decide (coordinator/run/near-duplicates.ts).
 */
import { AlumnusError } from '../../proto/errors.ts';
import type { FingerprintResult, FingerprintSpec, ObjectRef, ShardRef } from '../../proto/gen/alumnus/v1/task.ts';
import { DISTANCE_MAX, encodeJudging, encodeNear, FINGERPRINT_BYTES, fingerprintsOf, NearIndex, readJudging, type Fingerprints, type JudgingFingerprints, type JudgingPart, type NearDuplicate, type NearRule } from '../data/index.ts';
import { aboutOf, required, shapeOf, type TaskContext } from './context.ts';

export async function fingerprint(context: TaskContext, spec: FingerprintSpec): Promise<FingerprintResult> {
  const { store, cacheFolder, signal } = context;
  const reading = { store, shape: shapeOf(spec.image), cacheFolder, signal };
  let done = 0;
  const of = async (shards: readonly ShardRef[]): Promise<Fingerprints[]> => {
    const all: Fingerprints[] = [];
    for (const shard of shards) {
      all.push(await fingerprintsOf(reading, shard));
      context.progress({ done: done += shard.samples, total: context.task.work, unit: 'images', rate: 0, loss: 0 });
    }
    return all;
  };
  const put = (bytes: Uint8Array, extension: string): Promise<ObjectRef> => store.putAddressed(context.task.outputPrefix, bytes, { extension, metadata: aboutOf(context) });
  if (spec.against === undefined) {
    const judging = encodeJudging(await of(required(spec.validation, 'validation').shards), await of(spec.test?.shards ?? []));
    return { fingerprints: await put(judging, '.fingerprints'), near: undefined, samples: done, nearValidation: 0, nearTest: 0, nearAny: 0 };
  }
  if (spec.distance > DISTANCE_MAX) throw new AlumnusError('USAGE', `hashes may differ in 0 to ${DISTANCE_MAX} bits, not ${spec.distance}`, { where: 'data.near_duplicates.distance' });
  const shard = required(spec.shard, 'shard');
  const found: NearDuplicate[] = [];
  const judging = await judgingOf(context, spec.against, spec);
  for (const own of await of([shard])) found.push(...nearestOf(own, shard.name, judging));
  const inPart = (part: JudgingPart): number => found.filter((each) => each.part === part).length;
  return {
    fingerprints: undefined, near: found.length === 0 ? undefined : await put(encodeNear(found), '.parquet'), samples: done,
    nearValidation: inPart('validation'), nearTest: inPart('test'), nearAny: new Set(found.map(({ key }) => key)).size,
  };
}

interface Judging extends JudgingFingerprints {
  readonly index: NearIndex;
}

/** The last one: the shards of a run are compared with the same. */
let last: { readonly name: string; readonly judging: Judging } | undefined;

async function judgingOf({ store }: TaskContext, against: ObjectRef, rule: NearRule): Promise<Judging> {
  const name = `${against.sha256}/${rule.distance}/${rule.correlation}`;
  if (last?.name === name) return last.judging;
  const judging = await readJudging(store, against);
  last = { name, judging: { ...judging, index: new NearIndex(judging.bytes, rule) } };
  return last.judging;
}

/** Of each sample the image of either part that it looks like most; of equals the first by its key. */
function nearestOf({ keys, bytes }: Fingerprints, shard: string, { index, keys: judging, validation }: Judging): NearDuplicate[] {
  return keys.flatMap((key, row) => {
    const near = index.near(bytes.subarray(row * FINGERPRINT_BYTES, (row + 1) * FINGERPRINT_BYTES))
      .map(({ row: at, distance, correlation }) => ({ key, shard, part: at < validation ? 'validation' as const : 'test' as const, of: judging[at] ?? '', distance, correlation }))
      .sort((a, b) => b.correlation - a.correlation || (a.of < b.of ? -1 : 1));
    return (['validation', 'test'] as const).flatMap((part) => near.find((each) => each.part === part) ?? []);
  });
}
