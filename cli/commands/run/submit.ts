/** `alumnus run submit`: hands a recipe to the coordinator. */
import type { Command } from 'commander';
import { AlumnusError } from '../../../proto/errors.ts';
import { action, connected, declare, outputOption, type OutputFlag } from '../../command.ts';
import { connectionAgain, connectionOf, type ConnectionFlags } from '../../connection.ts';
import type { Context } from '../../context.ts';
import { readText } from '../../read-text.ts';
import { tellSubmitted } from '../../traced.ts';

export interface SubmitFlags extends ConnectionFlags, OutputFlag {
  watch?: true;
  runId?: string;
  project?: string;
}

export function addRunSubmit(group: Command, context: Context): void {
  const command = declare(group, 'submit <file>', {
    summary: 'Submit a recipe; the coordinator runs it',
    description: 'The recipe is checked here first. Use - to read standard input. What the run needs is fixed now: later changes of the file or of a dataset\'s name do not reach it.',
    examples: ['alumnus run submit mnist.yaml', 'alumnus run submit mnist.yaml --watch', 'alumnus run wait "$(alumnus run submit mnist.yaml -o name)"'],
  }).option('--watch', 'follow the run to its end').option('--run-id <id>', 'its name, instead of the recipe\'s with a random suffix').option('--project <name>', 'whose run it is (default)').addOption(outputOption());
  action(connected(command), context, async (file: string, flags: SubmitFlags) => submitText(context, await readText(file), file, flags));
}

/** @param where what the text is called where it is wrong */
export async function submitText(context: Context, text: string, where: string, flags: SubmitFlags): Promise<number | undefined> {
  const [{ parseRecipe, UNNAMED_RECIPE }, { withOperator }, { isForPeople, outputForm, printSingle }, { plain }] = await Promise.all([
    import('../../../recipe/index.ts'), import('../../client.ts'), import('../../output.ts'), import('../../format.ts'),
  ]);
  const form = outputForm(flags.output);
  const connection = await connectionOf(context, flags);
  const { address } = connection;
  const recipe = parseRecipe(text, where);
  return withOperator(connection, async (operator) => {
    const startMs = Date.now();
    const { runId, warnings } = await operator.submit(text, flags.runId ?? '', flags.project).catch((thrown: unknown) => {
      // The same schema has just taken the same text: there, it is another one.
      if (!(thrown instanceof AlumnusError) || !thrown.code.startsWith('RECIPE_') || thrown.where !== UNNAMED_RECIPE) throw thrown;
      throw new AlumnusError('CODE_OUTDATED', `the coordinator refuses a recipe that is valid here (${thrown.message}): it runs other code than this command, and should be restarted on it`, { where: operator.address, cause: thrown });
    });
    if (flags.watch) context.note(`Submitted run ${runId}. Ctrl-C stops watching, not the run.`);
    else await printSingle(context, form, { kind: 'RunSubmitted', name: runId, value: { runId, address }, text: () => `Submitted run ${runId}.` });
    await tellSubmitted(context, runId, startMs);
    for (const warning of warnings) context.note(`warning: ${plain(warning)}`);
    if (isForPeople(form)) {
      const { costText } = await import('../../cost.ts');
      // The run is submitted, whether or not it can be looked at now.
      const data = await operator.run(runId).then((view) => view.data, () => undefined);
      context.note(`What it takes, as far as that is known:\n${costText(recipe, data)}`);
    }
    const { workers } = await operator.workers();
    // A run without workers waits for ever and looks like one that works.
    if (!workers.some((worker) => worker.state !== 'lost')) context.note(`No worker is here to do it. Start one: alumnus worker --coordinator ${address}`);
    const at = connectionAgain(flags);
    if (flags.watch) {
      const { watchToEnd } = await import('./watch.ts');
      return watchToEnd(context, operator, runId, form, at);
    }
    context.note(`Next:\n  alumnus run watch ${runId}${at}\n  alumnus run report ${runId}${at}\n  alumnus run cancel ${runId}${at}`);
    return undefined;
  });
}
