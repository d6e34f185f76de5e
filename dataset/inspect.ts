/** What a dataset holds, as figures: from its manifest alone, without reading a shard. */
import type { ObjectStore, PartName } from '../store/index.ts';
import { loadManifest, partNames, versionOf, type DatasetManifest, type DatasetShard } from './manifest.ts';

export interface PartSummary {
  readonly part: PartName;
  readonly samples: number;
  readonly shards: number;
  readonly bytes: number;
  /** Samples of each class, where the part has labels. */
  readonly classCounts?: readonly number[];
  /** Whether true labels are kept for the report. */
  readonly truth: boolean;
  /** Where registered shards lie, and how many at each place; absent where all are in the store. */
  readonly registered?: readonly { readonly location: string; readonly shards: number }[];
}

export interface DatasetSummary {
  readonly name: string;
  readonly digest: string;
  readonly version: number;
  readonly classes: readonly string[];
  readonly image: DatasetManifest['image'];
  readonly split: DatasetManifest['split'];
  /** Of a dataset that was made of another: by what, and of which. */
  readonly corruption?: DatasetManifest['corruption'];
  readonly parts: readonly PartSummary[];
}

/** @param reference NAME or NAME@N @throws AlumnusError DATASET_NOT_FOUND */
export async function inspectDataset(store: ObjectStore, reference: string): Promise<DatasetSummary> {
  const { manifest, digest } = await loadManifest(store, reference);
  const parts = partNames.flatMap((part): PartSummary[] => {
    const found = manifest.parts[part];
    if (found === undefined) return [];
    const bytes = found.shards.reduce((sum, shard) => sum + shard.ref.bytes, 0);
    return [{ part, samples: found.samples, shards: found.shards.length, bytes, truth: found.truth !== undefined, ...registeredIn(found.shards), ...(found.classCounts === undefined ? {} : { classCounts: found.classCounts }) }];
  });
  return { name: manifest.name, digest, version: versionOf(manifest), classes: manifest.classes, image: manifest.image, split: manifest.split, parts, ...(manifest.corruption === undefined ? {} : { corruption: manifest.corruption }) };
}

function registeredIn(shards: readonly DatasetShard[]): Pick<PartSummary, 'registered'> {
  const counts = new Map<string, number>();
  for (const { location } of shards) if (location !== undefined) counts.set(location, (counts.get(location) ?? 0) + 1);
  return counts.size === 0 ? {} : { registered: [...counts].map(([location, count]) => ({ location, shards: count })) };
}
