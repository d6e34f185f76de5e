/** One run: what it does now and why it waits, its rounds, then in tabs the shards, trainings, tasks and events. */
import type { CellState } from '../../proto/page.ts';
import { duration, integer, none, percent, plural } from '../format.ts';
import { useConnection, useNow } from '../live.ts';
import { Bar, Fact, Panel, State } from '../parts/marks.tsx';
import { ShardLegend, ShardMap } from '../parts/shard-map.tsx';
import { runTabs, to, type RunTab } from '../route.ts';
import { useCells, useRun, type Run } from './run-document.ts';
import { Events } from './run-events.tsx';
import { RunHead } from './run-head.tsx';
import { Rounds } from './run-rounds.tsx';
import { ShardDetail } from './run-shard.tsx';
import { Tasks, WhyItWaits } from './run-tasks.tsx';
import { Training } from './run-training.tsx';

export function RunView({ run, tab, shard }: { readonly run: string; readonly tab: RunTab; readonly shard: string | undefined }) {
  const view = useRun();
  const connection = useConnection();
  if (view?.summary === undefined) return connection.state === 'lost' ? <p class="empty"><a href={to.runs}>To the runs</a></p> : <p class="empty">Asking…</p>;
  return (
    <>
      <RunHead view={view} />
      <nav class="tabs" aria-label="Parts of the run">{runTabs.map((each) => <a key={each} href={to.run(run, each)} aria-current={each === tab ? 'page' : undefined}>{each}{each === 'tasks' && <span class="count">{integer(view.tasks.length + view.tasksUntold)}</span>}</a>)}</nav>
      {tab === 'overview' && <Overview view={view} />}
      {tab === 'shards' && <Shards view={view} shard={shard} />}
      {tab === 'training' && <Training view={view} />}
      {tab === 'tasks' && <Tasks view={view} />}
      {tab === 'events' && <Events run={run} again={view.summary} />}
    </>
  );
}

function Overview({ view }: { readonly view: Run }) {
  const { summary } = view;
  const isOpen = summary.endedAtMs === 0;
  const shards = useCells();
  const trains = view.tasks.some((task) => task.task?.stage === 'train' && task.state === 'leased');
  const lastError = view.tasks.filter(({ lastError: error }) => error !== '');
  return (
    <>
      <Figures view={view} />
      {view.warnings.length > 0 && <details class="warnings" open={view.warnings.length <= 3}><summary>To know: {plural(view.warnings.length, 'thing')}</summary><ul>{view.warnings.map((warning) => <li key={warning}>{warning}</li>)}</ul></details>}
      {lastError.slice(0, 3).map((task) => <p key={task.task?.taskId} class="problem" role="status"><strong><a href={to.task(summary.runId, task.task?.taskId ?? '')}>{task.task?.subject}</a>, worker {task.lastErrorWorkerId}, {plural(task.failures, 'failed attempt')}:</strong> {task.lastError}</p>)}
      <Rounds view={view} />
      {isOpen && shards !== undefined && shards.cells.length > 1 && <Panel title={`Shards of iteration ${shards.iteration}, ${shards.stage}`} more={<a href={to.run(summary.runId, 'shards')}>all of it</a>}>
        <ShardLegend cells={shards.cells} />
        <ShardMap cells={shards.cells} onOpen={(name) => void (location.hash = to.shard(summary.runId, name))} />
      </Panel>}
      {trains && <Training view={view} brief />}
      {isOpen && <WhyItWaits view={view} />}
      <Events run={summary.runId} again={summary} most={8} />
    </>
  );
}

function Figures({ view }: { readonly view: Run }) {
  const { summary, budget } = view;
  const now = useNow();
  const isOpen = summary.endedAtMs === 0;
  const hours = (limit: number, spent: number): string => (limit > 0 ? `${duration(spent * 3_600_000)} of ${duration(limit * 3_600_000)}` : duration(spent * 3_600_000));
  return (
    <dl class="figures">
      <Fact name="iteration">{summary.iteration} of {summary.rounds}</Fact>
      {isOpen && <Fact name="stage">{summary.stage || none}{view.stageTotal > 1 && <> <span class="figure">{integer(view.stageDone)} of {integer(view.stageTotal)}</span><Bar share={view.stageDone / view.stageTotal} label="of the stage" /></>}</Fact>}
      {isOpen && view.stageQuarantined > 0 && <Fact name="quarantined">{integer(view.stageQuarantined)}</Fact>}
      {isOpen && <Fact name="images a second"><span class="figure">{view.imagesPerSecond > 0 ? integer(view.imagesPerSecond) : none}</span></Fact>}
      {isOpen && <Fact name="left, about">{view.secondsLeft >= 0 ? duration(view.secondsLeft * 1000) : none}</Fact>}
      <Fact name={isOpen ? 'since' : 'took'}>{duration((summary.endedAtMs || now) - summary.submittedAtMs)}</Fact>
      {budget !== undefined && <Fact name="device time">{hours(budget.deviceHoursLimit, budget.deviceHoursSpent)}</Fact>}
      {budget !== undefined && budget.wallHoursLimit > 0 && <Fact name="wall time">{hours(budget.wallHoursLimit, budget.wallHoursSpent)}</Fact>}
      {view.bestModel !== undefined && <Fact name="best model"><a href={to.iteration(summary.runId, view.bestIteration)}>iteration {view.bestIteration}</a></Fact>}
      <Fact name="project">{summary.project}</Fact>
    </dl>
  );
}

function Shards({ view, shard }: { readonly view: Run; readonly shard: string | undefined }) {
  const shards = useCells();
  const run = view.summary.runId;
  if (shards === undefined) return <p class="empty">Asking…</p>;
  if (shards.cells.length === 0) return <p class="empty">{view.summary.endedAtMs === 0 ? `The stage ${shards.stage} has no shards.` : 'The run has ended: no stage is under way.'} Earlier ones are with their iteration.</p>;
  const atWork = shards.cells.filter(([, [state]]) => state === 'leased' || state === 'retrying' || state === 'quarantined');
  return (
    <>
      <Panel title={`Iteration ${shards.iteration}, ${shards.stage}: ${plural(shards.cells.length, 'shard')}`}>
        <ShardLegend cells={shards.cells} />
        <ShardMap cells={shards.cells} chosen={shard} onOpen={(name) => void (location.hash = to.shard(run, name))} />
        {shard !== undefined && <ShardDetail run={run} shard={shard} cell={shards.cells.find(([name]) => name === shard)?.[1]} />}
      </Panel>
      {atWork.length > 0 && <Panel title="At work, failed, given up"><ul class="at-work">{atWork.slice(0, 60).map(([name, [state, worker, done]]) => <li key={name}><a href={to.shard(run, name)}>{name}</a> <State state={state satisfies CellState} /> {worker !== undefined && <a href={to.worker(worker)}>{worker}</a>} {done !== undefined && <Bar share={done} label={percent(done, 0)} />}</li>)}</ul>{atWork.length > 60 && <p class="muted">and {integer(atWork.length - 60)} more</p>}</Panel>}
    </>
  );
}
