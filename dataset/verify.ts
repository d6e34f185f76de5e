/**
 * Verify: reads a whole dataset and lists what is wrong with it, each problem with its file and a remedy, going on after
 * each. An empty list means: the manifest is as it was written, every object has its digest, every image decodes to the dataset's shape, counts and tables
 * agree with the shards, and no key or image content is in two places; of registered shards, which are read where they lie,
 * unlabeled images may come twice among themselves, and so may those of a corrupted dataset.
 */
import { AlumnusError, errorTable, type ErrorCode } from '../proto/errors.ts';
import { sha256, type ObjectRef, type ObjectStore, type PartName } from '../store/index.ts';
import type { Progress } from './import.ts';
import { encodeKeys } from './keys.ts';
import { partNames, readManifest, type DatasetManifest, type DatasetPart, type DatasetShard } from './manifest.ts';
import { placedName, samplePixels, shardSamples } from './registered.ts';
import { Repeats } from './repeats.ts';
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

/** Marks images that somebody collected and nobody labeled: nobody promised that there is each of them once. */
const COLLECTED = 'collected';

/** Keys and image contents of all samples, to be looked at when all were read. */
interface Seen {
  readonly keys: Repeats;
  readonly contents: Repeats;
}

/** @param onKey told of each key. */
async function verifyShard(store: ObjectStore, manifest: DatasetManifest, part: PartName, shard: DatasetShard, seen: Seen, findings: Findings, onKey: (key: string) => void): Promise<void> {
  const { ref, location } = shard;
  const name = location === undefined ? ref.key : placedName(location, ref.key);
  let samples = 0;
  try {
    for await (const sample of shardSamples(store, shard)) {
      const file = `${name} ${sample.key}`;
      samples += 1;
      onKey(sample.key);
      await seen.keys.add(sample.key, file);
      try {
        const pixels = await samplePixels(shard, sample.bytes, manifest.image, file);
        await seen.contents.add(sha256(pixels), `${file}\t${part === 'unlabeled' && shard.location !== undefined ? COLLECTED : ''}`);
      } catch (thrown) {
        findings.thrown(thrown);
      }
      if (findings.full) return;
    }
    if (samples !== shard.samples) findings.add('SHARD_CORRUPT', name, `the shard holds ${samples} samples where the manifest says ${shard.samples}`);
  } catch (thrown) {
    findings.thrown(thrown);
  }
}

async function verifyRepeats(repeats: Repeats, sentence: (first: string) => string, findings: Findings): Promise<void> {
  for await (const { at, first } of repeats.found()) {
    if (findings.full) return;
    const [file = '', kind] = at.split('\t');
    const [before = '', kindBefore] = first.split('\t');
    if (kind === COLLECTED && kindBefore === COLLECTED) continue;
    findings.add('SHARD_CORRUPT', file, sentence(before));
  }
}

/** Keys of a part. Origins are told of images that were copied in, not of registered ones. */
interface Keys {
  readonly all: Set<string>;
  readonly own: Set<string>;
}

/** @param shared a corrupted part of some of its source's images has the table of all of them: only what it says of its own is looked at */
async function verifyTables(store: ObjectStore, part: DatasetPart, name: PartName, classes: number, known: Keys | undefined, shared: boolean, findings: Findings): Promise<void> {
  const check = (ref: ObjectRef, tableKeys: readonly string[], whole: boolean, keys = known?.all): void => {
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
      const table = await readLabels(store, ref);
      const rows = table.keys.flatMap((key, row) => (shared && known !== undefined && !known.all.has(key) ? [] : [{ key, label: table.classes[row] ?? -1 }]));
      const labels = { keys: rows.map(({ key }) => key), classes: rows.map(({ label }) => label) };
      check(ref, labels.keys, whole);
      const outside = labels.classes.find((label) => label < 0 || label >= classes);
      if (outside !== undefined) findings.add('LABEL_OUT_OF_RANGE', ref.key, `the class ${outside} is none of the dataset's ${classes}`);
      const counts = new Array<number>(classes).fill(0);
      for (const label of labels.classes) counts[label] = (counts[label] ?? 0) + 1;
      if (whole && !(shared && known === undefined) && part.classCounts !== undefined && part.classCounts.some((count, label) => count !== counts[label])) findings.add('SHARD_CORRUPT', ref.key, 'the classes\' counts are not those of the manifest');
    } catch (thrown) {
      findings.thrown(thrown);
    }
  }
  if (part.keys !== undefined && known !== undefined) {
    try {
      if (!Buffer.from(await store.get(part.keys)).equals(encodeKeys(known.all))) findings.add('SHARD_CORRUPT', part.keys.key, `the list of keys is not that of the shards of ${name}`);
    } catch (thrown) {
      findings.thrown(thrown);
    }
  }
  if (part.origins === undefined) return;
  try {
    check(part.origins, [...(await readOrigins(store, part.origins)).keys()], true, known?.own);
  } catch (thrown) {
    findings.thrown(thrown);
  }
}

/** @throws AlumnusError DATASET_NOT_FOUND, and SHARD_CORRUPT where the manifest itself cannot be read. */
export async function verifyDataset(store: ObjectStore, name: string, progress: Progress = () => undefined, signal?: AbortSignal): Promise<DatasetProblem[]> {
  const { manifest, edited } = await readManifest(store, name);
  const findings = new Findings();
  if (edited !== undefined) findings.thrown(edited);
  const seen: Seen = { keys: new Repeats(), contents: new Repeats() };
  try {
    await verifyParts(store, name, manifest, seen, findings, progress, signal);
    await verifyRepeats(seen.keys, (first) => `the key is also in ${first.slice(0, first.lastIndexOf(' '))}`, findings);
    // Two corrupted images may well be equal: shot noise of black is black.
    if (manifest.corruption === undefined) await verifyRepeats(seen.contents, (first) => `the same image is also ${first}`, findings);
  } finally {
    await seen.keys.close();
    await seen.contents.close();
  }
  return findings.problems;
}

async function verifyParts(store: ObjectStore, name: string, manifest: DatasetManifest, seen: Seen, findings: Findings, progress: Progress, signal: AbortSignal | undefined): Promise<void> {
  const total = partNames.reduce((sum, part) => sum + (manifest.parts[part]?.samples ?? 0), 0);
  let done = 0;
  for (const partName of partNames) {
    const part = manifest.parts[partName];
    if (part === undefined) continue;
    const before = findings.problems.length;
    // Tables name keys, and whoever made one held its keys: a part without tables needs none held here.
    const tabled = part.labels !== undefined || part.truth !== undefined || part.origins !== undefined || part.keys !== undefined;
    const keys: Keys = { all: new Set(), own: new Set() };
    for (const shard of part.shards) {
      if (signal?.aborted === true) throw new AlumnusError('CANCELLED', 'the verification was stopped', { where: name });
      await verifyShard(store, manifest, partName, shard, seen, findings, (key) => {
        if (!tabled) return;
        keys.all.add(key);
        if (shard.location === undefined) keys.own.add(key);
      });
      progress(done += shard.samples, total, `verifying ${partName}`);
      if (findings.full) return;
    }
    const stated = part.shards.reduce((sum, shard) => sum + shard.samples, 0);
    if (stated !== part.samples) findings.add('SHARD_CORRUPT', name, `${partName} has ${stated} samples in its shards where the manifest says ${part.samples}`);
    // Tables are compared with shards that could all be read: a damaged shard is one problem, not one for each key.
    await verifyTables(store, part, partName, manifest.classes.length, findings.problems.length === before ? keys : undefined, manifest.corruption?.images !== undefined, findings);
  }
}
