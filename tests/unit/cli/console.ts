/** The command line run inside the test, with what it wrote on each stream. */
import { Context, type Sink } from '../../../cli/context.ts';
import { execute } from '../../../cli/program.ts';

export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

export function recorder(options: { isTerminal?: boolean; columns?: number } = {}): Sink & { text: string } {
  return {
    text: '', isTerminal: options.isTerminal ?? false, color: false, columns: options.columns ?? 200,
    write(text: string) {
      this.text += text;
    },
  };
}

export async function run(args: readonly string[], env: Record<string, string> = {}): Promise<Ran> {
  const [out, err] = [recorder(), recorder()];
  const code = await execute(args, new Context(out, err, { HOME: '/nonexistent', ...env }));
  return { code, out: out.text, err: err.text };
}
