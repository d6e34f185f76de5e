/** `alumnus run pause`, `resume`, `retry`, `cancel`, `kill`, `promote`, `rollback`: one call each, and the state that follows. */
import type { Command } from 'commander';
import type { RunView } from '../../../proto/gen/alumnus/v1/operator.ts';
import type { Operator } from '../../client.ts';
import { action, connected, declare, outputOption, wholeNumber, type CommandText, type OutputFlag } from '../../command.ts';
import { connectionAgain, connectionOf, type ConnectionFlags } from '../../connection.ts';
import type { Context } from '../../context.ts';

interface Flags extends ConnectionFlags, OutputFlag {
  reason?: string;
  iteration?: number;
}

type Verb = 'pause' | 'resume' | 'retry' | 'cancel' | 'kill' | 'promote' | 'rollback';

interface VerbText extends CommandText {
  /** Of the flag --iteration; absent where there is none. `required`: where it must be said. */
  readonly iteration?: { readonly text: string; readonly required: boolean };
  /** Whether the run keeps why. */
  readonly reasoned: boolean;
  readonly done: (view: RunView) => string;
  /** What is likely typed next: nouns, verbs and flags that follow the run's id. */
  readonly next: readonly string[];
}

const texts: Readonly<Record<Verb, VerbText>> = {
  pause: {
    summary: 'Pause a run: what is in work is finished, nothing more is begun',
    examples: ['alumnus run pause mnist-4f2a --reason "the fleet is needed elsewhere"'],
    reasoned: true, done: () => 'is paused', next: ['resume'],
  },
  resume: { summary: 'Let a paused run go on', examples: ['alumnus run resume mnist-4f2a'], reasoned: false, done: () => 'goes on', next: ['watch'] },
  retry: {
    summary: 'Try again what failed or was given up in a run, and nothing else',
    description: 'A run that failed or was cancelled goes on from where it was; of one under way the shards that were given up in its present stage, and what trains beside the stages, are tried again. `run resubmit` does all of it again, as a new run.',
    examples: ['alumnus run retry mnist-4f2a'], reasoned: false, done: () => 'is tried again', next: ['watch'],
  },
  cancel: {
    summary: 'End a run: what is in work is finished or handed back first',
    description: 'Nothing more is begun; shards in work are finished, trainings stop with their newest checkpoint. What the run made stays in the store, and `run retry` takes it up again. `run kill` waits for nothing.',
    examples: ['alumnus run cancel mnist-4f2a --reason "wrong dataset"', 'alumnus run wait mnist-4f2a --for cancelled'],
    reasoned: true, done: ({ summary }) => (summary?.state === 'cancelled' ? 'is cancelled' : 'is being cancelled: what is in work is finished first'), next: ['wait', 'retry'],
  },
  kill: {
    summary: 'End a run now: what is in work is dropped',
    examples: ['alumnus run kill mnist-4f2a --reason "it fills the disk"'], reasoned: true, done: () => 'is cancelled', next: ['retry'],
  },
  promote: {
    summary: 'Promote a model that the gate refused; or choose which model a run that succeeded returns',
    description: 'Of a run that waits after a refusal, the student becomes the teacher and the run goes on. A student that was refused earlier is named by --iteration: the iterations after it are made anew. The gate\'s figures stay as they were, and the report says who chose.',
    examples: ['alumnus run promote mnist-4f2a --reason "two points less on validation, half the errors on the phone\'s pictures"', 'alumnus run promote mnist-4f2a --iteration 2'],
    iteration: { text: 'of the model (the one that waits for a decision)', required: false }, reasoned: true,
    done: ({ summary }) => (summary?.state === 'succeeded' ? 'returns that model' : 'has that model as its teacher'), next: ['watch', 'describe'],
  },
  rollback: {
    summary: 'Make an earlier iteration\'s model the teacher again; what came after it is made anew',
    description: 'Labels that this teacher has written already are kept; the students that follow are trained with other seeds. A model that was gone back before is not returned at the end, however well it did on validation.',
    examples: ['alumnus run rollback mnist-4f2a --iteration 1 --reason "iteration 2 learned a watermark"'],
    iteration: { text: 'whose model teaches again', required: true }, reasoned: true, done: () => 'goes on from there', next: ['watch'],
  },
};

const call: Readonly<Record<Verb, (operator: Operator, runId: string, flags: Flags) => Promise<RunView>>> = {
  pause: (operator, runId, { reason = '' }) => operator.pause(runId, reason),
  resume: (operator, runId) => operator.resume(runId, ''),
  retry: (operator, runId) => operator.retry(runId),
  cancel: (operator, runId, { reason = '' }) => operator.cancel(runId, reason),
  kill: (operator, runId, { reason = '' }) => operator.kill(runId, reason),
  promote: (operator, runId, { reason = '', iteration }) => operator.promote(runId, reason, iteration),
  rollback: (operator, runId, { reason = '', iteration }) => operator.rollBack(runId, reason, iteration),
};

export function addRunCommands(group: Command, context: Context): void {
  for (const [verb, { done, next, reasoned, iteration, ...text }] of Object.entries(texts) as [Verb, VerbText][]) {
    const command = declare(group, `${verb} <run>`, text);
    if (iteration?.required === true) command.requiredOption('--iteration <n>', iteration.text, wholeNumber(0));
    else if (iteration !== undefined) command.option('--iteration <n>', iteration.text, wholeNumber(0));
    if (reasoned) command.option('--reason <text>', 'why; kept with the run');
    action(connected(command.addOption(outputOption())), context, async (runId: string, flags: Flags) => {
      const [{ withOperator }, { isForPeople, outputForm, printSingle }] = await Promise.all([import('../../client.ts'), import('../../output.ts')]);
      const form = outputForm(flags.output);
      const view = await withOperator(await connectionOf(context, flags), (operator) => call[verb](operator, runId, flags));
      await printSingle(context, form, { kind: 'RunSummary', name: runId, value: view.summary ?? { runId }, text: () => `Run ${runId} ${done(view)}.` });
      if (isForPeople(form)) context.note(`Next:\n${next.map((each) => `  alumnus run ${each} ${runId}${connectionAgain(flags)}`).join('\n')}`);
    });
  }
}
