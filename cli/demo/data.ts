/** The demo's dataset: there already, or imported. That it is there is found out from the store alone, in milliseconds. */
import { openStore, paths } from '../../store/index.ts';
import type { Context } from '../context.ts';
import { integer } from '../format.ts';

export interface DemoDataset {
  readonly source: 'mnist' | 'fashion-mnist';
  readonly name: string;
  readonly labeledPerClass: number;
  readonly validation: number;
  readonly seed: number;
}

/** Its name says how it was drawn, and a manifest is written last: one that is there is the same, and whole. */
export async function ensureDataset(context: Context, storeUrl: string, { source, name, labeledPerClass, validation, seed }: DemoDataset): Promise<void> {
  const store = await openStore(storeUrl);
  if ((await store.getNamed(paths.datasetManifest(name))) !== undefined) return;
  const [{ runImport }, { partNames }] = await Promise.all([import('../dataset-import.ts'), import('../../dataset/index.ts')]);
  const { manifest } = await runImport(context, store, { kind: source, files: {} }, { name, labeledPerClass, validation, seed });
  context.note(`imported ${name}: ${partNames.map((part) => `${integer(manifest.parts[part]?.samples ?? 0)} ${part}`).join(', ')}`);
}
