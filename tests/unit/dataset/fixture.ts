/** A store in a temporary folder, and small images and files of every kind that an import reads. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import sharp from 'sharp';
import { pack } from 'tar-stream';
import { onTestFinished } from 'vitest';
import { encodePng, type ImageShape, type Source, type SourceSample } from '../../../dataset/index.ts';
import { openStore, type ObjectStore } from '../../../store/index.ts';

export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'alumnus-dataset-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** `root` is where the objects lie as files, for tests that damage them. */
export async function temporaryStore(): Promise<{ store: ObjectStore; root: string }> {
  const folder = temporaryFolder();
  return { store: await openStore(pathToFileURL(folder).href), root: join(folder, 'objects') };
}

export const GRAY: ImageShape = { height: 6, width: 5, channels: 1 };

/** A picture for each number; different numbers give different pictures. */
export function picture(number: number, shape: ImageShape = GRAY): Uint8Array {
  const pixels = new Uint8Array(shape.height * shape.width * shape.channels);
  for (let at = 0, state = number * 2654435761 + 12345; at < pixels.length; at += 1) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    pixels[at] = state >>> 24;
  }
  return pixels;
}

export const png = (number: number, shape: ImageShape = GRAY): Uint8Array => encodePng(picture(number, shape), shape);

export async function jpeg(number: number, shape: ImageShape): Promise<Uint8Array> {
  return sharp(picture(number, shape), { raw: shape }).jpeg({ quality: 90 }).toBuffer();
}

export function writeFiles(root: string, files: Readonly<Record<string, Uint8Array | string>>): void {
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), content);
  }
}

/** A source in memory: `labeled` images of each of `classes` in turn, then `unlabeled` ones without a label. */
export function memorySource(options: { classes?: readonly string[]; labeled: number; test?: number; unlabeled?: number; samples?: readonly SourceSample[]; reversed?: boolean }): Source {
  const classes = options.classes ?? ['a', 'b', 'c'];
  const image = (number: number): SourceSample['image'] => ({ pixels: picture(number), shape: GRAY });
  const made: SourceSample[] = [
    ...Array.from({ length: options.labeled }, (_, at): SourceSample => ({ origin: `train[${at}]`, pool: 'train', label: at % classes.length, image: image(at) })),
    ...Array.from({ length: options.test ?? 0 }, (_, at): SourceSample => ({ origin: `test[${at}]`, pool: 'test', label: at % classes.length, image: image(1_000_000 + at) })),
    ...Array.from({ length: options.unlabeled ?? 0 }, (_, at): SourceSample => ({ origin: `unlabeled[${at}]`, pool: 'unlabeled', image: image(2_000_000 + at) })),
    ...(options.samples ?? []),
  ];
  if (options.reversed === true) made.reverse();
  return {
    name: 'memory', classes, defaults: {}, notes: [],
    async *samples() {
      for (const sample of made) yield await Promise.resolve(sample);
    },
  };
}

export function idxImages(pictures: readonly Uint8Array[], shape: ImageShape = GRAY): Buffer {
  const header = Buffer.alloc(16);
  header.writeUInt32BE(0x00000803, 0);
  [pictures.length, shape.height, shape.width].forEach((size, at) => header.writeUInt32BE(size, 4 + 4 * at));
  return Buffer.concat([header, ...pictures]);
}

export function idxLabels(labels: readonly number[]): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt32BE(0x00000801, 0);
  header.writeUInt32BE(labels.length, 4);
  return Buffer.concat([header, Buffer.from(labels)]);
}

/** By an independent writer. */
export async function tarOf(entries: Readonly<Record<string, Uint8Array | string>>): Promise<Buffer> {
  const archive = pack();
  for (const [name, content] of Object.entries(entries)) archive.entry({ name }, Buffer.from(content));
  archive.finalize();
  const pieces: Buffer[] = [];
  for await (const piece of archive) pieces.push(piece as Buffer);
  return Buffer.concat(pieces);
}

export async function collect<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const all: Item[] = [];
  for await (const item of items) all.push(item);
  return all;
}
