/** `alumnus doctor`: what people stumble on, and what to do. */
import type { Command } from 'commander';
import { exitCode, toAlumnusError } from '../../proto/errors.ts';
import { action, connected, declare, homeOption, outputOption, storeOption, type OutputFlag } from '../command.ts';
import { connectionOf, type ConnectionFlags } from '../connection.ts';
import type { Context } from '../context.ts';

interface Flags extends ConnectionFlags, OutputFlag {
  home?: string;
  store?: string;
}

export function addDoctor(program: Command, context: Context): void {
  const command = declare(program, 'doctor', {
    summary: 'Look at what people stumble on, and say what to do',
    description: 'This machine (Node.js, the native library, open files, disk, home folder), contexts, TLS, the coordinator with its release, clock, journal and workers, and the object store, in which an object is written, read and deleted again. Ends with 8 where something fails; a warning is no failure.',
    examples: ['alumnus doctor', 'alumnus doctor --context prod', 'alumnus doctor -o json | jq -r \'.items[] | select(.verdict == "fail").remedy\''],
  }).addOption(homeOption()).addOption(storeOption()).addOption(outputOption());
  action(connected(command), context, async (flags: Flags) => {
    const [{ examine }, { outputForm, printListing }, { plural }] = await Promise.all([import('../doctor.ts'), import('../output.ts'), import('../format.ts')]);
    const form = outputForm(flags.output);
    const connection = await connectionOf(context, flags).catch((thrown: unknown) => toAlumnusError(thrown));
    const checks = await examine(context, flags, connection);
    if (context.signal.aborted) return exitCode.interrupted;
    await printListing(context, form, {
      kind: 'Check', rows: checks, name: (check) => check.name, head: ['check', 'verdict', 'what', 'what to do'],
      cells: (check) => [check.name, check.verdict, check.what, check.remedy ?? ''], empty: '',
    });
    const [failures, warnings] = (['fail', 'warn'] as const).map((verdict) => checks.filter((check) => check.verdict === verdict).length);
    context.note(failures === 0 ? `Nothing fails${warnings === 0 ? '' : `; ${plural(warnings ?? 0, 'warning')}`}.` : `${plural(failures ?? 0, 'check')} failed.`);
    return failures === 0 ? exitCode.ok : exitCode.environment;
  });
}
