/** The public door of `worker/tasks`: one file a kind of task, and the table that finds it. */
import type { TaskResult } from '../../proto/gen/alumnus/v1/task.ts';
import { audit } from './audit.ts';
import { required, type TaskContext } from './context.ts';
import { evaluate } from './evaluate.ts';
import { fingerprint } from './fingerprint.ts';
import { importTeacher } from './import.ts';
import { indexOne } from './index-tar.ts';
import { label } from './label.ts';
import { measure } from './measure.ts';
import { merge } from './merge.ts';
import { letGo } from './prepared.ts';
import { replica } from './replica.ts';
import { select } from './select.ts';
import { train } from './train.ts';

export type { ImageBatch, Predict, PredictionSpec, TaskContext } from './context.ts';
export { predictHere } from './predictions.ts';
export { readModel } from './model.ts';
export { letGo } from './prepared.ts';
export { machineOf, writeRecord } from './record.ts';
export { withSpecification } from './specification.ts';

/** @throws AlumnusError with the code that the attempt failed with. */
export async function runTask(context: TaskContext): Promise<NonNullable<TaskResult['result']>> {
  const spec = required(context.task.spec, 'spec');
  // A merge stands between two rounds of one training, and a tar may; any other kind needs the memory.
  if (spec.$case !== 'replica' && spec.$case !== 'merge' && spec.$case !== 'index') letGo();
  switch (spec.$case) {
    case 'label':
      return { $case: 'label', value: await label(context, spec.value) };
    case 'select':
      return { $case: 'select', value: await select(context, spec.value) };
    case 'train':
      return { $case: 'train', value: await train(context, spec.value) };
    case 'evaluate':
      return { $case: 'evaluate', value: await evaluate(context, spec.value) };
    case 'measure':
      return { $case: 'measure', value: await measure(context, spec.value) };
    case 'import':
      return { $case: 'import', value: await importTeacher(context, spec.value) };
    case 'index':
      return { $case: 'index', value: await indexOne(context, spec.value) };
    case 'fingerprint':
      return { $case: 'fingerprint', value: await fingerprint(context, spec.value) };
    case 'audit':
      return { $case: 'audit', value: await audit(context, spec.value) };
    case 'replica':
      return { $case: 'replica', value: await replica(context, spec.value) };
    case 'merge':
      return { $case: 'merge', value: await merge(context, spec.value) };
  }
}
