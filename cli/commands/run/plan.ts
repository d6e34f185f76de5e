/** `alumnus run plan`: what a recipe would come to, before it is submitted. */
import type { Command } from 'commander';
import { invariant } from '../../../proto/errors.ts';
import { action, connected, declare, outputOption, wholeNumber, type OutputFlag } from '../../command.ts';
import { connectionAgain, connectionOf, type ConnectionFlags } from '../../connection.ts';
import type { Context } from '../../context.ts';
import type { Plan } from '../../plan-text.ts';
import { readText } from '../../read-text.ts';

interface Flags extends ConnectionFlags, OutputFlag {
  workers?: number;
  store?: string;
}

/** Earlier runs whose times are looked at: the newest tell of the fleet as it is. */
const MEASURED_RUNS_MAX = 3;
const WORKERS_MAX = 100_000;

export function addRunPlan(group: Command, context: Context): void {
  const command = declare(group, 'plan <file>', {
    summary: 'Say what a recipe would come to: tasks, data, time; nothing is submitted',
    description: 'The tasks are those that the coordinator\'s own rules would make if every student were promoted and nothing failed: a student that is refused is trained again where the recipe says so, and its iteration\'s labels stand for the next. '
      + 'How long each kind takes comes from the newest runs that have succeeded, of the same models on images of the same size; what none of them did is told as not known. The datasets are read in the object store, which this machine must be able to read. Use - to read standard input.',
    examples: ['alumnus run plan mnist.yaml', 'alumnus run plan mnist.yaml --workers 16', 'alumnus run plan mnist.yaml -o json | jq .tasks'],
  }).option('--workers <n>', 'as if so many workers were there (those that are)', wholeNumber(1, WORKERS_MAX))
    .option('--store <url>', 'the object store, where it has another address from here').addOption(outputOption());
  action(connected(command), context, async (file: string, flags: Flags) => {
    const [{ parseRecipe }, { withOperator }, { outputForm, printSingle }, { ask }, { planText }, { storeUrl }, { plain }, text] = await Promise.all([
      import('../../../recipe/index.ts'), import('../../client.ts'), import('../../output.ts'), import('../../helper.ts'), import('../../plan-text.ts'), import('../../home.ts'), import('../../format.ts'), readText(file),
    ]);
    const form = outputForm(flags.output);
    parseRecipe(text, file);
    const { status, runs, workers } = await withOperator(await connectionOf(context, flags), async (operator) => ({
      // The first call goes where the leader is.
      runs: (await operator.runs()).runs, workers: (await operator.workers()).workers.filter(({ state }) => state !== 'lost').length, status: await operator.status(),
    }));
    const store = flags.store === undefined ? status.storeUrl : storeUrl(context.env, { store: flags.store });
    const earlier = runs.filter(({ state }) => state === 'succeeded').sort((a, b) => b.endedAtMs - a.endedAtMs).slice(0, MEASURED_RUNS_MAX).map(({ runId }) => runId);
    let plan: Plan | undefined;
    await ask({
      program: 'coordinator', file: 'plan-main', arguments: ['--store', store], request: { recipe: text, workers: flags.workers ?? Math.max(1, workers), runs: earlier }, signal: context.signal,
      onLine: (line) => {
        if ('plan' in line) plan = line['plan'] as Plan;
      },
    });
    invariant(plan !== undefined, 'the program told a plan before it ended well');
    const told = plan;
    for (const note of told.notes) context.note(plain(note));
    if (workers === 0 && flags.workers === undefined) context.note('No worker is here: it is planned for one.');
    await printSingle(context, form, { kind: 'RunPlan', name: told.name, value: told, text: () => planText(told) });
    context.note(`Next:\n  alumnus run submit ${file}${connectionAgain(flags)}`);
  });
}
