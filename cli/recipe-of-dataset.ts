/** A ready recipe, for a dataset of the user's own: its text with every comment, only names changed. Not for: what fits the images (the recipe's comments say what to think about). */
import { isScalar, parseDocument } from 'yaml';
import { AlumnusError } from '../proto/errors.ts';
import { checkRecipe } from '../recipe/index.ts';

/** @param dataset NAME or NAME@VERSION, of which the run gets the name @throws AlumnusError USAGE */
export function recipeOfDataset(text: string, dataset: string): string {
  const document = parseDocument(text);
  const name = dataset.replace(/@.*/, '');
  const edits: readonly (readonly [readonly string[], string])[] = [[['name'], name], [['data', 'dataset'], dataset], [['data', 'corrupted'], `${name}-c`]];
  // Written into the text, not from the document: comments stay in their columns.
  const places = edits.flatMap(([path, value]) => {
    const node = document.getIn(path, true);
    return isScalar(node) && node.range ? [{ from: node.range[0], to: node.range[1], value }] : [];
  }).sort((a, b) => b.from - a.from);
  const edited = places.reduce((all, { from, to, value }) => all.slice(0, from) + value + all.slice(to), text);
  const { problems } = checkRecipe(edited);
  if (problems.length > 0) throw new AlumnusError('USAGE', `"${dataset}" is no dataset's name: ${problems[0]?.reason ?? ''}`, { where: '--dataset' });
  return edited;
}
