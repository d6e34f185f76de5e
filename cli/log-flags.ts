/** What the commands that stay say of their log: two flags, handed to the processes that they start, and their own notes in the same form. Not for: commands that end, whose words are for people. */
import { type Command, Option } from 'commander';
import type { Context } from './context.ts';

export interface LogFlags {
  logFormat?: string;
  logLevel?: string;
}

export const withLogFlags = (command: Command): Command => command
  .addOption(new Option('--log-format <form>', 'text, or json: an object a line (ALUMNUS_LOG_FORMAT; text)').choices(['text', 'json']))
  .addOption(new Option('--log-level <level>', 'the least that is said (ALUMNUS_LOG_LEVEL; info)').choices(['debug', 'info', 'warn', 'error', 'fatal']));

export const logArguments = ({ logFormat, logLevel }: LogFlags): string[] => [
  ...(logFormat === undefined ? [] : ['--log-format', logFormat]), ...(logLevel === undefined ? [] : ['--log-level', logLevel]),
];

/** Notes of the command itself; in a log of JSON they are lines of it, and advice for a terminal is none. */
export async function notesOf(context: Context, { logFormat, logLevel }: LogFlags): Promise<{ readonly note: (line: string) => void; readonly advise: (text: string) => void }> {
  if ((logFormat ?? context.env.ALUMNUS_LOG_FORMAT) !== 'json') return { note: (line) => context.note(line), advise: (text) => context.note(text) };
  const { openLog } = await import('../telemetry/index.ts');
  const log = openLog({ program: 'cli', format: logFormat, level: logLevel, env: context.env, write: (line) => context.note(line.trimEnd()) });
  return { note: (line) => log(line, { level: 'warn' }), advise: () => undefined };
}
