/** `alumnus version`: this release, what it runs on, and the coordinator's. */
import type { Command } from 'commander';
import { toAlumnusError } from '../../proto/errors.ts';
import { version } from '../../proto/version.ts';
import { action, connected, declare, outputOption, type OutputFlag } from '../command.ts';
import { connectionOf, type ConnectionFlags } from '../connection.ts';
import type { Context } from '../context.ts';

/** Whoever asks for the release waits no longer for a coordinator. */
const ASK_MS = 2_000;

interface Theirs {
  readonly address: string;
  readonly version?: string;
  readonly role?: string;
  /** Why it is not known. */
  readonly error?: string;
}

export function addVersion(program: Command, context: Context): void {
  const command = declare(program, 'version', {
    summary: 'Print the release, and the coordinator\'s',
    description: 'Ends with 0 whether or not a coordinator answers.',
    examples: ['alumnus version', 'alumnus version --client', 'alumnus version -o json | jq -r .version'],
  }).option('--client', 'this program\'s alone; no coordinator is asked').addOption(outputOption());
  action(connected(command), context, async (flags: ConnectionFlags & OutputFlag & { client?: true }) => {
    const { outputForm, printSingle } = await import('../output.ts');
    const form = outputForm(flags.output);
    const release = version();
    const coordinator = flags.client === true || form === 'name' ? undefined : await asked(context, flags);
    await printSingle(context, form, {
      kind: 'Version', name: release,
      value: { version: release, node: process.version, platform: `${process.platform}-${process.arch}`, ...(coordinator === undefined ? {} : { coordinator }) },
      text: () => [
        `alumnus ${release} (node ${process.version}, ${process.platform}-${process.arch})`,
        ...(coordinator === undefined ? [] : [`coordinator ${coordinator.version === undefined ? `at ${coordinator.address}: ${coordinator.error ?? ''}` : `${coordinator.version} (${coordinator.role ?? ''} at ${coordinator.address})`}`]),
      ].join('\n'),
    });
    if (coordinator?.version !== undefined && coordinator.version !== release) context.note('The two are of different releases: use one of the same on both sides.');
  });
}

async function asked(context: Context, flags: ConnectionFlags): Promise<Theirs> {
  const { withOperator } = await import('../client.ts');
  const connection = await connectionOf(context, flags);
  const address = connection.address.split(',')[0] ?? '';
  try {
    const { version: theirs, role } = await withOperator(connection, (operator) => operator.status(ASK_MS));
    return { address, version: theirs, role };
  } catch (thrown) {
    return { address, error: toAlumnusError(thrown, address).message };
  }
}
