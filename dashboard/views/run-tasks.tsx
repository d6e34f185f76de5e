/** The open tasks of a run, and of those that wait why. */
import { useMemo, useState } from 'preact/hooks';
import type { ExplainAnswer, TaskAnswer } from '../../proto/page.ts';
import { part } from '../api.ts';
import { integer, none, percent } from '../format.ts';
import { useAnswer } from '../live.ts';
import { useMedia } from '../parts/media.ts';
import { Bar, Panel, State } from '../parts/marks.tsx';
import { Search } from '../parts/search.tsx';
import { VirtualList } from '../parts/virtual-list.tsx';
import { to } from '../route.ts';
import type { Run } from './run-document.ts';

export function Tasks({ view }: { readonly view: Run }) {
  const [search, setSearch] = useState('');
  const isNarrow = useMedia('(max-width: 719px)');
  const wanted = search.toLowerCase();
  const tasks = view.tasks.filter(({ task, workerId }) => wanted === '' || [task?.taskId ?? '', task?.subject ?? '', workerId].some((text) => text.toLowerCase().includes(wanted)));
  if (view.tasks.length === 0) return <p class="empty">No task is open one by one: shards that wait are on the map.</p>;
  return (
    <Panel title="Open tasks" more={<Search label="Search tasks" value={search} onChange={setSearch} />}>
      {view.tasksUntold > 0 && <p class="muted">{integer(view.tasks.length)} of {integer(view.tasks.length + view.tasksUntold)}, those that failed first; the map has every shard.</p>}
      <VirtualList key={String(isNarrow)} label="Tasks" keys count={tasks.length} rowHeight={isNarrow ? 84 : 48} className="tasks" head={isNarrow ? undefined : <><span>task</span><span>state</span><span>worker</span><span>progress</span><span>last error</span></>}
        href={(index) => to.task(view.summary.runId, tasks[index]?.task?.taskId ?? '')}
        row={(index) => {
          const each = tasks[index];
          return each === undefined ? null : <Row each={each} />;
        }} />
    </Panel>
  );
}

function Row({ each }: { readonly each: TaskAnswer }) {
  const { done = 0, total = 0, unit = '', loss = 0 } = each.progress ?? {};
  return (
    <>
      <span><b>{each.task?.stage} {each.task?.subject}</b><small>iteration {each.task?.iteration}{each.checkpointStep > 0 && `; checkpoint at step ${integer(each.checkpointStep)}`}</small></span>
      <span><State state={each.state} /></span>
      <span>{each.workerId || <span class="muted">{none}</span>}</span>
      <span>{total > 0 ? <><Bar share={done / total} label={percent(done / total, 0)} /><small>{integer(done)} of {integer(total)} {unit}{loss > 0 && `, loss ${loss.toFixed(3)}`}</small></> : <span class="muted">{none}</span>}</span>
      <span class="bad" title={each.lastError}>{each.lastError}</span>
    </>
  );
}

/** Of the first tasks that wait, why: the run's own words first. */
export function WhyItWaits({ view }: { readonly view: Run }) {
  const waiting = view.tasks.filter(({ state }) => state === 'waiting');
  const [first] = waiting;
  const question = first?.task === undefined ? undefined : `runs/${part(view.summary.runId)}/tasks/${part(first.task.taskId)}/explain`;
  const again = useMemo(() => ({}), [first?.task?.taskId, first?.failures, view.summary.state, Math.floor(view.stageDone)]);
  const { answer } = useAnswer<ExplainAnswer>(question, again);
  if (first?.task === undefined || answer === undefined) return null;
  return (
    <Panel title="Why it waits">
      <p><a href={to.task(view.summary.runId, first.task.taskId)}>{first.task.stage} {first.task.subject}</a>{waiting.length > 1 && <span class="muted"> and {integer(waiting.length - 1)} more wait</span>}</p>
      <ul>{answer.reasons.map(({ kind, text }) => <li key={kind + text}>{text}</li>)}</ul>
    </Panel>
  );
}
