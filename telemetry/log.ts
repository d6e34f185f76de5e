/**
 * A process's log on stderr: lines for people, or a JSON object a line (pino) with what the line is about as fields. Both forms say the same words.
 * Not for: results, which go to stdout; nor for a command's last word, a sentence that whoever started the process reads.
 */
import { pino } from 'pino';
import { AlumnusError } from '../proto/errors.ts';

const FORMATS = ['text', 'json'] as const;
const LEVELS = ['debug', 'info', 'warn', 'error', 'fatal'] as const;

type Format = (typeof FORMATS)[number];
type Level = (typeof LEVELS)[number];

/** What a line is about, as far as it is known. A run, task and worker by their ids. */
export interface About {
  readonly run?: string;
  readonly task?: string;
  readonly worker?: string;
  readonly term?: number;
  /** Of the table of errors. */
  readonly code?: string;
  /** Of a defect. */
  readonly stack?: string | undefined;
  /** Default `info`. */
  readonly level?: Level;
}

export type Log = (line: string, about?: About) => void;

export interface LogOptions {
  /** `coordinator`, `worker`. */
  readonly program: string;
  /** Of all its lines. */
  readonly worker?: string;
  /** What was asked for by `--log-format` and `--log-level`; else the environment's. */
  readonly format?: string | undefined;
  readonly level?: string | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Default stderr, whose writes to files and pipes are done when they return: the last line of a process that ends is not lost. */
  readonly write?: (line: string) => void;
}

/** @throws AlumnusError USAGE where a format or a level is none. */
export function openLog({ program, worker, env, write = (line) => void process.stderr.write(line), ...asked }: LogOptions): Log {
  const format = oneOf(FORMATS, asked.format, '--log-format', env.ALUMNUS_LOG_FORMAT, 'ALUMNUS_LOG_FORMAT') ?? 'text';
  const level = oneOf(LEVELS, asked.level, '--log-level', env.ALUMNUS_LOG_LEVEL, 'ALUMNUS_LOG_LEVEL') ?? 'info';
  const logger = pino({
    level, base: { program, pid: process.pid, ...(worker === undefined ? {} : { worker }) },
    timestamp: pino.stdTimeFunctions.isoTime, formatters: { level: (label) => ({ level: label }) },
  }, { write: format === 'json' ? write : (line) => write(forPeople(JSON.parse(line) as Written, worker)) });
  return (line, { level: of = 'info', ...about } = {}) => logger[of](about, line);
}

type Written = About & { readonly time: string; readonly program: string; readonly msg: string };

/** The whole of it but fields that the words name. */
const forPeople = ({ time, program, msg, stack }: Written, worker: string | undefined): string => `${time} ${program}${worker === undefined ? '' : ` ${worker}`} ${msg}${stack === undefined ? '' : `\n${stack}`}\n`;

function oneOf<Word extends Format | Level>(words: readonly Word[], flag: string | undefined, flagName: string, variable: string | undefined, variableName: string): Word | undefined {
  const [given, where] = flag === undefined ? [variable === '' ? undefined : variable, variableName] : [flag, flagName];
  if (given === undefined) return undefined;
  const word = words.find((each) => each === given);
  if (word === undefined) throw new AlumnusError('USAGE', `must be ${words.slice(0, -1).join(', ')} or ${words.at(-1)}, not "${given}"`, { where });
  return word;
}
