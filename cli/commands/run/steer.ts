/** `alumnus run pause`, `resume`, `cancel`: one call each, and the state that follows. */
import type { Command } from 'commander';
import type { Operator } from '../../client.ts';
import { action, connected, declare, outputOption, type CommandText, type OutputFlag } from '../../command.ts';
import { connectionAgain, connectionOf, type ConnectionFlags } from '../../connection.ts';
import type { Context } from '../../context.ts';

interface Flags extends ConnectionFlags, OutputFlag {
  reason?: string;
}

type Verb = 'pause' | 'resume' | 'cancel';

/** `next`: verbs that one would type then. */
const texts: Readonly<Record<Verb, CommandText & { readonly done: string; readonly next: readonly string[] }>> = {
  pause: {
    summary: 'Pause a run: what is in work is finished, nothing more is begun',
    examples: ['alumnus run pause mnist-4f2a --reason "the fleet is needed elsewhere"'],
    done: 'is paused', next: ['resume', 'describe'],
  },
  resume: { summary: 'Let a paused run go on', examples: ['alumnus run resume mnist-4f2a'], done: 'goes on', next: ['watch'] },
  cancel: {
    summary: 'End a run for good; what it made stays in the store',
    examples: ['alumnus run cancel mnist-4f2a --reason "wrong dataset"'],
    done: 'is cancelled', next: ['report', 'resubmit'],
  },
};

export function addRunCommands(group: Command, context: Context): void {
  for (const verb of ['pause', 'resume', 'cancel'] as const) {
    const { done, next, ...text } = texts[verb];
    const command = declare(group, `${verb} <run>`, text).option('--reason <text>', 'why; kept with the run').addOption(outputOption());
    action(connected(command), context, async (runId: string, flags: Flags) => {
      const [{ withOperator }, { outputForm, printSingle }] = await Promise.all([import('../../client.ts'), import('../../output.ts')]);
      const form = outputForm(flags.output);
      const call = (operator: Operator) => operator[verb](runId, flags.reason ?? '');
      const view = await withOperator(await connectionOf(context, flags), call);
      await printSingle(context, form, { kind: 'RunSummary', name: runId, value: view.summary ?? { runId }, text: () => `Run ${runId} ${done}.` });
      context.note(`Next:\n${next.map((each) => `  alumnus run ${each} ${runId}${connectionAgain(flags)}`).join('\n')}`);
    });
  }
}
