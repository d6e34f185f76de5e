/** The demo's dataset: there already, or imported; and corrupted, where the recipe asks for that. That it is there is found out from the store alone, in milliseconds. */
import { openStore, paths, type ObjectStore } from '../../store/index.ts';
import type { Context } from '../context.ts';
import { integer } from '../format.ts';

export interface DemoDataset {
  readonly source: 'mnist' | 'fashion-mnist';
  readonly name: string;
  readonly labeledPerClass: number;
  readonly validation: number;
  readonly seed: number;
  /** What the names of its corrupted datasets begin with; undefined: none are asked for. */
  readonly corrupted?: string | undefined;
}

/** Its name says how it was drawn, and a manifest is written last: one that is there is the same, and whole. */
export async function ensureDataset(context: Context, storeUrl: string, dataset: DemoDataset): Promise<void> {
  const store = await openStore(storeUrl);
  await ensureImported(context, store, dataset);
  if (dataset.corrupted !== undefined) await ensureCorrupted(context, store, dataset.name, dataset.corrupted);
}

async function ensureImported(context: Context, store: ObjectStore, { source, name, labeledPerClass, validation, seed }: DemoDataset): Promise<void> {
  if ((await store.getNamed(paths.datasetManifest(name))) !== undefined) return;
  const [{ runImport }, { partNames }] = await Promise.all([import('../dataset-import.ts'), import('../../dataset/index.ts')]);
  const { manifest } = await runImport(context, store, { kind: source, files: {} }, { name, labeledPerClass, validation, seed });
  context.note(`imported ${name}: ${partNames.map((part) => `${integer(manifest.parts[part]?.samples ?? 0)} ${part}`).join(', ')}`);
}

/** Without perturbation sequences: they are for measuring, and a demo has waited long enough. What is there is not made again. */
async function ensureCorrupted(context: Context, store: ObjectStore, name: string, as: string): Promise<void> {
  const [{ corruptDataset }, { countedProgress }] = await Promise.all([import('../../dataset/index.ts'), import('../dataset-import.ts')]);
  const progress = countedProgress(context, `corrupting ${name}`);
  try {
    const made = (await corruptDataset(store, name, { as, sequenceImages: 0, signal: context.signal }, progress.update)).filter((each) => each.made);
    progress.end();
    if (made.length > 0) context.note(`made ${integer(made.length)} corrupted datasets, ${as}.*`);
  } finally {
    progress.end();
  }
}
