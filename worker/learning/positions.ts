/**
 * Learned positions for images of another size: the grid of patches is interpolated bicubically, tokens that stand for no place
 * keep theirs. As DeiT fine-tunes at a higher resolution (facebookresearch/deit, main.py: `torch.nn.functional.interpolate`,
 * `mode='bicubic', align_corners=False`). Pure; no TensorFlow.
 */
import type { PositionGrids } from '../../recipe/index.ts';

/** Of the cubic convolution (Keys 1981): PyTorch's, where it does not smooth (aten/src/ATen/native/UpSample.h). */
const A = -0.75;

const near = (x: number): number => ((A + 2) * x - (A + 3)) * x * x + 1;
const far = (x: number): number => ((A * x - 5 * A) * x + 8 * A) * x - 4 * A;

/** For each of `to` places the four of `from` that it is a sum of, and how much of each. Beyond an edge lies the edge. */
function taps(from: number, to: number): { readonly places: readonly number[]; readonly shares: readonly number[] }[] {
  return Array.from({ length: to }, (_, at) => {
    // Centers of equal cells, the whole of them as long before as after.
    const source = (at + 0.5) * (from / to) - 0.5;
    const first = Math.floor(source);
    const rest = source - first;
    return {
      places: [-1, 0, 1, 2].map((offset) => Math.min(from - 1, Math.max(0, first + offset))),
      shares: [far(rest + 1), near(rest), near(1 - rest), far(2 - rest)],
    };
  });
}

/** @param values `[prefix + from rows x from columns, features]` @returns `[prefix + to rows x to columns, features]` */
export function resizedPositions(values: Float32Array, features: number, { prefix, from, to }: PositionGrids): Float32Array {
  const result = new Float32Array((prefix + to[0] * to[1]) * features);
  result.set(values.subarray(0, prefix * features));
  const [rows, columns] = [taps(from[0], to[0]), taps(from[1], to[1])];
  rows.forEach((row, y) => columns.forEach((column, x) => {
    for (let feature = 0; feature < features; feature += 1) {
      let sum = 0;
      row.places.forEach((place, i) => column.places.forEach((across, j) => {
        sum += (row.shares[i] ?? 0) * (column.shares[j] ?? 0) * (values[(prefix + place * from[1] + across) * features + feature] ?? 0);
      }));
      result[(prefix + y * to[1] + x) * features + feature] = sum;
    }
  }));
  return result;
}
