/**
 * The whole command line as one value: every command with its flags and examples, and `execute`, which turns arguments
 * into an exit code. Any failure is one sentence on stderr, with the exit code that the error table gives it; several
 * problems of one file follow it, a line each.
 */
import { Command, CommanderError } from 'commander';
import { AlumnusError, errorTable, exitCode, toAlumnusError } from '../proto/errors.ts';
import type { Context } from './context.ts';
import { plain } from './format.ts';
import { version } from '../proto/version.ts';
import { addAccess } from './commands/access.ts';
import { addBundle } from './commands/bundle.ts';
import { addCompletion } from './commands/completion.ts';
import { addConfig } from './commands/config.ts';
import { addCoordinator } from './commands/coordinator.ts';
import { addDataset } from './commands/dataset.ts';
import { addDemo } from './commands/demo.ts';
import { addReconcile } from './commands/reconcile.ts';
import { addEvents } from './commands/events.ts';
import { addDoctor } from './commands/doctor.ts';
import { addGc } from './commands/gc.ts';
import { addExplain } from './commands/explain.ts';
import { addModel } from './commands/model.ts';
import { addRecipe } from './commands/recipe.ts';
import { addReview } from './commands/review.ts';
import { addRun } from './commands/run.ts';
import { addSchema } from './commands/schema.ts';
import { addStatus } from './commands/status.ts';
import { addTask } from './commands/task.ts';
import { addTop } from './commands/top.ts';
import { addVersion } from './commands/version.ts';
import { addWorker } from './commands/worker.ts';

export function createProgram(context: Context): Command {
  const program = new Command('alumnus')
    .description('Noisy Student on a fleet: a teacher labels, a noised student learns, the better one is promoted.')
    .version(version(), '--version', 'print the release')
    .helpOption('-h, --help', 'print this help')
    .helpCommand('help [command]', 'print the help of a command')
    .exitOverride()
    // `worker list --token-file FILE`: the verb's flag, not that of `worker` itself, which has the same name.
    .enablePositionalOptions()
    .showSuggestionAfterError(true)
    .configureOutput({
      writeOut: (text) => context.out.write(text),
      writeErr: (text) => context.err.write(text),
      getOutHelpWidth: () => Math.min(context.out.columns, 110),
      getErrHelpWidth: () => Math.min(context.err.columns, 110),
      getOutHasColors: () => context.out.color,
      getErrHasColors: () => context.err.color,
      // Usage errors are printed by `execute`, as every other error is.
      outputError: () => undefined,
    })
    .addHelpText('after', '\nExamples:\n  alumnus demo                        the whole method on MNIST, from nothing to a report\n  alumnus recipe init mnist > mnist.yaml\n  alumnus run submit mnist.yaml --watch');
  addDemo(program, context);
  addRun(program, context);
  addDataset(program, context);
  addRecipe(program, context);
  addCoordinator(program, context);
  addWorker(program, context);
  addTask(program, context);
  addEvents(program, context);
  addExplain(program, context);
  addModel(program, context);
  addReview(program, context);
  addReconcile(program, context);
  addGc(program, context);
  addConfig(program, context);
  addAccess(program, context);
  addStatus(program, context);
  addTop(program, context);
  addDoctor(program, context);
  addBundle(program, context);
  addSchema(program, context);
  addCompletion(program, context);
  addVersion(program, context);
  return program;
}

/** Ends of commander that are no failure: help and version were asked for and are printed. */
const ASKED_FOR = new Set(['commander.helpDisplayed', 'commander.version']);

/** A usage error of commander in our words: `unknown option '--sed' (did you mean --seed?)`. */
const usageError = (error: CommanderError): AlumnusError =>
  new AlumnusError('USAGE', plain(error.message.replace(/^error: /, '').replace(/\n\(Did you mean (.*?)\?\)$/s, ' (did you mean $1?)')));

/** @returns the exit code; never throws for what a user can cause. */
export async function execute(argv: readonly string[], context: Context): Promise<number> {
  try {
    const program = createProgram(context);
    if (argv.length === 0) {
      program.outputHelp();
      return exitCode.ok;
    }
    await program.parseAsync(argv, { from: 'user' });
    return context.signal.aborted && context.exitCode === exitCode.ok ? exitCode.interrupted : context.exitCode;
  } catch (thrown) {
    if (thrown instanceof CommanderError) {
      if (ASKED_FOR.has(thrown.code)) return exitCode.ok;
      // A group without a command: its help is on stderr already.
      if (thrown.code === 'commander.help') return exitCode.usage;
      return report(usageError(thrown), context);
    }
    if (context.signal.aborted) return exitCode.interrupted;
    return report(toAlumnusError(thrown), context);
  }
}

function report(error: AlumnusError, context: Context): number {
  context.note(`${context.err.color ? '\u001b[31merror:\u001b[39m' : 'error:'} ${error.lines.map(plain).join('\n')}`);
  if (error.code === 'INTERNAL' && (context.env['ALUMNUS_DEBUG'] ?? '') !== '') context.note(String((error.cause instanceof Error ? error.cause : error).stack));
  return errorTable[error.code].exit;
}
