/** `alumnus run export`: a model and its weights as files. */
import { Option, type Command } from 'commander';
import { action, connected, declare, outputOption, wholeNumber, type OutputFlag } from '../../command.ts';
import { connectionOf, type ConnectionFlags } from '../../connection.ts';
import type { Context } from '../../context.ts';
import type { RunView } from '../../../proto/gen/alumnus/v1/operator.ts';
import type { WeightScheme } from '../../../recipe/index.ts';
import type { ExportFormat } from '../../export-model.ts';
import { plain } from '../../format.ts';
import { calledFlag } from '../../model-flag.ts';

export interface ExportFlags extends ConnectionFlags, OutputFlag {
  to: string;
  format?: ExportFormat;
  weights?: WeightScheme;
  page?: true;
  samples: number;
  store?: string;
}

interface Flags extends ExportFlags {
  model?: string;
  iteration?: number;
  fineTuned?: boolean;
}

/** How a model is written, whoever names it. */
export const withExportFlags = (command: Command): Command => connected(command)
  .requiredOption('--to <folder>', 'where the files go; made when it is not there')
  .addOption(new Option('--format <format>', 'of the files (safetensors; of --model chosen onnx)').choices(['safetensors', 'savedmodel', 'onnx', 'tfjs-graph', 'tfjs']))
  .addOption(new Option('--weights <type>', 'what kernels are stored in, of savedmodel, onnx and tfjs-graph (float32; of --model chosen what it was chosen in)').choices(['float32', 'float16', 'int8']))
  .option('--page', 'with tfjs-graph: a page beside the model that runs it in a browser')
  .option('--samples <n>', 'with --page: so many of the run\'s test images to try it on, which become part of the page', wholeNumber(0), 8)
  .option('--store <url>', 'the object store, where it has another address from here').addOption(outputOption());

/** Writes the files and prints their paths. @param which none of its fields: the run's best model */
export async function exportTo(context: Context, view: RunView, flags: ExportFlags, which: { readonly sha256?: string; readonly called?: string; readonly iteration?: number; readonly fineTuned?: boolean }): Promise<void> {
  const [{ exportModel }, { outputForm, printSingle }, { storeUrl }] = await Promise.all([import('../../export-model.ts'), import('../../output.ts'), import('../../home.ts')]);
  const form = outputForm(flags.output);
  const exported = await exportModel(view, {
    to: flags.to, ...(flags.format === undefined ? {} : { format: flags.format }), ...(flags.weights === undefined ? {} : { weights: flags.weights }), ...which,
    storeUrl: flags.store === undefined ? view.storeUrl : storeUrl(context.env, { store: flags.store }),
    ...(flags.page === undefined ? {} : { page: { samples: flags.samples } }),
  });
  await printSingle(context, form, { kind: 'ModelExport', name: exported.folder, value: exported, text: () => exported.files.join('\n') });
}

export function addRunExport(group: Command, context: Context): void {
  const command = declare(group, 'export <run>', {
    summary: 'Write the best model of a run, or an iteration\'s, to a folder',
    description: 'Three files: model.json describes the model for other tools, document.json is what the run keeps of it, weights.safetensors holds its weights; the last two byte for byte as stored and checked by their digests. The run\'s object store must be readable from this machine. The files\' paths are printed. Other formats hold the model so that it can be called, with class names and scaling inside, beside document.json and a README that says how: savedmodel for TensorFlow, onnx, tfjs-graph for TF.js in browsers and Node (with --page a page that runs it). With --format tfjs: TF.js layers format, which can also be a teacher of another run; of all models without attention.',
    examples: ['alumnus run export mnist-4f2a --to ./model', 'alumnus run export mnist-4f2a --iteration 0 --to ./first-teacher', 'alumnus run export photos-91c0 --fine-tuned --to ./model', 'alumnus run export mnist-4f2a --format onnx --weights int8 --to ./onnx', 'alumnus run export compress-07ab --model chosen --to ./small', 'alumnus run export mnist-4f2a --format tfjs-graph --page --to ./web'],
  }).option('--model <name>', 'instead of the best: chosen (by the recipe\'s compress, in the weights that it was chosen in), control, a comparison\'s name')
    .option('--iteration <n>', 'the model of this iteration (the best by validation)', wholeNumber(0))
    .option('--fine-tuned', 'that model after fine-tuning (the one that was gated: which of the two that is the recipe says)')
    .option('--no-fine-tuned', 'that model before fine-tuning');
  action(withExportFlags(command), context, async (runId: string, flags: Flags) => {
    const [{ withOperator }, { outputForm }] = await Promise.all([import('../../client.ts'), import('../../output.ts')]);
    outputForm(flags.output);
    const which = { ...calledFlag(flags), ...(flags.iteration === undefined ? {} : { iteration: flags.iteration }), ...(flags.fineTuned === undefined ? {} : { fineTuned: flags.fineTuned }) };
    const view = await withOperator(await connectionOf(context, flags), (operator) => operator.run(runId));
    await exportTo(context, view, flags, which);
    const tuned = view.iterations.some((each) => (each.fineTuned?.model?.sha256 ?? '') !== '');
    const { chosen } = view.compression ?? {};
    if (flags.model === undefined && flags.iteration === undefined && chosen !== undefined) context.note(`This is the best model; --model chosen exports the smallest that keeps enough of its accuracy, ${plain(chosen.name)} in ${chosen.weights}.`);
    if (flags.model === undefined && flags.fineTuned === undefined && tuned && !view.fineTunedTeaches) context.note('This is the model before fine-tuning, which the gate decided on; --fine-tuned exports the other one.');
  });
}
