/** The teacher that a student is distilled from within its step: a model that was trained here, on images of the size that its student takes. */
import { AlumnusError } from '../../proto/errors.ts';
import type { ObjectStore } from '../../store/index.ts';
import { decodeWeights, type OnlineTeacher } from '../learning/index.ts';
import { readTrained } from './model.ts';
import type { Training } from './training.ts';

/** Undefined where no teacher labels within the step. @throws AlumnusError USAGE where it can't; what reading it throws. A recipe that asks for what it can't is refused before. */
export async function onlineTeacher(store: ObjectStore, { online, architecture: { input, classes } }: Training): Promise<OnlineTeacher | undefined> {
  if (online === undefined) return undefined;
  const { architecture, weights } = await readTrained(store, online);
  const takes = [architecture.input.height, architecture.input.width, architecture.input.channels].join('x');
  const given = [input.height, input.width, input.channels].join('x');
  if (takes !== given || architecture.classes !== classes) {
    throw new AlumnusError('USAGE', `the teacher takes images of ${takes} and tells ${architecture.classes} classes, its student has ${given} and ${classes}: distill it stored`, { where: 'training.distill.teacher' });
  }
  return { architecture, weights: decodeWeights(await store.get(weights)) };
}
