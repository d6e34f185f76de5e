/** `alumnus status`: which coordinators answer, who leads, and what it has. */
import type { Command } from 'commander';
import { exitCode, toAlumnusError, type AlumnusError } from '../../proto/errors.ts';
import type { GetStatusResponse } from '../../proto/gen/alumnus/v1/operator.ts';
import { action, connected, declare, outputOption, type OutputFlag } from '../command.ts';
import { connectionOf, type ConnectionFlags } from '../connection.ts';
import type { Context } from '../context.ts';

interface Row extends Partial<GetStatusResponse> {
  readonly address: string;
  readonly error?: string;
}

export function addStatus(program: Command, context: Context): void {
  const command = declare(program, 'status', {
    summary: 'Show the coordinator: whether it leads, its term, its store, its workers',
    description: 'With several addresses, a line for each; it ends without an error where one of them leads. A coordinator that its journal does not answer says so (exit code 5 where none leads).',
    examples: ['alumnus status', 'alumnus status --address 10.0.0.4:7700,10.0.0.5:7700 -o json'],
  }).addOption(outputOption());
  action(connected(command), context, async (flags: ConnectionFlags & OutputFlag) => {
    const [{ withOperator }, { facts, outputForm, printListing, printSingle }, { plain }] = await Promise.all([import('../client.ts'), import('../output.ts'), import('../format.ts')]);
    const form = outputForm(flags.output);
    const connection = await connectionOf(context, flags);
    const addresses = connection.address.split(',');
    const [first = ''] = addresses;
    const ask = (address: string): Promise<GetStatusResponse> => withOperator({ ...connection, address }, (operator) => operator.status());
    if (addresses.length === 1) {
      const status = await ask(first);
      await printSingle(context, form, {
        kind: 'Status', name: first, value: { address: first, ...status },
        text: () => facts([
          ['Address', first], ['Role', status.role], ['Leader', status.role === 'leader' ? '' : status.leaderAddress || 'none just now'], ['Version', status.version],
          ['Term', status.term === 0 ? '' : String(status.term)], ['Workers', status.role === 'leader' ? String(status.workers) : ''],
          ['Store', status.storeUrl], ['Journal', status.journal], ['Facts', String(status.sequence)], ['Notice', status.notice],
        ]),
      });
      return status.role !== 'leader' && status.notice !== '' ? exitCode.unreachable : undefined;
    }
    let failure: AlumnusError | undefined;
    const rows = await Promise.all(addresses.map(async (address): Promise<Row> => {
      try {
        return { address, ...(await ask(address)) };
      } catch (thrown) {
        const error = toAlumnusError(thrown, address);
        failure ??= error;
        return { address, error: error.message };
      }
    }));
    const leads = (row: Row): boolean => row.role === 'leader';
    await printListing(context, form, {
      kind: 'Status', rows, name: (row) => row.address,
      head: ['address', 'role', 'term', 'workers', 'facts', 'version', 'journal'],
      cells: (row) => [row.address, row.role ?? `away: ${row.error ?? ''}`, leads(row) ? String(row.term) : '', leads(row) ? String(row.workers) : '', row.sequence === undefined ? '' : String(row.sequence), row.version ?? '', row.journal ?? ''],
      wide: { head: ['leader', 'store'], cells: (row) => [row.leaderAddress ?? '', row.storeUrl ?? ''] },
      empty: '',
    });
    for (const { address, notice = '' } of rows) if (notice !== '') context.note(`${address}: ${plain(notice)}`);
    if (rows.some(leads)) return undefined;
    if (failure !== undefined) throw failure;
    return rows.some(({ notice = '' }) => notice !== '') ? exitCode.unreachable : undefined;
  });
}
