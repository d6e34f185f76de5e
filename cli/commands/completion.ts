/** `alumnus completion`: a shell's script for the Tab key; and what that asks, hidden. */
import { Argument, type Command } from 'commander';
import { action, declare } from '../command.ts';
import type { Context } from '../context.ts';

/** The script asks what the package bash-completion has; where that is not installed, the words are taken as Bash splits them. */
const WITHOUT_BASH_COMPLETION = `if ! declare -F _get_comp_words_by_ref > /dev/null; then
  _get_comp_words_by_ref() {
    words=("\${COMP_WORDS[@]}"); cword=$COMP_CWORD; cur=\${COMP_WORDS[COMP_CWORD]}; prev=\${COMP_WORDS[COMP_CWORD-1]}
  }
fi`;

export function addCompletion(program: Command, context: Context): void {
  const command = declare(program, 'completion', {
    summary: 'Print the script that completes commands with the Tab key',
    description: 'It completes nouns, verbs, flags and their values, and asks the coordinator for ids of runs and workers and the object store for names of datasets. For good: write it where your shell looks for such scripts.',
    examples: ['alumnus completion bash > ~/.local/share/bash-completion/completions/alumnus', 'alumnus completion zsh > ~/.zfunc/_alumnus', 'alumnus completion fish > ~/.config/fish/completions/alumnus.fish'],
  }).addArgument(new Argument('<shell>').choices(['bash', 'zsh', 'fish', 'powershell']));
  action(command, context, async (shell: string) => {
    const { script } = await import('@bomb.sh/tab');
    if (shell === 'bash') context.print(WITHOUT_BASH_COMPLETION);
    script(shell, 'alumnus', 'alumnus');
  });

  // What the script calls: `alumnus complete -- WORDS`.
  const asked = program.command('complete', { hidden: true }).summary('Say what may come next').addHelpText('after', '\nExample:\n  alumnus complete -- run sub').argument('[words...]').allowUnknownOption();
  action(asked, context, async (words: string[]) => (await import('../completion.ts')).completed(context, program, words));
}
