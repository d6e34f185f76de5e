/** Every command of ours in the documentation is one that there is, with arguments and flags that it takes. What commands do is tested elsewhere; docs.test.ts of tests/integration runs the tutorial and the guides. */
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { CommanderError, type Command } from 'commander';
import { describe, expect, test } from 'vitest';
import { Context } from '../../../cli/context.ts';
import { createProgram } from '../../../cli/program.ts';
import { callsOf, commandsSeen, pages, root, shellBlocks, spokenCommands, textOf } from '../../harness/docs.ts';
import { recorder } from '../cli/console.ts';

/** As the command line itself takes arguments apart; nothing is done. */
async function problemOf(args: readonly string[]): Promise<CommanderError | undefined> {
  const program = createProgram(new Context(recorder(), recorder(), {}));
  const idle = (command: Command): void => {
    // A group shows its help; commander tells it from what acts in no other way.
    if ((command as unknown as { _actionHandler: unknown })._actionHandler !== null) {
      command.action(() => {
        // `worker` itself says which verbs there are.
        if (command.args.length > command.registeredArguments.length) throw new CommanderError(2, 'commander.excessArguments', `unknown: ${command.args.join(' ')}`);
      });
    }
    command.commands.forEach(idle);
  };
  idle(program);
  try {
    await program.parseAsync([...args], { from: 'user' });
    return undefined;
  } catch (thrown) {
    if (thrown instanceof CommanderError) return ['commander.helpDisplayed', 'commander.version'].includes(thrown.code) ? undefined : thrown;
    throw thrown;
  }
}

/** In a sentence a command may be named without all that it needs, or with N for a number. */
const isOnlyNamed = ({ code, message }: CommanderError): boolean =>
  ['commander.missingArgument', 'commander.missingMandatoryOptionValue', 'commander.optionMissingArgument', 'commander.help'].includes(code) || (code === 'commander.invalidArgument' && /argument '[A-Z:,]+' is invalid/.test(message));

describe.each(pages())('%s', (page) => {
  test('has commands as they are', async () => {
    const blocks = shellBlocks(page);
    const calls = callsOf(blocks.map(({ text }) => text));
    for (const [at, { text, line }] of blocks.entries()) {
      expect(calls[at]?.length, `${page}:${line}: a shell comes to as many commands as one reads there`).toBe(commandsSeen(text));
      for (const call of calls[at] ?? []) expect((await problemOf(call))?.message, `${page}:${line}: alumnus ${call.join(' ')}`).toBeUndefined();
    }
    const spoken = spokenCommands(page);
    for (const [at, [call = []]] of callsOf(spoken).entries()) {
      const problem = await problemOf(call);
      if (problem !== undefined && !isOnlyNamed(problem)) expect.fail(`${page}: ${spoken[at]}: ${problem.message}`);
    }
  });

  test('names scripts of the repository that there are', () => {
    const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { scripts: Record<string, string> };
    for (const [, name = ''] of textOf(page).matchAll(/npm run (?:-s )?([a-z:]+)/g)) expect(Object.keys(scripts), `${page}: npm run ${name}`).toContain(name);
    for (const [, folder = '', name = ''] of textOf(page).matchAll(/npm run (bench|results) -- ([a-z-]+)/g)) {
      expect(readdirSync(join(root, folder === 'bench' ? 'bench' : 'bench/results')), `${page}: npm run ${folder} -- ${name}`).toContain(`${name}.ts`);
    }
  });
});

test('a command that there is not, a flag that it does not take and a missing argument are found', async () => {
  expect((await problemOf(['run', 'sumbit', 'a.yaml']))?.code).toBe('commander.unknownCommand');
  expect((await problemOf(['worker', 'lst']))?.code).toBe('commander.excessArguments');
  expect((await problemOf(['run', 'submit', 'a.yaml', '--wtch']))?.code).toBe('commander.unknownOption');
  expect((await problemOf(['run', 'submit']))?.code).toBe('commander.missingArgument');
  expect(await problemOf(['run', 'submit', 'a.yaml', '--watch'])).toBeUndefined();
  expect(callsOf(['FLAG=1 bin/alumnus run list -o "a b" | grep x && alumnus status'])).toEqual([[['run', 'list', '-o', 'a b'], ['status']]]);
  expect(commandsSeen('FLAG=1 bin/alumnus run list -o "a b" | grep x && alumnus status\n# alumnus top')).toBe(2);
});
