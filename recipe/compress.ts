/**
 * Compression as a recipe asks for it (`compress`): every model of the run is measured, with its kernels stored in several ways, and the smallest that keeps enough of
 * its teacher's accuracy is chosen. Which models there are to choose from the ladder and the comparisons say.
 * Not for: the rule (coordinator/run/compress.ts), nor how kernels are stored (worker/portable).
 */
import { z } from 'zod';

/** What kernels can be stored in. */
export const weightSchemes = ['float32', 'float16', 'int8'] as const;
export type WeightScheme = (typeof weightSchemes)[number];

/** The export whose bytes are compared: one file, which most runtimes read. The others' are within some kilobytes of it. */
export const COMPARED_FORMAT = 'onnx';

export const compressSchema = z
  .strictObject({
    accuracy_kept: z.number().gt(0).max(1, 'is a share, at most 1: 98 % is 0.98').default(0.98).describe('Share of the accuracy of the last student\'s teacher, both on validation, that a model must keep to be chosen. Above 0 to 1, default 0.98.'),
    weights: z.array(z.enum(weightSchemes)).min(1).default([...weightSchemes]).describe('What kernels are stored in: each model is measured with each. float16 halves the bytes, int8 quarters them. Default all three.'),
  })
  .refine(({ weights }) => new Set(weights).size === weights.length, { path: ['weights'], message: 'names one of them twice' });

export type Compress = z.output<typeof compressSchema>;

/** Names that the table of what was measured has for models which are no comparisons. */
const NAMES_TAKEN: readonly string[] = ['teacher', 'student', 'chosen'];

interface Wish {
  readonly rounds: number;
  readonly compress?: Compress | undefined;
  readonly comparisons?: readonly { readonly name: string }[] | undefined;
}

/** What `compress` cannot be asked beside. */
export function compressionProblems({ rounds, compress, comparisons = [] }: Wish): { readonly path: (string | number)[]; readonly message: string }[] {
  if (compress === undefined) return [];
  return [
    ...(rounds === 0 ? [{ path: ['compress'], message: 'asks what students keep of their teacher, and with rounds: 0 there are none' }] : []),
    ...comparisons.flatMap(({ name }, at) => (NAMES_TAKEN.includes(name) ? [{ path: ['comparisons', at, 'name'], message: `${name} is what compress calls another one` }] : [])),
  ];
}
