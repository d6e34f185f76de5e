/** IDX pairs: images and labels, with or without a pair for test; without labels the images are unlabeled. */
import { basename } from 'node:path';
import type { ImageShape } from '../manifest.ts';
import { readIdx, unreadable } from './idx-format.ts';
import { ownDataDefaults, type Pool, type Source, type SourceSample } from './source.ts';

export interface IdxFiles {
  readonly images: string;
  readonly labels?: string | undefined;
  readonly testImages?: string | undefined;
  readonly testLabels?: string | undefined;
  /** More images without labels. */
  readonly unlabeledImages?: string | undefined;
}

async function* pair(pool: Pool, images: string, labels: string | undefined): AsyncIterable<SourceSample> {
  const { sizes, data } = await readIdx(images);
  const [count = 0, height = 0, width = 0, channels = 1] = sizes;
  if (sizes.length < 3 || sizes.length > 4 || (channels !== 1 && channels !== 3)) throw unreadable(images, `the file holds ${sizes.join(' x ')} bytes, which are not images of 1 or 3 channels`);
  const classes = labels === undefined ? undefined : await readIdx(labels);
  if (labels !== undefined && (classes?.sizes.length !== 1 || classes.sizes[0] !== count)) throw unreadable(labels, `the file holds ${classes?.sizes.join(' x ') ?? 0} labels for ${count} images`);
  const shape: ImageShape = { height, width, channels };
  const bytes = height * width * channels;
  for (let at = 0; at < count; at += 1) {
    const image = { pixels: data.subarray(at * bytes, (at + 1) * bytes), shape };
    const label = classes?.data[at];
    yield label === undefined ? { origin: `${basename(images)}[${at}]`, pool: 'unlabeled', image } : { origin: `${basename(labels ?? images)}[${at}]`, pool, label, image };
  }
}

/** @throws AlumnusError DATASET_SOURCE_UNREADABLE */
export function idxSource(files: IdxFiles, options: { name?: string; classes?: readonly string[]; defaults?: Source['defaults']; samplesExpected?: number } = {}): Source {
  if (files.testImages !== undefined && files.testLabels === undefined) throw unreadable(files.testImages, 'test images need their labels file');
  return {
    name: options.name ?? `idx:${basename(files.images)}`,
    defaults: options.defaults ?? ownDataDefaults,
    notes: [],
    ...(options.classes === undefined ? {} : { classes: options.classes }),
    ...(options.samplesExpected === undefined ? {} : { samplesExpected: options.samplesExpected }),
    async *samples() {
      yield* pair('train', files.images, files.labels);
      if (files.testImages !== undefined) yield* pair('test', files.testImages, files.testLabels);
      if (files.unlabeledImages !== undefined) yield* pair('unlabeled', files.unlabeledImages, undefined);
    },
  };
}
