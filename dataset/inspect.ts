/** What a dataset holds, as figures: from its manifest alone, without reading a shard. */
import type { ObjectStore, PartName } from '../store/index.ts';
import { loadManifest, partNames, type DatasetManifest } from './manifest.ts';

export interface PartSummary {
  readonly part: PartName;
  readonly samples: number;
  readonly shards: number;
  readonly bytes: number;
  /** Samples of each class, where the part has labels. */
  readonly classCounts?: readonly number[];
  /** Whether true labels are kept for the report. */
  readonly truth: boolean;
}

export interface DatasetSummary {
  readonly name: string;
  readonly digest: string;
  readonly classes: readonly string[];
  readonly image: DatasetManifest['image'];
  readonly split: DatasetManifest['split'];
  readonly parts: readonly PartSummary[];
}

/** @throws AlumnusError DATASET_NOT_FOUND */
export async function inspectDataset(store: ObjectStore, name: string): Promise<DatasetSummary> {
  const { manifest, digest } = await loadManifest(store, name);
  const parts = partNames.flatMap((part): PartSummary[] => {
    const found = manifest.parts[part];
    if (found === undefined) return [];
    const bytes = found.shards.reduce((sum, shard) => sum + shard.ref.bytes, 0);
    return [{ part, samples: found.samples, shards: found.shards.length, bytes, truth: found.truth !== undefined, ...(found.classCounts === undefined ? {} : { classCounts: found.classCounts }) }];
  });
  return { name, digest, classes: manifest.classes, image: manifest.image, split: manifest.split, parts };
}
