/**
 * The memory of an import: tiny images of a source that makes them one by one, with a split of every kind, into a directory store; each size in a process of its own.
 * What is checked: the peak of resident memory of the largest import is within 128 MiB of that of 300,000 images, when spool, sorts and a table's row group are as full
 * as they get. Holding 440 bytes an image, as an import once did, would be 290 MiB more at a million.
 * What is not: the memory of real sources and of decoding images of some size; rates (nothing to compare with runs beside it). Shards are deleted once they are
 * written, so that the disk need not hold them.
 */
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { importDataset, type Source } from '../dataset/index.ts';
import { openStore, type ObjectStore } from '../store/index.ts';

export const description = 'memory of an import, by the number of images (--images N, default 1000000)';

const MEBIBYTE = 1024 ** 2;
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

/** In this process, which has done nothing else. @returns its peak of resident memory, in bytes */
export async function importAlone(count: number): Promise<number> {
  const folder = await mkdtemp(join(tmpdir(), 'alumnus-bench-'));
  try {
    const store = withoutShards(await openStore(pathToFileURL(folder).href));
    await importDataset(store, numbers(count), { name: 'numbers', labeled: 1_000, validation: 0.1, test: 0.1, unlabeled: Math.floor(count / 2) });
    // The system tells it in KiB.
    return process.resourceUsage().maxRSS * 1024;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

export async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({ args, options: { images: { type: 'string', default: '1000000' } } });
  const peaks: number[] = [];
  for (const count of [10_000, 300_000, Number(values.images)]) {
    const startMs = performance.now();
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', `import { importAlone } from ${JSON.stringify(import.meta.url)}; console.log(await importAlone(${count}));`]);
    peaks.push(Number(stdout));
    process.stdout.write(`import: ${count} images in ${((performance.now() - startMs) / 1000).toFixed(0)} s: peak of resident memory ${(Number(stdout) / MEBIBYTE).toFixed(0)} MiB\n`);
  }
  const [, before = 0, after = 0] = peaks;
  if (after > before + 128 * MEBIBYTE) throw new Error('the peak of resident memory grew by more than 128 MiB');
}
