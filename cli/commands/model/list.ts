/** `alumnus model list`: every model that runs have trained. */
import type { Command } from 'commander';
import type { ModelView, RunView } from '../../../proto/gen/alumnus/v1/operator.ts';
import type { Score } from '../../../proto/gen/alumnus/v1/task.ts';
import { action, connected, declare, outputOption, type OutputFlag } from '../../command.ts';
import { connectionOf, type ConnectionFlags } from '../../connection.ts';
import type { Context } from '../../context.ts';

interface Row {
  /** As `model describe` and its fellows take it. */
  readonly name: string;
  readonly runId: string;
  /** Absent of what was trained beside the stages. */
  readonly iteration?: number;
  readonly try?: number;
  readonly fineTuned: boolean;
  readonly label: string;
  readonly parameters: number;
  readonly sha256: string;
  readonly bytes: number;
  readonly validation?: Score;
  readonly test?: Score;
  /** promoted, refused, or empty. */
  readonly decision: string;
  readonly best: boolean;
  readonly trainMs: number;
}

/** Of an iteration the model that was gated is named by its number, others by their digest alone. */
function rowsOf(view: RunView): Row[] {
  const runId = view.summary?.runId ?? '';
  const row = (model: ModelView | undefined, named: string, fineTuned: boolean, of: Pick<Row, 'iteration' | 'try'>, decision: string): Row[] => (model?.model === undefined || model.model.sha256 === '' ? [] : [{
    name: fineTuned === view.fineTunedTeaches && (of.iteration === undefined || decision !== 'refused') ? `${runId}/${named}` : model.model.sha256, runId, ...of, fineTuned, label: model.label, parameters: model.parameters, sha256: model.model.sha256, bytes: model.model.bytes,
    ...(model.validation === undefined ? {} : { validation: model.validation }), ...(model.test === undefined ? {} : { test: model.test }), decision: fineTuned === view.fineTunedTeaches ? decision : '', best: view.bestModel?.sha256 === model.model.sha256, trainMs: model.trainMs,
  }]);
  const both = (model: ModelView | undefined, tuned: ModelView | undefined, named: string, of: Pick<Row, 'iteration' | 'try'>, decision = ''): Row[] => [...row(model, named, false, of, decision), ...row(tuned, named, true, of, decision)];
  return [
    ...view.iterations.flatMap((each) => both(each.model, each.fineTuned, String(each.iteration), { iteration: each.iteration, try: each.try }, each.decision)),
    ...both(view.control, view.controlFineTuned, 'control', {}), ...view.comparisons.flatMap((each) => both(each.model, each.fineTuned, each.name, {})),
  ];
}

export function addModelList(group: Command, context: Context): void {
  const command = declare(group, 'list', {
    summary: 'List the models that runs have trained',
    examples: ['alumnus model list', 'alumnus model list --run mnist-4f2a91 -o wide', 'alumnus model list -o json | jq -r \'.items[] | select(.best).sha256\''],
  }).option('--run <run>', 'of this run alone').addOption(outputOption());
  action(connected(command), context, async (flags: ConnectionFlags & OutputFlag & { run?: string }) => {
    const [{ withOperator }, { outputForm, printListing }, { bytes, duration, integer, none, percent, shortDigest }] = await Promise.all([import('../../client.ts'), import('../../output.ts'), import('../../format.ts')]);
    const form = outputForm(flags.output);
    const rows = await withOperator(await connectionOf(context, flags), async (operator) => {
      const runIds = flags.run === undefined ? (await operator.runs()).runs.sort((a, b) => b.submittedAtMs - a.submittedAtMs).map(({ runId }) => runId) : [flags.run];
      const found: Row[] = [];
      // One after another: a view may be large.
      for (const runId of runIds) found.push(...rowsOf(await operator.run(runId)));
      return found;
    });
    const share = (score: Score | undefined): string => (score === undefined || score.total === 0 ? none : percent(score.correct / score.total, 2));
    await printListing(context, form, {
      kind: 'TrainedModel', rows, name: (row) => row.name,
      head: ['model', 'what', 'parameters', 'validation', 'test', 'decision', 'sha256'],
      cells: (row) => [row.name.length === row.sha256.length ? `${row.runId}, ${row.fineTuned ? 'fine-tuned' : 'not fine-tuned'}` : row.name, row.label, integer(row.parameters), share(row.validation), share(row.test), `${row.decision || none}${row.best ? ' *' : ''}`, shortDigest(row.sha256)],
      wide: { head: ['run', 'fine-tuned', 'trained', 'document', 'digest'], cells: (row) => [row.runId, row.fineTuned ? 'yes' : 'no', duration(row.trainMs), bytes(row.bytes), row.sha256] },
      empty: 'No model is trained yet. Next:\n  alumnus run submit FILE',
    });
  });
}
