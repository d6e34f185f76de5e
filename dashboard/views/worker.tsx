/** One worker: what it has in hand, what it holds, when it was last heard of. */
import type { Document, WorkerRow } from '../../proto/page.ts';
import { part } from '../api.ts';
import { integer, none } from '../format.ts';
import { useAnswer, useNow } from '../live.ts';
import { Ago, Fact, Panel, Problem, State } from '../parts/marks.tsx';
import { to } from '../route.ts';
import { DeviceUse } from './workers.tsx';

const AGAIN_MS = 2_000;

export function WorkerView({ worker }: { readonly worker: string }) {
  const tick = Math.floor(useNow(AGAIN_MS) / AGAIN_MS);
  const { answer: row, error } = useAnswer<Document<'Worker'> & WorkerRow>(`workers/${part(worker)}`, tick);
  if (error !== undefined) return <><div class="title"><h1>{worker}</h1></div><Problem error={error} /></>;
  if (row === undefined) return <p class="empty">Asking…</p>;
  const { task, teacher } = row;
  return (
    <>
      <div class="title"><h1>{row.workerId} <State state={row.state} /></h1></div>
      <Panel title="Worker">
        <dl class="figures">
          <Fact name="device"><DeviceUse row={row} /></Fact>
          <Fact name="host">{row.host}, process {row.processId}</Fact>
          <Fact name="last heard of">{row.lastSeenMs === 0 ? none : <Ago ms={row.lastSeenMs} />}</Fact>
          <Fact name="teacher held">{teacher === undefined ? none : <a href={to.iteration(teacher.runId, teacher.iteration)}>{teacher.runId}, iteration {teacher.iteration}</a>}</Fact>
          <Fact name="version">{row.version || none}</Fact>
        </dl>
      </Panel>
      <Panel title={`In hand: ${integer(row.taskIds.length)}`}>
        {task === undefined ? <p class="muted">Nothing.</p> : <ul>{row.taskIds.map((taskId) => <li key={taskId}><a href={to.task(task.runId, taskId)}>{taskId}</a>{taskId === task.taskId && <span class="muted"> of run <a href={to.run(task.runId)}>{task.runId}</a></span>}</li>)}</ul>}
      </Panel>
    </>
  );
}
