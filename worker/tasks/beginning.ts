/** What fine-tuning begins with: a trained model's weights, its positions interpolated where the new images have another size. */
import { AlumnusError, invariant } from '../../proto/errors.ts';
import type { ObjectRef } from '../../proto/gen/alumnus/v1/task.ts';
import { canonicalJson, parameterSpecs, positionGrids, resizeProblem, type Architecture } from '../../recipe/index.ts';
import type { ObjectStore } from '../../store/index.ts';
import { decodeWeights, resizedPositions, type TensorData } from '../learning/index.ts';
import { readTrained } from './model.ts';

export interface Beginning {
  readonly weights: TensorData[];
  /** As in a model document. */
  readonly resizes: true | undefined;
}

/** @throws AlumnusError USAGE where the model is of another architecture, RECIPE_INVALID where it cannot take images of that size; as `readTrained`, and the store's */
export async function beginning(store: ObjectStore, ref: ObjectRef, architecture: Architecture): Promise<Beginning> {
  const { architecture: trained, weights: weightsRef, resizes } = await readTrained(store, ref);
  const same = canonicalJson({ ...trained, input: undefined }) === canonicalJson({ ...architecture, input: undefined }) && trained.input.channels === architecture.input.channels;
  if (!same) throw new AlumnusError('USAGE', `the model that fine-tuning begins with is another: ${trained.model.name}`, { where: ref.key });
  const problem = resizeProblem(trained, architecture.input);
  if (problem !== undefined) throw new AlumnusError('RECIPE_INVALID', problem, { where: 'training.fine_tune.image' });
  const given = new Map(decodeWeights(await store.get(weightsRef)).map((tensor) => [tensor.name, tensor]));
  const weights = parameterSpecs(architecture).map(({ name, shape }): TensorData => {
    const tensor = given.get(name);
    invariant(tensor !== undefined, `a trained model has ${name}`);
    return tensor.shape.join() === shape.join() ? tensor : { name, shape: [...shape], values: resizedPositions(tensor.values, shape[1] ?? 0, positionGrids(trained, architecture.input, name)) };
  });
  const { height, width } = architecture.input;
  return { weights, resizes: resizes ?? (height === trained.input.height && width === trained.input.width ? undefined : true) };
}
