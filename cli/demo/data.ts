/** The demo's dataset, and what is corrupted of it: there already, or made. That it is there is found out from the store alone, in milliseconds. */
import { openStore, paths } from '../../store/index.ts';
import type { Context } from '../context.ts';
import { integer } from '../format.ts';
import type { DemoPlan } from './plan.ts';

export interface DemoDataset {
  readonly source: 'mnist' | 'fashion-mnist';
  readonly name: string;
  readonly labeledPerClass: number;
  readonly validation: number;
  readonly seed: number;
}

/** Its name says how it was drawn, and a manifest is written last: one that is there is the same, and whole. A later version has what the user added to it, such as reviewed labels. */
export async function ensureDataset(context: Context, storeUrl: string, { source, name, labeledPerClass, validation, seed }: DemoDataset): Promise<void> {
  const store = await openStore(storeUrl);
  if ((await store.getNamed(paths.datasetManifest(name))) !== undefined) {
    let added = 0;
    for await (const { key } of store.list(paths.datasetVersions(name))) added += key === '' ? 0 : 1;
    if (added > 0) context.note(`${name} was added to since it was imported: this run takes its newest version, ${name}@${added + 1}. With another --home it begins anew.`);
    return;
  }
  const [{ runImport }, { partNames }] = await Promise.all([import('../dataset-import.ts'), import('../../dataset/index.ts')]);
  const { manifest } = await runImport(context, store, { kind: source, files: {} }, { name, labeledPerClass, validation, seed });
  context.note(`imported ${name}: ${partNames.map((part) => `${integer(manifest.parts[part]?.samples ?? 0)} ${part}`).join(', ')}`);
}

/** The corrupted sets that the plan names. One that is there is not made again, and an interrupted one goes on. */
export async function ensureCorrupted(context: Context, storeUrl: string, dataset: string, { as, images, sequenceImages }: NonNullable<DemoPlan['corrupted']>): Promise<void> {
  const [{ corruptDataset }, { countedProgress }, store] = await Promise.all([import('../../dataset/index.ts'), import('../dataset-import.ts'), openStore(storeUrl)]);
  const progress = countedProgress(context, `corrupting ${dataset}`);
  try {
    const sets = await corruptDataset(store, dataset, { as, images, ...(sequenceImages === undefined ? {} : { sequenceImages }), signal: context.signal }, progress.update);
    const made = sets.filter((set) => set.made).length;
    if (made > 0) context.note(`corrupted ${images === undefined ? 'all images' : `${integer(images)} images each`} of ${dataset}'s validation and test: ${integer(made)} datasets made`);
  } finally {
    progress.end();
  }
}
