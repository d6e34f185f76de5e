/**
 * Verify: reads a whole dataset and lists what is wrong with it, each problem with its file and a remedy, going on after
 * each. An empty list means: the manifest is as it was written, every object has its digest, every image decodes to the dataset's shape, counts and tables
 * agree with the shards, and no key or image content is in two places.
 */
import { AlumnusError, errorTable, type ErrorCode } from '../proto/errors.ts';
import { sha256, type ObjectRef, type ObjectStore, type PartName } from '../store/index.ts';
import { decodeImage } from './images.ts';
import type { Progress } from './import.ts';
import { encodeKeys } from './keys.ts';
import { partNames, readManifest, type DatasetManifest, type DatasetPart } from './manifest.ts';
import { readShard } from './shards.ts';
import { readLabels, readOrigins } from './tables.ts';

export interface DatasetProblem {
  readonly code: ErrorCode;
  /** The object's key, and the image where it is about one. */
  readonly file: string;
  readonly problem: string;
  readonly remedy: string;
}

/** A set that is damaged throughout need not be listed throughout. */
const PROBLEMS_MAX = 1000;

class Findings {
  readonly problems: DatasetProblem[] = [];

  add(code: ErrorCode, file: string, problem: string): void {
    this.problems.push({ code, file, problem, remedy: errorTable[code].remedy });
  }

  /** What reading met; a defect of ours is no problem of the data. */
  thrown(error: unknown): void {
    if (!(error instanceof AlumnusError)) throw error;
    this.add(error.code, error.where, error.message);
  }

  get full(): boolean {
    return this.problems.length >= PROBLEMS_MAX;
  }
}

/** Where a key and an image content were first seen. */
interface Seen {
  readonly keys: Map<string, string>;
  readonly contents: Map<string, string>;
}

async function verifyShard(store: ObjectStore, manifest: DatasetManifest, ref: ObjectRef, samples: number, seen: Seen, findings: Findings): Promise<string[]> {
  const keys: string[] = [];
  try {
    for await (const sample of readShard(store, ref)) {
      const file = `${ref.key} ${sample.key}`;
      keys.push(sample.key);
      const before = seen.keys.get(sample.key);
      if (before !== undefined) findings.add('SHARD_CORRUPT', file, `the key is also in ${before}`);
      seen.keys.set(sample.key, before ?? ref.key);
      try {
        const content = sha256(await decodeImage(sample.bytes, manifest.image, file));
        const same = seen.contents.get(content);
        if (same !== undefined) findings.add('SHARD_CORRUPT', file, `the same image is also ${same}`);
        seen.contents.set(content, same ?? file);
      } catch (thrown) {
        findings.thrown(thrown);
      }
      if (findings.full) return keys;
    }
    if (keys.length !== samples) findings.add('SHARD_CORRUPT', ref.key, `the shard holds ${keys.length} samples where the manifest says ${samples}`);
  } catch (thrown) {
    findings.thrown(thrown);
  }
  return keys;
}

async function verifyTables(store: ObjectStore, part: DatasetPart, name: PartName, classes: number, keys: ReadonlySet<string> | undefined, findings: Findings): Promise<void> {
  const check = (ref: ObjectRef, tableKeys: readonly string[], whole: boolean): void => {
    if (keys === undefined) return;
    const inTable = new Set(tableKeys);
    const unknown = tableKeys.filter((key) => !keys.has(key)).length;
    const missing = [...keys].filter((key) => !inTable.has(key)).length;
    if (unknown > 0) findings.add('SHARD_CORRUPT', ref.key, `${unknown} keys of the table are in no shard of ${name}`);
    if (inTable.size < tableKeys.length) findings.add('SHARD_CORRUPT', ref.key, `${tableKeys.length - inTable.size} keys of the table come twice`);
    if (whole && missing > 0) findings.add('SHARD_CORRUPT', ref.key, `${missing} samples of ${name} are not in the table`);
  };
  for (const [ref, whole] of [[part.labels, true], [part.truth, false]] as const) {
    if (ref === undefined) continue;
    try {
      const labels = await readLabels(store, ref);
      check(ref, labels.keys, whole);
      const outside = labels.classes.find((label) => label < 0 || label >= classes);
      if (outside !== undefined) findings.add('LABEL_OUT_OF_RANGE', ref.key, `the class ${outside} is none of the dataset's ${classes}`);
      const counts = new Array<number>(classes).fill(0);
      for (const label of labels.classes) counts[label] = (counts[label] ?? 0) + 1;
      if (whole && part.classCounts !== undefined && part.classCounts.some((count, label) => count !== counts[label])) findings.add('SHARD_CORRUPT', ref.key, 'the classes\' counts are not those of the manifest');
    } catch (thrown) {
      findings.thrown(thrown);
    }
  }
  if (part.keys !== undefined && keys !== undefined) {
    try {
      if (!Buffer.from(await store.get(part.keys)).equals(encodeKeys(keys))) findings.add('SHARD_CORRUPT', part.keys.key, `the list of keys is not that of the shards of ${name}`);
    } catch (thrown) {
      findings.thrown(thrown);
    }
  }
  if (part.origins === undefined) return;
  try {
    check(part.origins, [...(await readOrigins(store, part.origins)).keys()], true);
  } catch (thrown) {
    findings.thrown(thrown);
  }
}

/** @throws AlumnusError DATASET_NOT_FOUND, and SHARD_CORRUPT where the manifest itself cannot be read. */
export async function verifyDataset(store: ObjectStore, name: string, progress: Progress = () => undefined, signal?: AbortSignal): Promise<DatasetProblem[]> {
  const { manifest, edited } = await readManifest(store, name);
  const findings = new Findings();
  if (edited !== undefined) findings.thrown(edited);
  const seen: Seen = { keys: new Map(), contents: new Map() };
  const total = partNames.reduce((sum, part) => sum + (manifest.parts[part]?.samples ?? 0), 0);
  let done = 0;
  for (const partName of partNames) {
    const part = manifest.parts[partName];
    if (part === undefined) continue;
    const before = findings.problems.length;
    const keys = new Set<string>();
    for (const shard of part.shards) {
      if (signal?.aborted === true) throw new AlumnusError('CANCELLED', 'the verification was stopped', { where: name });
      for (const key of await verifyShard(store, manifest, shard.ref, shard.samples, seen, findings)) keys.add(key);
      progress(done += shard.samples, total, `verifying ${partName}`);
      if (findings.full) return findings.problems;
    }
    const stated = part.shards.reduce((sum, shard) => sum + shard.samples, 0);
    if (stated !== part.samples) findings.add('SHARD_CORRUPT', name, `${partName} has ${stated} samples in its shards where the manifest says ${part.samples}`);
    // Tables are compared with shards that could all be read: a damaged shard is one problem, not one for each key.
    await verifyTables(store, part, partName, manifest.classes.length, findings.problems.length === before ? keys : undefined, findings);
  }
  return findings.problems;
}
