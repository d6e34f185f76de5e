/**
 * The typed paths of everything we keep. A reader of a bucket listing finds its way by this page:
 *
 *   datasets/<name>/manifest.json                  the dataset; named, created once
 *   datasets/<name>/versions/<number>.json         a later version of it, from 2 on; each created once
 *   datasets/<name>/<part>/<sha256>.tar            shards of images
 *   datasets/<name>/<part>/<sha256>.parquet        labels (key, class) and origins (key, origin) of the part
 *   datasets/<name>/<part>/<sha256>.keys           the part's keys alone, sorted
 *   datasets/<name>/truth/<sha256>.parquet         true labels and origins of the unlabeled part: for reports, hidden from training
 *   runs/<run>/<task id>/<sha256>.<extension>      what a task produced; `.record`: its result as the worker reports it; `.checkpoint`: how far a training came
 *   runs/<run>/<task id>/<sha256>.spec             what the task is to do, where that is too large for a message
 *   runs/<run>/data/<sha256>.data                  the parts of a run's data, where they are too large for a fact
 *   runs/<run>/reviewed/<sha256>.<extension>       images that a person gave a label to during the run, and the labels of its labeled part from then on
 *   runs/<run>/manifests/<number>/<sha256>.manifest  the run's facts since the manifest before
 *   labels/<model>/<shard>.json                    where the labels of a shard by a model lie, for runs to come: both by digest; named, created once
 *   fingerprints/<shard>                           what the images of a shard look like, by its digest and the images' shape; named, created once. Deleted, it is computed again
 *   indexed/<digest>.json                          what is known of a tar at a place, by place, key, bytes and time of writing; named, created once. Deleted, the tar is read again
 *   journal/snapshots/<sha256>.snapshot            all runs as of one sequence of the journal
 *   journal/runs/<run>/<sha256>.state              a run's state, as a snapshot names it
 */
export type PartName = 'labeled' | 'unlabeled' | 'validation' | 'test';

const MANIFEST = 'manifest.json';
const DATASETS = 'datasets/';

export const paths = {
  datasets: DATASETS,
  dataset: (name: string): string => `${DATASETS}${name}/`,
  datasetManifest: (name: string): string => `${DATASETS}${name}/${MANIFEST}`,
  /** @param version 1 is the dataset as it was made. Numbers of one width, so that a listing tells them in order. */
  datasetVersion: (name: string, version: number): string => (version === 1 ? `${DATASETS}${name}/${MANIFEST}` : `${DATASETS}${name}/versions/${String(version).padStart(8, '0')}.json`),
  datasetVersions: (name: string): string => `${DATASETS}${name}/versions/`,
  datasetPart: (name: string, part: PartName): string => `${DATASETS}${name}/${part}`,
  datasetTruth: (name: string): string => `${DATASETS}${name}/truth`,
  runs: 'runs/',
  run: (runId: string): string => `runs/${runId}/`,
  runData: (runId: string): string => `runs/${runId}/data`,
  runReviewed: (runId: string): string => `runs/${runId}/reviewed`,
  runManifests: (runId: string): string => `runs/${runId}/manifests/`,
  /** Numbers of one width, so that a listing tells them in order. */
  runManifest: (runId: string, number: number): string => `runs/${runId}/manifests/${String(number).padStart(8, '0')}`,
  labels: (model: string, shard: string): string => `labels/${model}/${shard}.json`,
  fingerprints: (shard: string): string => `fingerprints/${shard}`,
  tarIndex: (digest: string): string => `indexed/${digest}.json`,
  snapshots: 'journal/snapshots',
  runSnapshots: (runId: string): string => `journal/runs/${runId}`,
  taskOutput: (runId: string, taskId: string): string => `runs/${runId}/${taskId}`,
} as const;

/** The dataset that a manifest's key names; undefined for every other key. */
export function datasetOfManifest(key: string): string | undefined {
  const [, name] = /^datasets\/([^/]+)\/manifest\.json$/.exec(key) ?? [];
  return name;
}
