/** The sources by the names under which a person asks for them. */
import { AlumnusError } from '../../proto/errors.ts';
import { fashionMnistSource } from './fashion-mnist.ts';
import { folderSource } from './folder.ts';
import { idxSource } from './idx.ts';
import { mnistSource } from './mnist.ts';
import { parquetSource } from './parquet.ts';
import type { Source } from './source.ts';
import { webDatasetSource } from './webdataset.ts';

export const sourceKinds = ['mnist', 'fashion-mnist', 'folder', 'idx', 'webdataset', 'parquet'] as const;
export type SourceKind = (typeof sourceKinds)[number];

/** Where a source lies. What a kind has no use for is an error, not passed over. */
export interface SourceFiles {
  /** folder: one folder; idx: the images file; webdataset: the tars; parquet: files or folders of them. */
  readonly paths?: readonly string[];
  /** idx: the labels file. */
  readonly labels?: string;
  /** folder: class folders; idx: images; webdataset: tars; parquet: files, of the test split. */
  readonly test?: readonly string[];
  /** idx: labels of the test images. */
  readonly testLabels?: string;
  /** Images without labels: a flat folder, an IDX file, tars, Parquet files. */
  readonly unlabeled?: readonly string[];
  /** Where downloads are kept. Default the user's cache. */
  readonly cache?: string;
}

/** @throws AlumnusError USAGE, DATASET_SOURCE_UNREADABLE, SOURCE_UNAVAILABLE */
export async function openSource(kind: string, files: SourceFiles = {}): Promise<Source> {
  const usage = (what: string): AlumnusError => new AlumnusError('USAGE', what, { where: kind });
  const one = (values: readonly string[] | undefined, what: string): string | undefined => {
    if ((values?.length ?? 0) > 1) throw usage(`takes one ${what}`);
    return values?.[0];
  };
  const needed = (value: string | undefined, what: string): string => {
    if (value === undefined) throw usage(`needs ${what}`);
    return value;
  };
  const without = (...fields: (keyof SourceFiles)[]): void => {
    for (const field of fields) if (files[field] !== undefined) throw usage(`takes no ${field}`);
  };
  const cache = files.cache === undefined ? {} : { cache: files.cache };
  switch (kind) {
    case 'mnist':
    case 'fashion-mnist':
      without('paths', 'labels', 'test', 'testLabels', 'unlabeled');
      return kind === 'mnist' ? mnistSource(cache) : fashionMnistSource(cache);
    case 'folder':
      without('labels', 'testLabels');
      return folderSource({ path: needed(one(files.paths, 'folder'), 'a folder'), test: one(files.test, 'test folder'), unlabeled: one(files.unlabeled, 'unlabeled folder') });
    case 'idx':
      return idxSource({ images: needed(one(files.paths, 'images file'), 'an images file'), labels: files.labels, testImages: one(files.test, 'test images file'), testLabels: files.testLabels, unlabeledImages: one(files.unlabeled, 'unlabeled images file') });
    case 'webdataset':
      without('labels', 'testLabels');
      return webDatasetSource({ shards: files.paths ?? [], test: files.test, unlabeled: files.unlabeled });
    case 'parquet':
      without('labels', 'testLabels');
      return parquetSource({ paths: files.paths ?? [], test: files.test, unlabeled: files.unlabeled });
    default:
      throw usage(`there is no source "${kind}"; there are ${sourceKinds.join(', ')}`);
  }
}
