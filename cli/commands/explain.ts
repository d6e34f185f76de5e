/** `alumnus explain`: why a run did what it did to one image. */
import type { Command } from 'commander';
import { invariant } from '../../proto/errors.ts';
import { action, declare, declareGroup, homeOption, outputOption, storeOption, type OutputFlag } from '../command.ts';
import type { Context } from '../context.ts';
import type { SampleExplained } from '../../proto/told.ts';
import { storeUrl } from '../home.ts';

interface Flags extends OutputFlag {
  run: string;
  home?: string;
  store?: string;
}

export function addExplain(program: Command, context: Context): void {
  const group = declareGroup(program, 'explain', { summary: 'Say why an image\'s pseudo-label was kept, repeated or dropped', examples: ['alumnus explain sample 3fa95e11c04b27d6a0f1 --run mnist-4f2a91'] });
  const command = declare(group, 'sample <key>', {
    summary: 'Tell one image\'s labels in every iteration, what became of each, and why',
    description: 'The key is the image\'s name in its shard, or the beginning of it alone. For each iteration, refused tries too: the teacher, its probabilities, the threshold and where it came from, and whether the label was kept, repeated or dropped, by the rule that the selection was cut with. '
      + 'Everything is read from the object store: no coordinator need run, and a run under way is told as of its last manifest.',
    examples: ['alumnus explain sample 3fa95e11c04b27d6a0f1 --run mnist-4f2a91', 'alumnus explain sample 3fa95e --run mnist-4f2a91 -o json | jq .iterations'],
  }).requiredOption('--run <run>', 'the run').addOption(homeOption()).addOption(storeOption()).addOption(outputOption());
  action(command, context, async (key: string, flags: Flags) => {
    const [{ askOfRun }, { outputForm, printSingle }] = await Promise.all([import('../ask-of-run.ts'), import('../output.ts')]);
    const form = outputForm(flags.output);
    let sample: SampleExplained | undefined;
    await askOfRun(context, { run: flags.run, storeUrl: storeUrl(context.env, flags), file: 'explain', request: { key }, onLine: (line) => {
      if ('sample' in line) sample = line['sample'] as SampleExplained;
    } });
    invariant(sample !== undefined, 'the program told of the sample before it ended well');
    const told = sample;
    await printSingle(context, form, { kind: 'SampleExplanation', name: told.key, value: told, text: async () => (await import('../explain-text.ts')).sampleText(told) });
  });
}
