/** `alumnus run resubmit`: a run's recipe once more, as a run of its own. */
import type { Command } from 'commander';
import { action, connected, declare, outputOption } from '../../command.ts';
import { connectionOf } from '../../connection.ts';
import type { Context } from '../../context.ts';
import { submitText, type SubmitFlags } from './submit.ts';

interface Flags extends SubmitFlags {
  set?: string[];
}

const collect = (value: string, before: string[] = []): string[] => [...before, value];

export function addRunResubmit(group: Command, context: Context): void {
  const command = declare(group, 'resubmit <run>', {
    summary: 'Submit a run\'s recipe once more, some of it changed where that is wanted',
    description: 'A new run with tasks of its own: nothing of the first is taken over, and datasets are looked up anew by their names. --set changes a field of the recipe by its path; the value is written as in YAML, and none (`path=`) takes the field out, so that it has its default.',
    examples: ['alumnus run resubmit mnist-4f2a91', 'alumnus run resubmit mnist-4f2a91 --set seed=2 --set training.student.steps=2000 --watch', 'alumnus run resubmit mnist-4f2a91 --set \'models.ladder[0].width=32\' --set name=wider'],
  }).option('--set <path=value>', 'change a field; may be given again', collect).option('--watch', 'follow the run to its end').option('--run-id <id>', 'its name, instead of the recipe\'s with a random suffix').addOption(outputOption());
  action(connected(command), context, async (runId: string, flags: Flags) => {
    const [{ withOperator }, { editedRecipe }] = await Promise.all([import('../../client.ts'), import('../../edited-recipe.ts')]);
    const { recipeJson } = await withOperator(await connectionOf(context, flags), (operator) => operator.run(runId));
    return submitText(context, editedRecipe(JSON.parse(recipeJson), flags.set ?? []), `the recipe of ${runId}`, flags);
  });
}
