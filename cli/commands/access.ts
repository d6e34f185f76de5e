/** `alumnus access`: tokens for those who may do something, and a look at the file that says so. */
import { createHash, randomBytes } from 'node:crypto';
import { Option, type Command } from 'commander';
import { action, declare, declareGroup } from '../command.ts';
import type { Context } from '../context.ts';

const TOKEN_BYTES = 32;

export function addAccess(program: Command, context: Context): void {
  const group = declareGroup(program, 'access', { summary: 'Make tokens for operators, viewers and workers', examples: ['alumnus access token ana --role operator', 'alumnus access check access.yaml'] });

  const token = declare(group, 'token <name>', {
    summary: 'Draw a token, and print what the access file says of it',
    description: 'The token goes to standard output and is kept nowhere; the lines for the file, which hold only its digest, go to standard error.',
    examples: ['alumnus access token ana > ana.token', 'alumnus access token gpu-workers --role worker > worker.token'],
  }).addOption(new Option('--role <role>', 'what it may do').choices(['viewer', 'operator', 'worker']).default('operator')).option('--project <name>', 'where; * is every project and the fleet', '*');
  action(token, context, async (name: string, flags: { role: string; project: string }) => {
    const drawn = randomBytes(TOKEN_BYTES).toString('base64url');
    const { stringify } = await import('yaml');
    context.print(drawn);
    context.note(`Into the access file:\n${stringify({ members: [{ name, token_sha256: createHash('sha256').update(drawn).digest('hex'), roles: { [flags.project]: flags.role } }] }).trimEnd()}`);
  });

  const check = declare(group, 'check <file>', {
    summary: 'Say whether a coordinator could use an access file',
    examples: ['alumnus access check access.yaml'],
  });
  action(check, context, async (file: string) => {
    const { checkAccess } = await import('../check-access.ts');
    context.print(await checkAccess(context, file));
  });
}
