/** `alumnus schema`: what `-o json` tells, as JSON Schema. */
import type { Command } from 'commander';
import { AlumnusError } from '../../proto/errors.ts';
import { action, declare } from '../command.ts';
import type { Context } from '../context.ts';

export function addSchema(program: Command, context: Context): void {
  const command = declare(program, 'schema [kind]', {
    summary: 'Print the JSON Schema of what `-o json` tells, by its kind',
    description: 'Without a kind it lists those there are. Lines of `-o jsonl` are documents of their own: of a list, one of its items each. Recipes have a schema of their own: `alumnus recipe schema`.',
    examples: ['alumnus schema', 'alumnus schema Run > run.schema.json'],
  });
  action(command, context, async (kind: string | undefined) => {
    const { kinds, kindSchema } = await import('../kinds/index.ts');
    if (kind === undefined) return context.print(kinds.join('\n'));
    const schema = kindSchema(kind);
    if (schema === undefined) throw new AlumnusError('USAGE', `there is no kind "${kind}"; there are ${kinds.join(', ')}`);
    return context.print(JSON.stringify(schema, null, 2));
  });
}
