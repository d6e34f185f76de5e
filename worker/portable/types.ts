/** What goes into an export and comes out of it. Not for: anything that runs. */
import type { Architecture } from '../../recipe/index.ts';

/** `name` may hold folders. */
export interface PortableFile { readonly name: string; readonly content: Uint8Array | string }

/** Of a model document, what an export needs. */
export interface PortableModel {
  readonly architecture: Architecture;
  readonly classNames: readonly string[];
  readonly weights: { readonly sha256: string };
  readonly lineage: unknown;
}
