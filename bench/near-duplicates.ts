/**
 * How well near-duplicates are told, on MNIST, the hard case: thousands of digits look nearly alike, and low frequencies are most of what there is.
 * What is measured: how many of the 60,000 training images are taken for near-duplicates of the 10,000 test images, which they are not (false alarms, but for what the set's own makers
 * doubled), at several bounds of the correlation; how many of 1,000 test images are found again after each of several changes; and the processor time of a fingerprint and a search.
 * What is not: photographs, which have more to tell them apart; other distances than the default.
 * No bound is asserted: the figures belong to this data. `--keep FOLDER` writes the most alike pairs side by side, for a person to look at.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import sharp from 'sharp';
import { encodePng, openSource, type ImageShape } from '../dataset/index.ts';
import { FINGERPRINT_BYTES, fingerprinter, NearIndex, type Likeness } from '../worker/data/index.ts';

export const description = 'near-duplicates on MNIST: false alarms, and copies found (--keep FOLDER)';

const SHAPE: ImageShape = { height: 28, width: 28, channels: 1 };
const DISTANCE = 6;
const CORRELATION = 0.99;
const BOUNDS = [0.98, 0.985, 0.99, 0.995];
const COPIES = 1_000;
/** Pairs that are written, the most alike first. */
const KEPT = 40;

type Pixels = Uint8Array;

/** Of this process: beside other work a clock would tell of that. */
const cpuMs = (): number => process.cpuUsage().user / 1000;
const raw = (pixels: Pixels) => sharp(pixels, { raw: SHAPE });
const decoded = async (image: Buffer): Promise<Pixels> => sharp(image).resize(SHAPE.width, SHAPE.height, { fit: 'fill' }).toColorspace('b-w').raw().toBuffer();
const each = (pixels: Pixels, change: (value: number) => number): Pixels => Uint8Array.from(pixels, (value) => Math.min(255, Math.max(0, Math.round(change(value)))));

const changes: Readonly<Record<string, (pixels: Pixels) => Pixels | Promise<Pixels>>> = {
  'JPEG, quality 75': async (pixels) => decoded(await raw(pixels).jpeg({ quality: 75 }).toBuffer()),
  'JPEG, quality 30': async (pixels) => decoded(await raw(pixels).jpeg({ quality: 30 }).toBuffer()),
  'times 0.7': (pixels) => each(pixels, (value) => value * 0.7),
  'times 1.15, plus 20': (pixels) => each(pixels, (value) => value * 1.15 + 20),
  'gamma 0.7': (pixels) => each(pixels, (value) => 255 * (value / 255) ** 0.7),
  'to 56 x 56 and back': async (pixels) => decoded(await raw(pixels).resize(56, 56).png().toBuffer()),
  'to 20 x 20 and back': async (pixels) => decoded(await raw(pixels).resize(20, 20).png().toBuffer()),
  'moved by a pixel': (pixels) => Uint8Array.from(pixels, (_, at) => (at % 28 === 0 ? 0 : pixels[at - 1] ?? 0)),
};

export async function run(args: string[]): Promise<void> {
  const { values: { keep } } = parseArgs({ args, options: { keep: { type: 'string' } } });
  const pools: Record<'train' | 'test', Pixels[]> = { train: [], test: [] };
  const labels: Record<'train' | 'test', (string | number | undefined)[]> = { train: [], test: [] };
  for await (const { pool, image, label } of (await openSource('mnist', {})).samples()) {
    if ((pool !== 'train' && pool !== 'test') || !('pixels' in image)) continue;
    pools[pool].push(image.pixels);
    labels[pool].push(label);
  }
  const fingerprint = fingerprinter(SHAPE);
  const startMs = cpuMs();
  const own = { train: pools.train.map(fingerprint), test: pools.test.map(fingerprint) };
  const madeMs = cpuMs();
  const index = new NearIndex(Buffer.concat(own.test), { distance: DISTANCE, correlation: Math.min(...BOUNDS) });
  const builtMs = cpuMs();
  const near: Likeness[][] = own.train.map((one) => index.near(one));
  const soughtMs = cpuMs();
  const say = (line: string): void => void process.stdout.write(`${line}\n`);
  const count = own.train.length + own.test.length;
  say(`near-duplicates: ${count} fingerprints of ${FINGERPRINT_BYTES} bytes, ${((1000 * (madeMs - startMs)) / count).toFixed(0)} us of processor time each; ${own.train.length} compared with ${own.test.length}, ${((1000 * (soughtMs - builtMs)) / own.train.length).toFixed(0)} us each`);
  for (const bound of BOUNDS) {
    const found = near.map((all) => all.filter(({ correlation }) => correlation >= bound));
    const hit = found.filter((all) => all.length > 0).length;
    const ones = found.filter((all, at) => all.length > 0 && String(labels.train[at]) === '1').length;
    say(`correlation ${bound}: ${found.reduce((sum, all) => sum + all.length, 0)} pairs, ${hit} of ${own.train.length} training images (${((100 * hit) / own.train.length).toFixed(2)} %), ${ones} of them ones`);
  }
  const among = new NearIndex(Buffer.concat(own.test.slice(0, COPIES)), { distance: DISTANCE, correlation: CORRELATION });
  for (const [name, change] of Object.entries(changes)) {
    let found = 0;
    for (const [row, pixels] of pools.test.slice(0, COPIES).entries()) if (among.near(fingerprint(await change(pixels))).some((one) => one.row === row)) found += 1;
    say(`${name}: ${found} of ${COPIES} found`);
  }
  if (keep === undefined) return;
  await mkdir(keep, { recursive: true });
  const pairs = near.flatMap((all, train) => all.map((one) => ({ train, ...one }))).sort((a, b) => b.correlation - a.correlation).slice(0, KEPT);
  for (const [at, { train, row, distance, correlation }] of pairs.entries()) {
    const [left, right] = [pools.train[train] ?? new Uint8Array(), pools.test[row] ?? new Uint8Array()];
    const both = Uint8Array.from({ length: 28 * 60 }, (_, pixel) => {
      const [x, y] = [pixel % 60, Math.floor(pixel / 60)];
      return x < 28 ? left[y * 28 + x] ?? 0 : x < 32 ? 128 : right[y * 28 + x - 32] ?? 0;
    });
    await writeFile(join(keep, `${String(at).padStart(2, '0')}-${correlation.toFixed(4)}-d${distance}-train${train}-test${row}.png`), encodePng(both, { height: 28, width: 60, channels: 1 }));
  }
}
