/** What every format comes down to: inputs and outputs with their shapes, and one call from images to an output; and how the libraries' complaints are told. */
import { AlumnusError } from '../../proto/errors.ts';
import type { ForeignTeacher } from '../../recipe/index.ts';

export type ModelFormat = NonNullable<ForeignTeacher['format']>;

/** An input or output as the model itself names it. */
export interface Signature {
  readonly name: string;
  /** TensorFlow's and ONNX's common word: `float32`. */
  readonly dataType: string;
  /** Sizes, undefined where one may vary; undefined as a whole where nothing is said. */
  readonly shape: readonly (number | undefined)[] | undefined;
}

export interface Values {
  readonly values: Float32Array;
  readonly shape: readonly number[];
}

export interface ForeignModel {
  readonly inputs: readonly Signature[];
  readonly outputs: readonly Signature[];
  /** Numbers that it learned, as far as its files tell. */
  readonly parameters: number | undefined;
  /** @throws AlumnusError TEACHER_UNSUITABLE where the model does not take what it is given */
  run(input: string, images: Values, output: string): Promise<Values>;
  dispose(): void;
}

/** The first line of what a library said, which may go on for a page. */
const LINE_MAX = 300;

export function unreadable(what: string, cause: unknown): AlumnusError {
  const said = (cause instanceof Error ? cause.message : String(cause)).split('\n', 1)[0] ?? '';
  return new AlumnusError('TEACHER_UNREADABLE', `${what}: ${said.slice(0, LINE_MAX)}`, { where: 'models.teacher', cause });
}

export function refused(cause: unknown): AlumnusError {
  const said = (cause instanceof Error ? cause.message : String(cause)).split('\n', 1)[0] ?? '';
  return new AlumnusError('TEACHER_UNSUITABLE', `the model does not take the images as models.teacher.input says: ${said.slice(0, LINE_MAX)}`, { where: 'models.teacher.input', cause });
}
