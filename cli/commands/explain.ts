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
    const [{ historyOf }, { ask }, { countedProgress }, { outputForm, printSingle }, { plain }, { RunHistory }] = await Promise.all([
      import('../history.ts'), import('../helper.ts'), import('../dataset-import.ts'), import('../output.ts'), import('../format.ts'), import('../../proto/gen/alumnus/v1/history.ts'),
    ]);
    const form = outputForm(flags.output);
    const url = storeUrl(context.env, flags);
    const history = await historyOf(context, { storeUrl: url, run: flags.run, model: '' });
    for (const note of history.notes) context.note(plain(note));
    const progress = countedProgress(context, flags.run);
    let sample: SampleExplained | undefined;
    try {
      await ask({
        program: 'worker', file: 'explain', arguments: ['--store', url], request: { history: RunHistory.toJSON(history), key }, signal: context.signal,
        onLine: (line) => {
          if ('sample' in line) sample = line.sample as SampleExplained;
          const { done, total, label } = (line['progress'] ?? {}) as { done?: number; total?: number; label?: string };
          if (label !== undefined) progress.update(done ?? 0, total ?? 0, label);
        },
      });
    } finally {
      progress.end();
    }
    invariant(sample !== undefined, 'the program told of the sample before it ended well');
    const told = sample;
    await printSingle(context, form, { kind: 'SampleExplanation', name: told.key, value: told, text: async () => (await import('../explain-text.ts')).sampleText(told) });
  });
}
