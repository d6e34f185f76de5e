/**
 * What fine-tuning asks of a model: which of its parameters a share freezes, and whether it can go on with images of another size.
 * Not for: training it (worker/learning), deciding about it (coordinator/run).
 * Invariant: what is frozen is a beginning of the parameters in the order in which the model declares them, whole parts, never a classifier's.
 */
import { AlumnusError, invariant } from '../../proto/errors.ts';
import { parameterName, parameterSpecs, type Architecture, type ImageShape, type ParameterSpec } from './index.ts';

/**
 * The part of a model that a parameter belongs to: a block, where its name says one, else the name's first segment. So a block
 * is never cut, and a share means the same in models of all depths; the published code counts blocks, too
 * (google-research/noisystudent, main.py `fix_layer_num`).
 */
export const partOf = (parameter: string): string => /^(?:[^/]+\/)?block_\d+(?=\/)|^[^/]+/.exec(parameter)?.[0] ?? parameter;

/** Parts that give logits. */
const isClassifier = (part: string): boolean => part.endsWith('logits');

/** Names of the parameters of the first parts, running statistics among them: `share` (0 to 1) of all parts but classifiers, rounded. */
export function frozenParameters(architecture: Architecture, share: number): ReadonlySet<string> {
  const names = parameterSpecs(architecture).map(({ name }) => name);
  const parts = [...new Set(names.map(partOf))].filter((part) => !isClassifier(part));
  const frozen = new Set(parts.slice(0, Math.round(share * parts.length)));
  return new Set(names.filter((name) => frozen.has(partOf(name))));
}

/** Learned positions: one a patch, row by row, behind those of `prefix` tokens that stand for no place in the image. */
export interface PositionGrids {
  readonly prefix: number;
  /** Rows and columns of patches. */
  readonly from: readonly [number, number];
  readonly to: readonly [number, number];
}

const isPositions = ({ name }: ParameterSpec): boolean => name === parameterName.positions(name.slice(0, name.lastIndexOf('/')));

/** Patches are squares, so that their grid has the proportions of the image. */
function gridOf(patches: number, { height, width }: ImageShape): readonly [number, number] {
  const rows = Math.round(Math.sqrt((patches * height) / width));
  invariant(rows > 0 && patches % rows === 0, `${patches} patches cover an image of ${height}x${width}`);
  return [rows, patches / rows];
}

/** Where positions of a model with images of one size lie, and of the same model with those of another. */
export function positionGrids(architecture: Architecture, input: ImageShape, positions: string): PositionGrids {
  const tokensOf = (shape: ImageShape): number => parameterSpecs({ ...architecture, input: shape }).find(({ name }) => name === positions)?.shape[0] ?? 0;
  const prefix = parameterSpecs(architecture).filter(({ name }) => name === parameterName.token(name.slice(0, name.lastIndexOf('/')))).length;
  return { prefix, from: gridOf(tokensOf(architecture.input) - prefix, architecture.input), to: gridOf(tokensOf(input) - prefix, input) };
}

/** Why a model that was trained cannot go on with images of another size; undefined where it can. */
export function resizeProblem(architecture: Architecture, input: ImageShape): string | undefined {
  const { height, width } = architecture.input;
  if (input.height < height || input.width < width) return `is smaller than the data's ${height}x${width}: fine-tuning is at the same size or a larger one`;
  let specs: ParameterSpec[];
  try {
    specs = parameterSpecs({ ...architecture, input });
  } catch (thrown) {
    if (thrown instanceof AlumnusError) return `does not fit ${architecture.model.name}: ${thrown.message}`;
    throw thrown;
  }
  const before = new Map(parameterSpecs(architecture).map((spec) => [spec.name, spec.shape.join()]));
  // Positions are interpolated; nothing else that counts pixels could be.
  const grown = specs.find((spec) => !isPositions(spec) && before.get(spec.name) !== spec.shape.join());
  return grown === undefined ? undefined : `cannot be taken by a trained ${architecture.model.name}: its ${grown.name} has a weight for each place in the image; take a model that averages over the image, or keep the data's size`;
}
