/** The recipes that ship, as the text a user would write, so that `recipe init` hands out exactly what `demo` runs. */
import { compress } from './compress.ts';
import { expand } from './expand.ts';
import { mnist } from './mnist.ts';
import { fashionMnist } from './fashion-mnist.ts';
import { distill } from './distill.ts';
import { deit } from './deit.ts';

const ready: Readonly<Record<string, string>> = { mnist, 'fashion-mnist': fashionMnist, distill, expand, compress, deit };

export const readyRecipeNames: readonly string[] = Object.keys(ready);

/** The YAML text of a ready recipe, or undefined when there is none of that name. */
export const readyRecipe = (name: string): string | undefined => (Object.hasOwn(ready, name) ? ready[name] : undefined);
