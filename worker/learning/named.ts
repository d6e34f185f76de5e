/**
 * What a task names and this worker's code may not have, because it is older than the coordinator's: a recipe was checked by the
 * coordinator's code before it became a task. Not for: what a person wrote, which recipe/schema.ts refuses.
 */
import { AlumnusError } from '../../proto/errors.ts';
import { modelNames, validateModelOptions, type Architecture } from '../../recipe/index.ts';

const outdated = (what: string): AlumnusError => new AlumnusError('CODE_OUTDATED', `this worker's code ${what}: restart the worker on the code that the coordinator runs`);

/** The entry of that name. `kind`: what the table is of, for the error. @throws AlumnusError CODE_OUTDATED */
export function named<Value>(table: Readonly<Record<string, Value>>, kind: string, name: string): Value {
  const found = Object.hasOwn(table, name) ? table[name] : undefined;
  if (found === undefined) throw outdated(`has no ${kind} ${JSON.stringify(name)}`);
  return found;
}

/** @throws AlumnusError CODE_OUTDATED where the model, or an option of it, is none of ours */
export function knownModel({ model }: Architecture): void {
  if (!modelNames.includes(model.name)) throw outdated(`has no model ${JSON.stringify(model.name)}`);
  const [reason] = validateModelOptions(model);
  if (reason !== undefined) throw outdated(`makes no such model (${reason})`);
}
