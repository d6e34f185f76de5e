/**
 * A small real data set and a recipe that is done in seconds: gray images of 12 x 12 with one of four strokes and noise,
 * written as IDX files and imported as anybody's data would be. Drawn from a fixed seed: the same bytes on every machine.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { importDataset, openSource } from '../../dataset/index.ts';
import { openStore } from '../../store/index.ts';
import { randomFrom } from './random.ts';

const SIZE = 12;
const CLASSES = 4;
export const LABELED = 40;
export const SHARDS = 12;
const SHARD_SAMPLES = 50;
export const UNLABELED = SHARDS * SHARD_SAMPLES;
export const VALIDATION = 100;
export const TEST = 100;
export const DATASET = 'patterns';

/** Whether the stroke of a class goes through a pixel; `at` shifts it. */
const strokes: readonly ((x: number, y: number, at: number) => boolean)[] = [
  (_, y, at) => Math.abs(y - at) <= 1,
  (x, _, at) => Math.abs(x - at) <= 1,
  (x, y, at) => Math.abs(x - y - (at - SIZE / 2)) <= 1,
  (x, y, at) => Math.abs(x + y - SIZE - (at - SIZE / 2)) <= 1,
];

function draw(count: number, seed: number): { images: Buffer; labels: Buffer } {
  const random = randomFrom(seed);
  const pixels = Buffer.alloc(count * SIZE * SIZE);
  const labels = Buffer.alloc(count);
  for (let image = 0; image < count; image += 1) {
    const label = image % CLASSES;
    labels[image] = label;
    const at = 3 + Math.floor(random() * (SIZE - 6));
    const ink = 60 + random() * 130;
    for (let y = 0; y < SIZE; y += 1) {
      for (let x = 0; x < SIZE; x += 1) {
        const value = random() * 120 + (strokes[label]?.(x, y, at) === true ? ink : 0);
        pixels[(image * SIZE + y) * SIZE + x] = Math.min(255, Math.floor(value));
      }
    }
  }
  return { images: idx([count, SIZE, SIZE], pixels), labels: idx([count], labels) };
}

/** Unsigned bytes in the IDX format: two zeros, type 8, the number of sizes, the sizes, the data. */
function idx(sizes: readonly number[], data: Buffer): Buffer {
  const head = Buffer.alloc(4 + 4 * sizes.length);
  head[2] = 8;
  head[3] = sizes.length;
  sizes.forEach((size, at) => head.writeUInt32BE(size, 4 + 4 * at));
  return Buffer.concat([head, data]);
}

/** A home whose store holds the data set: copied by tests, never changed. @param shards unlabeled ones @returns its folder and how to be rid of it. */
export async function patternsHome(shards = SHARDS): Promise<{ home: string; remove: () => Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), 'alumnus-patterns-'));
  const file = async (name: string, bytes: Buffer): Promise<string> => {
    await writeFile(join(folder, name), bytes);
    return join(folder, name);
  };
  const unlabeled = shards * SHARD_SAMPLES;
  const train = draw(LABELED + unlabeled + VALIDATION, 1);
  const test = draw(TEST, 2);
  const source = await openSource('idx', {
    paths: [await file('train-images', train.images)], labels: await file('train-labels', train.labels),
    test: [await file('test-images', test.images)], testLabels: await file('test-labels', test.labels),
  });
  const store = await openStore(`file://${join(folder, 'store')}`);
  const classes = ['across', 'upright', 'falling', 'rising'];
  const { manifest } = await importDataset(store, source, { name: DATASET, classes, labeledPerClass: LABELED / CLASSES, validation: VALIDATION, unlabeled, shardSamples: SHARD_SAMPLES, seed: 1 });
  if (manifest.parts.unlabeled?.shards.length !== shards || manifest.parts.test?.samples !== TEST) throw new Error('the patterns are not what the tests count on');
  return { home: folder, remove: () => rm(folder, { recursive: true, force: true }) };
}

export interface RecipeWishes {
  readonly rounds?: number;
  readonly control?: boolean;
  readonly attempts?: number;
  readonly quarantinedShare?: number;
  readonly dataset?: string;
  /** Of the first teacher. */
  readonly teacherSteps?: number;
  /** Lines of the recipe's own. */
  readonly more?: string;
}

/** Few steps of small batches: what a run costs is its processes, not its arithmetic. */
export const patternsRecipe = ({ rounds = 2, control = true, attempts = 3, quarantinedShare = 0.05, dataset = DATASET, teacherSteps = 30, more = '' }: RecipeWishes = {}): string => `
name: patterns
seed: 1
rounds: ${rounds}
data: { dataset: ${dataset} }
models:
  ladder:
    - { model: cnn, width: 8, dense: 32, dropout: 0.2, dropout_features: 0.1 }
    - { model: cnn, width: 10, dense: 32, dropout: 0.2, dropout_features: 0.1 }
training:
  teacher: { steps: ${teacherSteps}, batch_labeled: 16 }
  student: { steps: 80, batch_labeled: 8, batch_unlabeled: 24 }
  optimizer: { learning_rate: 0.01 }
  ema_decay: 0.8
noise:
  input: { name: affine, degrees: 5, translate_pixels: 1, scale: 0.05 }
labels: { batch_size: 50 }
tolerance: { attempts: ${attempts}, quarantined_share: ${quarantinedShare} }
control: ${control}
${more}`;
