/**
 * The typed paths of everything we keep. A reader of a bucket listing finds its way by this page:
 *
 *   datasets/<name>/manifest.json                  the dataset; named, created once
 *   datasets/<name>/<part>/<sha256>.tar            shards of images
 *   datasets/<name>/<part>/<sha256>.parquet        labels (key, class) and origins (key, origin) of the part
 *   datasets/<name>/truth/<sha256>.parquet         true labels and origins of the unlabeled part: for reports, hidden from training
 *   runs/<run>/<task id>/<sha256>.<extension>      what a task produced
 */
export type PartName = 'labeled' | 'unlabeled' | 'validation' | 'test';

const MANIFEST = 'manifest.json';
const DATASETS = 'datasets/';

export const paths = {
  datasets: DATASETS,
  dataset: (name: string): string => `${DATASETS}${name}/`,
  datasetManifest: (name: string): string => `${DATASETS}${name}/${MANIFEST}`,
  datasetPart: (name: string, part: PartName): string => `${DATASETS}${name}/${part}`,
  datasetTruth: (name: string): string => `${DATASETS}${name}/truth`,
  runs: 'runs/',
  run: (runId: string): string => `runs/${runId}/`,
  taskOutput: (runId: string, taskId: string): string => `runs/${runId}/${taskId}`,
} as const;

/** The dataset that a manifest's key names; undefined for every other key. */
export function datasetOfManifest(key: string): string | undefined {
  const [, name] = /^datasets\/([^/]+)\/manifest\.json$/.exec(key) ?? [];
  return name;
}
