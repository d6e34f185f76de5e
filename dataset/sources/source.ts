/**
 * What a source of images gives an import: samples one after another, in an order that does not matter, each with a
 * label or none. A source reads and names damage; it never splits, resizes or drops.
 */
import type { ImageExtension } from '../images.ts';
import type { ImageShape } from '../manifest.ts';
import type { SplitRequest } from '../split.ts';

/** train: may become labeled, unlabeled or validation. test: the source's own test split. unlabeled: no label is known. */
export type Pool = 'train' | 'test' | 'unlabeled';

export interface SourceSample {
  /** As a person finds it again: `dogs/1.png`, `train-images-idx3-ubyte[17]`. */
  readonly origin: string;
  readonly pool: Pool;
  /** A class's index or its name; absent in the pool `unlabeled`. */
  readonly label?: number | string;
  readonly image: { readonly encoded: Uint8Array; readonly extension: ImageExtension } | { readonly pixels: Uint8Array; readonly shape: ImageShape };
}

export interface Source {
  readonly name: string;
  /** Class names in the order of their indices, where the source knows them; they need not all have samples. */
  readonly classes?: readonly string[];
  /** For progress, where it is known beforehand. */
  readonly samplesExpected?: number;
  /** The split where the caller asks for none. */
  readonly defaults: Omit<SplitRequest, 'seed'>;
  /** Said to the person who imports: what was passed over, and why. Complete once `samples` has ended. */
  readonly notes: readonly string[];
  samples(): AsyncIterable<SourceSample>;
}

/** Of a source that is somebody's own data: everything labeled is used, a tenth of it to validate. */
export const ownDataDefaults: Source['defaults'] = { validation: 0.1 };
