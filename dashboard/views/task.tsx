/** One task: where it stands, who has it, why it waits. */
import type { ExplainAnswer } from '../../proto/page.ts';
import { part } from '../api.ts';
import { integer, none, percent } from '../format.ts';
import { useAnswer, useNow } from '../live.ts';
import { Bar, Fact, Panel, State } from '../parts/marks.tsx';
import { to } from '../route.ts';
import { useRun } from './run-document.ts';
import { RunHead } from './run-head.tsx';

const AGAIN_MS = 2_000;

export function TaskView({ run, task: taskId }: { readonly run: string; readonly task: string }) {
  const view = useRun();
  const tick = Math.floor(useNow(AGAIN_MS) / AGAIN_MS);
  const { answer, error } = useAnswer<ExplainAnswer>(`runs/${part(run)}/tasks/${part(taskId)}/explain`, tick);
  if (view?.summary === undefined) return <p class="empty">Asking…</p>;
  const each = view.tasks.find(({ task }) => task?.taskId === taskId) ?? answer?.view;
  const { done = 0, total = 0, unit = '', rate = 0, loss = 0 } = each?.progress ?? {};
  return (
    <>
      <RunHead view={view} under={each?.task === undefined ? 'task' : `${each.task.stage} ${each.task.subject}`} />
      <Panel title={<code>{taskId}</code>}>
        {each === undefined ? (error === undefined ? null : <p class="empty">It is not open: it is done, given up, or still to come.</p>) : (
          <dl class="figures">
            <Fact name="state"><State state={each.state} /></Fact>
            <Fact name="iteration"><a href={to.iteration(run, each.task?.iteration ?? 0)}>{each.task?.iteration}</a>{(each.task?.try ?? 0) > 0 && `, try ${(each.task?.try ?? 0) + 1}`}</Fact>
            <Fact name="worker">{each.workerId === '' ? none : <a href={to.worker(each.workerId)}>{each.workerId}</a>}</Fact>
            {total > 0 && <Fact name="progress">{integer(done)} of {integer(total)} {unit} <Bar share={done / total} label={percent(done / total, 0)} /></Fact>}
            {rate > 0 && <Fact name="images a second">{integer(rate)}</Fact>}
            {loss > 0 && <Fact name="loss">{loss.toFixed(4)}</Fact>}
            <Fact name="failed attempts">{integer(each.failures)}</Fact>
            {each.checkpointStep > 0 && <Fact name="checkpoint">step {integer(each.checkpointStep)}</Fact>}
          </dl>
        )}
        {each !== undefined && each.lastError !== '' && <p class="problem" role="status"><strong>Worker {each.lastErrorWorkerId}:</strong> {each.lastError}</p>}
      </Panel>
      {answer !== undefined && answer.reasons.length > 0 && <Panel title={answer.state === 'waiting' ? 'Why it waits' : 'How it stands'}><ul>{answer.reasons.map(({ kind, text }) => <li key={kind + text}>{text}</li>)}</ul></Panel>}
    </>
  );
}
