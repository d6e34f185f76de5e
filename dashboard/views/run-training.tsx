/** Trainings: those under way as they go, each replica with its own curve, and those that are done. */
import type { LiveCurve } from '../../proto/page.ts';
import { integer } from '../format.ts';
import { useFields } from '../live.ts';
import { LossChart, type LossLine } from '../parts/charts.tsx';
import { Bar, Panel } from '../parts/marks.tsx';
import { titleOf } from './run-rounds.tsx';
import type { Run } from './run-document.ts';

/** A legend of more is no legend. */
const NAMED_MAX = 8;

export function Training({ view, brief = false }: { readonly view: Run; readonly brief?: boolean }) {
  const live = [...useFields('curves')?.values() ?? []] as LiveCurve[];
  const trainings = Map.groupBy(live.filter((curve) => !isDone(view, curve)), ({ iteration, training }) => `${training}, iteration ${iteration}`);
  const shared = new Map(view.sharedTrainings.map((each) => [`${each.subject}, iteration ${each.iteration}`, each]));
  const recipe = view.recipe as { training?: { student?: { steps?: number }; teacher?: { steps?: number } } };
  return (
    <>
      {[...trainings].map(([name, curves]) => {
        const round = shared.get(name);
        const working = view.tasks.find(({ task }) => task !== undefined && `${task.subject}, iteration ${task.iteration}` === name)?.task?.work;
        const steps = round?.steps ?? working ?? (curves[0]?.iteration === 0 ? recipe.training?.teacher?.steps : recipe.training?.student?.steps) ?? 0;
        const furthest = Math.max(0, ...curves.map((curve) => curve.steps.at(-1) ?? 0));
        return (
          <Panel key={name} title={`Loss of ${name}`} more={<span class="figure">{integer(furthest)} of {integer(steps)} steps <Bar share={steps > 0 ? furthest / steps : 0} label="of the training" /></span>}>
            {round !== undefined && <p class="muted">Round {round.round + 1} of {round.rounds}: {round.replicasDone} of {round.replicas} replicas done{round.merging ? ', being merged' : ''}{round.leftOut > 0 ? `; ${round.leftOut} left out so far` : ''}</p>}
            <Legend curves={curves} />
            <LossChart label={`Loss of ${name}`} stepsMax={Math.max(steps, furthest)} lines={curves.map((curve): LossLine => ({ name: curve.replica < 0 ? name : `replica ${curve.replica}`, kind: 'live', steps: curve.steps, losses: curve.losses }))} />
          </Panel>
        );
      })}
      {!brief && trainings.size === 0 && <p class="empty">No training tells its loss just now.</p>}
      {!brief && <Finished view={view} />}
    </>
  );
}

const Legend = ({ curves }: { readonly curves: readonly LiveCurve[] }) => (curves.length < 2 ? null : (
  <ul class="legend">{curves.slice(0, NAMED_MAX).map((curve) => <li key={curve.replica}>replica {curve.replica}: <b class="figure">{curve.losses.at(-1)?.toFixed(3)}</b></li>)}{curves.length > NAMED_MAX && <li>and {integer(curves.length - NAMED_MAX)} more</li>}</ul>
));

function isDone(view: Run, { iteration, training }: LiveCurve): boolean {
  const each = view.iterations.findLast((known) => known.iteration === iteration);
  if (training === 'student') return (each?.model?.curve.length ?? 0) > 0;
  return training === 'control' && (view.control?.curve.length ?? 0) > 0;
}

function Finished({ view }: { readonly view: Run }) {
  const done = view.iterations.filter((each) => (each.model?.curve.length ?? 0) > 0);
  const lines: LossLine[] = done.flatMap((each, index): LossLine[] => (each.model === undefined ? [] : [{
    // Later ones stand out.
    name: `iteration ${titleOf(each)}`, kind: 'past', opacity: 0.35 + 0.65 * ((index + 1) / done.length), steps: each.model.curve.map(({ step }) => step), losses: each.model.curve.map(({ loss }) => loss),
  }]));
  if ((view.control?.curve.length ?? 0) > 0) lines.push({ name: 'control', kind: 'control', steps: view.control?.curve.map(({ step }) => step) ?? [], losses: view.control?.curve.map(({ loss }) => loss) ?? [] });
  if (lines.length === 0) return null;
  return (
    <Panel title="Loss of trainings that are done">
      <ul class="legend">{lines.map(({ name, losses, kind, opacity }) => <li key={name}><svg width="22" height="10" aria-hidden="true" opacity={opacity}><line class={`stroke loss-${kind}`} x1="0" x2="22" y1="5" y2="5" stroke-dasharray={kind === 'control' ? '3 3' : undefined} /></svg> {name}: <b class="figure">{losses.at(-1)?.toFixed(3)}</b></li>)}</ul>
      <LossChart label="Loss of trainings that are done" lines={lines} stepsMax={Math.max(...lines.map(({ steps }) => steps.at(-1) ?? 0))} />
      <p class="muted">Losses of different iterations are on different labels: compare their course, not their level.</p>
    </Panel>
  );
}
