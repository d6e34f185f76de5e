/** `alumnus run report`: one HTML file that needs nothing else. */
import type { Command } from 'commander';
import { action, connected, declare } from '../../command.ts';
import { connectionOf, type ConnectionFlags } from '../../connection.ts';
import type { Context } from '../../context.ts';
import { storeUrl } from '../../home.ts';

interface Flags extends ConnectionFlags {
  out?: string;
  store?: string;
}

export function addRunReport(group: Command, context: Context): void {
  const command = declare(group, 'report <run>', {
    summary: 'Write the report of a run as one HTML file',
    description: 'Works at any time, of what is there by then. The gallery comes from the run\'s object store, which this machine must be able to read. The file\'s path is printed; with --out - the file itself. Beside it lies the same as JSON, under the same name with .json.',
    examples: ['alumnus run report mnist-4f2a', 'alumnus run report mnist-4f2a --out report.html'],
  }).option('--out <file>', 'the file to write (RUN.html); - for standard output').option('--store <url>', 'the object store, where it has another address from here');
  action(connected(command), context, async (runId: string, flags: Flags) => {
    const [{ withOperator }, { writeReport }] = await Promise.all([import('../../client.ts'), import('../../report/write.ts')]);
    const store = flags.store === undefined ? {} : { store: storeUrl(context.env, { store: flags.store }) };
    const view = await withOperator(await connectionOf(context, flags), (operator) => operator.run(runId));
    await writeReport(context, view, { ...(flags.out === undefined ? {} : { out: flags.out }), ...store });
  });
}
