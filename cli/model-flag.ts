/** `--model NAME` of the commands that take a model out of a run, and what it cannot stand beside. Not for: finding the model (export-model.ts). */
import { AlumnusError } from '../proto/errors.ts';

/** @throws AlumnusError USAGE beside another way to say which model */
export function calledFlag({ model, iteration, fineTuned }: { readonly model?: string; readonly iteration?: number; readonly fineTuned?: boolean }): { called?: string } {
  if (model === undefined) return {};
  if (iteration !== undefined || fineTuned !== undefined) throw new AlumnusError('USAGE', 'says which model, as --iteration, --fine-tuned and --no-fine-tuned do: give one of them', { where: '--model' });
  return { called: model };
}
