/** `alumnus run measure`: what a model costs where it runs. */
import type { Command } from 'commander';
import { action, connected, declare, outputOption, wholeNumber, type OutputFlag } from '../../command.ts';
import { connectionOf, type ConnectionFlags } from '../../connection.ts';
import type { Context } from '../../context.ts';
import { calledFlag } from '../../model-flag.ts';

interface Flags extends ConnectionFlags, OutputFlag {
  model?: string;
  iteration?: number;
  fineTuned?: boolean;
  threads: number;
  times: number;
  store?: string;
}

export function addRunMeasure(group: Command, context: Context): void {
  const command = declare(group, 'measure <run>', {
    summary: 'Measure what a model of a run costs: size, multiply-adds, memory, latency',
    description: 'Of the best model, or an iteration\'s: parameters, multiply-adds an image, bytes in each format that `run export` writes, and on this machine the time of a prediction at batch 1 and the memory of a process that predicts. Other work on the machine shows in the last two.',
    examples: ['alumnus run measure mnist-4f2a', 'alumnus run measure mnist-4f2a --iteration 0 --threads 4 -o json'],
  }).option('--model <name>', 'instead of the best: chosen (by the recipe\'s compress), control, a comparison\'s name')
    .option('--iteration <n>', 'the model of this iteration (the best by validation)', wholeNumber(0))
    .option('--fine-tuned', 'that model after fine-tuning (the one that was gated)').option('--no-fine-tuned', 'that model before fine-tuning')
    .option('--threads <n>', 'threads that a prediction may use', wholeNumber(1), 1)
    .option('--times <n>', 'predictions that count', wholeNumber(1), 200)
    .option('--store <url>', 'the object store, where it has another address from here').addOption(outputOption());
  action(connected(command), context, async (runId: string, flags: Flags) => {
    const [{ withOperator }, { takeModel }, { measuredModel }, { countedProgress }, { facts, outputForm, printSingle }, { bytes, integer }, { storeUrl }] = await Promise.all([
      import('../../client.ts'), import('../../export-model.ts'), import('../../measured-model.ts'), import('../../dataset-import.ts'), import('../../output.ts'), import('../../format.ts'), import('../../home.ts'),
    ]);
    const form = outputForm(flags.output);
    const view = await withOperator(await connectionOf(context, flags), (operator) => operator.run(runId));
    const { iteration, stored, weights } = await takeModel(view, {
      storeUrl: flags.store === undefined ? view.storeUrl : storeUrl(context.env, { store: flags.store }),
      ...calledFlag(flags), ...(flags.iteration === undefined ? {} : { iteration: flags.iteration }), ...(flags.fineTuned === undefined ? {} : { fineTuned: flags.fineTuned }),
    });
    const progress = countedProgress(context, 'measuring');
    const release = context.hold();
    try {
      const measured = await measuredModel(stored, weights, { threads: flags.threads, times: flags.times, signal: context.signal }, (done, total) => progress.update(done, total, 'predictions'));
      progress.end();
      const { latencyMs: { p50, p95, predictions }, memoryBytes: { peak, withoutModel }, ...rest } = measured;
      await printSingle(context, form, {
        kind: 'ModelMeasurement', name: runId, value: { runId, iteration, ...rest, memoryBytes: measured.memoryBytes, latencyP50Ms: p50, latencyP95Ms: p95, predictions },
        text: () => facts([
          ['model', `${measured.model}, iteration ${iteration}`], ['parameters', integer(measured.parameters)], ['multiply-adds', `${integer(measured.multiplyAdds)} an image`],
          ...Object.entries(measured.bytes).map(([format, sizes]): [string, string] => [format, Object.entries(sizes).map(([scheme, size]) => `${scheme} ${bytes(size)}`).join(', ')]),
          ['latency', `p50 ${p50.toFixed(2)} ms, p95 ${p95.toFixed(2)} ms at batch 1, of ${integer(predictions)} predictions`],
          ['memory', `${bytes(peak)} at most, ${bytes(withoutModel)} of them before the model`], ['device', `${measured.device}, ${measured.threads === 1 ? 'one thread' : `${measured.threads} threads`}`],
        ]),
      });
    } finally {
      progress.end();
      release();
    }
  });
}
