/** The public door of `dataset`: immutable sets of images in shards, their labels beside them, and how they come to be. */
export { corruptDataset, corruptedName, type CorruptedSet, type CorruptOptions } from './corrupt.ts';
export { corruptionNames, sequenceNames, sequenceOf } from './corruptions/index.ts';
export { decodeFloat16, encodeFloat16 } from './float16-lists.ts';
export { conformImage, decodeImage, encodePng, imageExtension, resizedImage, type ImageExtension } from './images.ts';
export { importDataset, type Imported, type ImportOptions, type Progress } from './import.ts';
export { inspectDataset, type DatasetSummary, type PartSummary } from './inspect.ts';
export { sharedKeys } from './keys.ts';
export { checkDatasetName, listDatasets, loadManifest, manifestSchema, partNames, referenceOf, type DatasetManifest, type DatasetPart, type DatasetShard, type ImageShape, type LoadedManifest } from './manifest.ts';
export { openParquet, writeParquet, type ParquetTable } from './parquet.ts';
export { appendDataset, registerDataset, type PlacedTars, type Registered, type RegisterOptions, type TarReaders } from './register.ts';
export { samplePixels, shardSamples, type PlacedShard } from './registered.ts';
export { readShard, SHARD_SAMPLES_DEFAULT, type ShardSample } from './shards.ts';
export { openSource, sourceKinds, type SourceFiles, type SourceKind } from './sources/index.ts';
export type { Source, SourceSample } from './sources/source.ts';
export type { SplitRequest } from './split.ts';
export { countLabels, readLabels, readOrigins, type Labels } from './tables.ts';
export { indexTar, type PlacedTar, type TarIndex } from './tar-index.ts';
export { verifyDataset, type DatasetProblem } from './verify.ts';
