/** The public door of `dataset`: immutable sets of images in shards, with their labels beside them. */
export { conformImage, decodeImage, encodePng, imageExtension, type ImageExtension } from './images.ts';
export { checkDatasetName, listDatasets, loadManifest, manifestSchema, partNames, type DatasetManifest, type DatasetPart, type DatasetShard, type ImageShape, type LoadedManifest } from './manifest.ts';
export { openParquet, writeParquet, type ParquetTable } from './parquet.ts';
export { readShard, SHARD_SAMPLES_DEFAULT, type ShardSample } from './shards.ts';
export { readLabels, readOrigins, type Labels } from './tables.ts';
