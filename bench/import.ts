/**
 * The memory of an import: tiny images of a source that makes them one by one, with a split of every kind, into a directory store. Sizes go up within one process.
 * What is checked: the process's peak of resident memory after the largest import is within 64 MiB of what it was after one of 300,000 images, when spool, sorts and
 * a table's row group are as full as they get.
 * What is not: the memory of real sources and of decoding images of some size; rates (nothing else to compare with runs beside it). Shards are deleted once they
 * are written, so that the disk need not hold them.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { importDataset, type Source } from '../dataset/index.ts';
import { openStore, type ObjectStore } from '../store/index.ts';

export const description = 'memory of an import, by the number of images (--images N, default 1000000)';

const MEBIBYTE = 1024 ** 2;
const sizes = [10_000, 300_000];
const shape = { height: 4, width: 4, channels: 1 as const };
const classes = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j'];

function numbers(count: number): Source {
  return {
    name: 'numbers', classes, defaults: {}, notes: [], samplesExpected: count,
    async *samples() {
      for (let at = 0; at < count; at += 1) {
        const pixels = new Uint8Array(16);
        new DataView(pixels.buffer).setUint32(0, at);
        yield await Promise.resolve({ origin: `train-images-idx3-ubyte[${at}]`, pool: 'train' as const, label: at % classes.length, image: { pixels, shape } });
      }
    },
  };
}

function withoutShards(store: ObjectStore): ObjectStore {
  return {
    putAddressed: async (prefix, content, options) => {
      const ref = await store.putAddressed(prefix, content, options);
      if (options?.extension === '.tar') await store.delete(ref.key);
      return ref;
    },
    putNamed: (key, content) => store.putNamed(key, content), get: (ref) => store.get(ref), stream: (ref) => store.stream(ref), getRange: (ref, start, end) => store.getRange(ref, start, end),
    getNamed: (key) => store.getNamed(key), metadata: (key) => store.metadata(key), list: (prefix) => store.list(prefix), delete: (key) => store.delete(key),
  };
}

/** Bytes, since the process began. */
const peak = (): number => process.resourceUsage().maxRSS * 1024;

export async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({ args, options: { images: { type: 'string', default: '1000000' } } });
  const folder = await mkdtemp(join(tmpdir(), 'alumnus-bench-'));
  const peaks: number[] = [];
  try {
    const store = withoutShards(await openStore(pathToFileURL(folder).href));
    process.stdout.write(`import: before the first image, resident ${(peak() / MEBIBYTE).toFixed(0)} MiB\n`);
    for (const count of [...sizes, Number(values.images)]) {
      const startMs = performance.now();
      const { manifest } = await importDataset(store, numbers(count), { name: `numbers-${count}`, labeled: 1_000, validation: 0.1, test: 0.1, unlabeled: Math.floor(count / 2) });
      peaks.push(peak());
      process.stdout.write(`import: ${count} images, ${Object.values(manifest.parts).reduce((sum, part) => sum + (part?.shards.length ?? 0), 0)} shards, in ${((performance.now() - startMs) / 1000).toFixed(0)} s: peak of resident memory ${((peaks.at(-1) ?? 0) / MEBIBYTE).toFixed(0)} MiB\n`);
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  const [, before = 0, after = 0] = peaks;
  if (after > before + 64 * MEBIBYTE) throw new Error('the peak of resident memory grew by more than 64 MiB');
}
