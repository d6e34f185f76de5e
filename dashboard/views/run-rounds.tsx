/** A run's rounds as a timeline, and accuracy by iteration, teacher against student. */
import { integer, percent, points, shareOf } from '../format.ts';
import { Accuracy, Panel, State } from '../parts/marks.tsx';
import { AccuracyChart, type RoundPoint } from '../parts/charts.tsx';
import { to } from '../route.ts';
import type { Run } from './run-document.ts';

const stages = ['label', 'select', 'train', 'evaluate', 'promote'] as const;
type Iteration = Run['iterations'][number];

/** The model that is gated: the student, or where those teach, the fine-tuned one. */
export const gated = ({ fineTunedTeaches }: Run, { model, fineTuned }: Iteration): Iteration['model'] => (fineTunedTeaches && fineTuned?.validation !== undefined ? fineTuned : model);

/** The accuracy of who taught this iteration: that of the model by its digest. */
export function teacherOf(view: Run, { teacherSha256 }: Iteration): Iteration['model'] {
  if (teacherSha256 === '') return undefined;
  return view.iterations.flatMap((each) => [each.model, each.fineTuned]).find((model) => model?.model?.sha256 === teacherSha256);
}

export const titleOf = ({ iteration, try: attempt }: Pick<Iteration, 'iteration' | 'try'>): string => `${iteration}${attempt > 0 ? `, try ${attempt + 1}` : ''}`;

export function Rounds({ view }: { readonly view: Run }) {
  const { summary, iterations } = view;
  const points_: RoundPoint[] = iterations.map((each) => ({
    title: titleOf(each), student: gated(view, each)?.validation, teacher: teacherOf(view, each)?.validation, test: gated(view, each)?.test, href: to.iteration(summary.runId, each.iteration),
  }));
  const ahead = Math.max(0, summary.rounds - summary.iteration);
  return (
    <div class="columns wide-first">
      <Panel title="Rounds">
        <ol class="rounds" aria-label="Rounds">
          {iterations.map((each) => <Round key={titleOf(each)} view={view} each={each} />)}
          {summary.endedAtMs === 0 && ahead > 0 && <li class="round ahead"><span class="muted">{integer(ahead)} ahead</span></li>}
        </ol>
      </Panel>
      <Panel title="Accuracy by iteration"><AccuracyChart rounds={points_} control={view.control?.validation} /></Panel>
    </div>
  );
}

function Round({ view, each }: { readonly view: Run; readonly each: Iteration }) {
  const { summary } = view;
  const isCurrent = each.iteration === summary.iteration && summary.endedAtMs === 0 && each.decision === '';
  const model = gated(view, each);
  const [own, taught] = [shareOf(model?.validation), shareOf(teacherOf(view, each)?.validation)];
  const at = stages.indexOf(summary.stage as (typeof stages)[number]);
  return (
    <li class={`round ${isCurrent ? 'current' : ''}`} data-iteration={each.iteration}>
      <a href={to.iteration(summary.runId, each.iteration)}>
        <span class="round-title" title={model?.label}><b>{titleOf(each)}</b> <span>{each.iteration === 0 ? 'first teacher' : model?.label}</span>{each.iteration === view.bestIteration && view.bestModel !== undefined && <span class="best" title="the best by validation">★ best</span>}</span>
        <span class="round-stages" aria-label={isCurrent ? `in stage ${summary.stage}` : 'done'}>{stages.filter((stage) => each.iteration > 0 || (stage !== 'label' && stage !== 'select')).map((stage) => {
          const index = stages.indexOf(stage);
          const state = !isCurrent || index < at ? 'past' : index === at ? 'now' : '';
          return <i key={stage} class={state} title={stage}>{stage}</i>;
        })}</span>
        <span class="round-figures"><Accuracy score={model?.validation} />{own !== undefined && taught !== undefined && <span class={own >= taught ? 'good figure' : 'bad figure'} title={`its teacher has ${percent(taught, 2)}`}>{points(own - taught, 2)}</span>}{each.decision !== '' && <State state={each.decision} />}</span>
      </a>
    </li>
  );
}
