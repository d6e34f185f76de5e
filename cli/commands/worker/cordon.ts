/** `alumnus worker cordon`, `drain`, `uncordon`: whether a worker is given more work, and whether it keeps what it has. */
import type { Command } from 'commander';
import { AlumnusError } from '../../../proto/errors.ts';
import { action, connected, declare, outputOption, wholeNumber, type CommandText, type OutputFlag } from '../../command.ts';
import { connectionAgain, connectionOf, type ConnectionFlags } from '../../connection.ts';
import type { Context } from '../../context.ts';

/** How often a drain looks whether its worker still holds something. */
const DRAIN_LOOK_MS = 500;

type CordonVerb = 'cordon' | 'drain' | 'uncordon';
interface CordonText extends CommandText {
  readonly cordon: '' | 'cordoned' | 'draining';
  readonly done: string;
}

const cordonTexts: Readonly<Record<CordonVerb, CordonText>> = {
  cordon: { summary: 'Give a worker no more work; what it has it finishes', examples: ['alumnus worker cordon gpu-7-3121'], cordon: 'cordoned', done: 'is given no more work' },
  drain: {
    summary: 'Give a worker no more work, and have it hand back its trainings',
    description: 'A training goes on elsewhere from its newest checkpoint; anything shorter is finished. The worker\'s process stays; stop it once it holds nothing, or give it work again.',
    examples: ['alumnus worker drain gpu-7-3121 --wait'], cordon: 'draining', done: 'is being drained',
  },
  uncordon: { summary: 'Give a worker work again', examples: ['alumnus worker uncordon gpu-7-3121'], cordon: '', done: 'is given work again' },
};

export function addWorkerCordon(command: Command, context: Context): void {
  for (const [verb, text] of Object.entries(cordonTexts) as [CordonVerb, CordonText][]) {
    const cordon = declare(command, `${verb} <worker>`, text).addOption(outputOption());
    if (verb === 'drain') cordon.option('--wait', 'until it holds nothing').option('--timeout <seconds>', 'with --wait: give up after this long', wholeNumber(1, 31_536_000));
    action(connected(cordon), context, async (workerId: string, flags: ConnectionFlags & OutputFlag & { wait?: true; timeout?: number }) => {
      const [{ withOperator }, { isForPeople, outputForm, printSingle }, { withTimeout }, { pause }] = await Promise.all([import('../../client.ts'), import('../../output.ts'), import('../../progress/watch.ts'), import('../../pause.ts')]);
      const form = outputForm(flags.output);
      const limit = withTimeout(context.signal, flags.timeout);
      const worker = await withOperator(await connectionOf(context, flags), async (operator) => {
        let view = await operator.cordon(workerId, text.cordon);
        while (flags.wait === true && view.taskIds.length > 0 && view.state !== 'lost') {
          await pause(DRAIN_LOOK_MS, limit.signal);
          if (context.signal.aborted) return view;
          if (limit.signal.aborted) throw new AlumnusError('TIMED_OUT', `it still holds ${view.taskIds.join(', ')}`, { where: workerId });
          view = (await operator.workers()).workers.find((each) => each.workerId === workerId) ?? { ...view, taskIds: [] };
        }
        return view;
      });
      await printSingle(context, form, { kind: 'Worker', name: workerId, value: worker, text: () => `Worker ${workerId} ${text.done}${worker.taskIds.length === 0 || text.cordon === '' ? '' : `; it holds ${worker.taskIds.join(', ')}`}.` });
      if (isForPeople(form) && text.cordon !== '') context.note(`Next:\n  alumnus worker describe ${workerId}${connectionAgain(flags)}\n  alumnus worker uncordon ${workerId}${connectionAgain(flags)}`);
    });
  }
}
