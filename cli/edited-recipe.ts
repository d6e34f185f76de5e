/** A recipe with some of its fields changed, as `--set path=value` says it. Not for: whether the fields are a recipe's; the schema says that of the whole. */
import { Document, parse } from 'yaml';
import { AlumnusError } from '../proto/errors.ts';

/** `models.ladder[1].width` and `models.ladder.1.width` alike. */
const stepsOf = (path: string): (string | number)[] => path.replace(/\[(\d+)\]/g, '.$1').split('.').map((step) => (/^\d+$/.test(step) ? Number(step) : step));

/** @param changes `path=value`, the value as YAML has it @returns YAML @throws AlumnusError USAGE */
export function editedRecipe(recipe: unknown, changes: readonly string[]): string {
  const document = new Document(recipe);
  for (const change of changes) {
    const [, path = '', written = ''] = /^([a-z_][\w.[\]]*)=(.*)$/s.exec(change) ?? [];
    if (path === '') throw new AlumnusError('USAGE', `"${change}" is no change: write path=value, such as training.student.steps=2000`, { where: '--set' });
    try {
      const value: unknown = parse(written);
      // An empty value takes the field out: it then has its default.
      if (value === null) document.deleteIn(stepsOf(path));
      else document.setIn(stepsOf(path), document.createNode(value));
    } catch (thrown) {
      throw new AlumnusError('USAGE', `${path}: ${thrown instanceof Error ? thrown.message.split('\n')[0] : String(thrown)}`, { where: '--set', cause: thrown });
    }
  }
  return document.toString();
}
