/** `alumnus run diff`: two runs side by side, what was asked for and what came out. */
import type { Command } from 'commander';
import { action, connected, declare, outputOption, type OutputFlag } from '../../command.ts';
import { connectionOf, type ConnectionFlags } from '../../connection.ts';
import type { Context } from '../../context.ts';

export function addRunDiff(group: Command, context: Context): void {
  const command = declare(group, 'diff <a> <b>', {
    summary: 'Hold two runs against one another: recipes and results',
    description: 'Fields of the recipes that differ, then results side by side. Where both have a test split that is compared by figures alone: `alumnus run describe` tells how sure each is.',
    examples: ['alumnus run diff mnist-4f2a91 mnist-91c0de', 'alumnus run diff mnist-4f2a91 mnist-91c0de -o json | jq .results'],
  }).addOption(outputOption());
  action(connected(command), context, async (a: string, b: string, flags: ConnectionFlags & OutputFlag) => {
    const [{ withOperator }, { differences, differencesText, resultPairs, resultsText }, { outputForm, printSingle }] = await Promise.all([import('../../client.ts'), import('../../diff.ts'), import('../../output.ts')]);
    const form = outputForm(flags.output);
    const [left, right] = await withOperator(await connectionOf(context, flags), (operator) => Promise.all([operator.run(a), operator.run(b)]));
    const recipe = differences(JSON.parse(left.recipeJson), JSON.parse(right.recipeJson));
    const results = resultPairs(left, right);
    await printSingle(context, form, { kind: 'RunDiff', name: `${a} ${b}`, value: { a, b, recipe, results }, text: () => `${differencesText(recipe, a, b)}\n\n${resultsText(results, a, b)}` });
  });
}
