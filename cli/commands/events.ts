/** `alumnus events`: what became of runs, fact by fact, in words. */
import type { Command } from 'commander';
import type { EventView } from '../../proto/gen/alumnus/v1/operator.ts';
import { machineDocument } from '../../proto/machine.ts';
import { action, connected, declare, outputOption, wholeNumber, type OutputFlag } from '../command.ts';
import { connectionOf, type ConnectionFlags } from '../connection.ts';
import type { Context } from '../context.ts';
import type { Operator } from '../client.ts';

interface Flags extends ConnectionFlags, OutputFlag {
  follow?: true;
  last: number;
  all?: true;
}

/** A follower asks this often. */
const FOLLOW_MS = 1_000;
const LAST_DEFAULT = 50;
/** What a coordinator answers at once. */
const PAGE = 1_000;

export function addEvents(program: Command, context: Context): void {
  const command = declare(program, 'events [run]', {
    summary: 'Show what became of a run, or of all of them, fact by fact',
    description: 'These are the journalled facts, the newest last: tasks done, failed and given up, stages, decisions, pauses and who asked for what. Of a run they are all there from its submission on.',
    examples: ['alumnus events', 'alumnus events mnist-4f2a --all', 'alumnus events mnist-4f2a --follow', 'alumnus events mnist-4f2a --all -o jsonl | jq \'select(.kind == "Event").event\''],
  }).option('--last <n>', 'so many, the newest', wholeNumber(1, PAGE), LAST_DEFAULT).option('--all', 'all of the run\'s, from its submission on').option('-f, --follow', 'go on with those that come').addOption(outputOption());
  action(connected(command), context, async (run: string | undefined, flags: Flags) => {
    const [{ withOperator }, { outputForm, isForPeople, printListing }, { instant, none, plain }, { pause }, { AlumnusError }] = await Promise.all([
      import('../client.ts'), import('../output.ts'), import('../format.ts'), import('../pause.ts'), import('../../proto/errors.ts'),
    ]);
    const form = outputForm(flags.output);
    if (run === undefined && flags.all === true) throw new AlumnusError('USAGE', 'all facts are told of one run: name it', { where: '--all' });
    const follows = flags.follow === true;
    if (follows && !(isForPeople(form) || form === 'jsonl')) throw new AlumnusError('USAGE', 'what is followed is told line by line: -o jsonl, or no -o', { where: '--output' });
    await withOperator(await connectionOf(context, flags), async (operator) => {
      const events = await first(operator, run, flags);
      if (!follows) {
        await printListing(context, form, {
          kind: 'Event', rows: events.map(told), name: (event) => `${event.runId}/${event.number}`,
          head: run === undefined ? ['at', 'run', 'what'] : ['at', 'number', 'what'],
          cells: (event) => [instant(event.atMs), run === undefined ? event.runId : String(event.number), plain(event.text)],
          wide: { head: ['event', 'iteration', 'task', 'worker'], cells: (event) => [event.event, String(event.iteration), event.taskId || none, event.workerId || none] },
          empty: 'There are no events yet. Next:\n  alumnus run submit FILE',
        });
        return;
      }
      const say = (event: EventView): void => context.print(form === 'jsonl' ? JSON.stringify(machineDocument('Event', told(event))) : `${instant(event.atMs)}  ${event.runId}  ${plain(event.text)}`);
      const seen = new Map<string, number>();
      for (const event of events) {
        say(event);
        seen.set(event.runId, event.number);
      }
      while (!context.signal.aborted) {
        await pause(FOLLOW_MS, context.signal);
        if (context.signal.aborted) return;
        const more = run === undefined ? await operator.newestEvents('', PAGE) : await operator.eventsAfter(run, seen.get(run) ?? 0, PAGE);
        for (const event of more.filter(({ runId, number }) => number > (seen.get(runId) ?? 0))) {
          say(event);
          seen.set(event.runId, event.number);
        }
      }
    });
  });
}

/** `kind` is the document's. */
const told = ({ kind, ...event }: EventView): Omit<EventView, 'kind'> & { readonly event: string } => ({ ...event, event: kind });

async function first(operator: Operator, run: string | undefined, { all, last }: Flags): Promise<EventView[]> {
  if (run === undefined || all !== true) return operator.newestEvents(run ?? '', last);
  const events: EventView[] = [];
  for (;;) {
    const page = await operator.eventsAfter(run, events.at(-1)?.number ?? 0, PAGE);
    events.push(...page);
    if (page.length < PAGE) return events;
  }
}
