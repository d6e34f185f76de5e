/** All runs: how many are in which state, then each. */
import { useState } from 'preact/hooks';
import type { StatusAnswer, SummaryAnswer } from '../../proto/page.ts';
import { duration, integer, none } from '../format.ts';
import { useDocument, useFields, useMade, useNow } from '../live.ts';
import { Accuracy, State } from '../parts/marks.tsx';
import { Search } from '../parts/search.tsx';
import { useMedia } from '../parts/media.ts';
import { VirtualList } from '../parts/virtual-list.tsx';
import { to } from '../route.ts';

const states = ['running', 'paused', 'cancelling', 'succeeded', 'failed', 'cancelled'] as const;

export function RunsView() {
  const fields = useFields('runs');
  const status = useDocument<StatusAnswer>('status');
  const [state, setState] = useState('');
  const [search, setSearch] = useState('');
  const isNarrow = useMedia('(max-width: 719px)');
  const all = useMade('runs', (known) => ([...known?.values() ?? []] as SummaryAnswer[]).sort((a, b) => b.submittedAtMs - a.submittedAtMs));
  const now = useNow();
  if (fields === undefined) return <p class="empty">Asking…</p>;
  const wanted = search.toLowerCase();
  const shown = all.filter((run) => (state === '' || run.state === state) && (wanted === '' || [run.runId, run.name, run.project, run.reason].some((text) => text.toLowerCase().includes(wanted))));
  const projects = new Set(all.map(({ project }) => project));
  return (
    <>
      <div class="title"><h1>Runs</h1><Search label="Search runs" value={search} onChange={setSearch} /></div>
      <div class="chips" role="group" aria-label="States">
        <button type="button" class="chip" aria-pressed={state === ''} onClick={() => setState('')}>all <b>{integer(all.length)}</b></button>
        {states.map((each) => {
          const count = all.filter((run) => run.state === each).length;
          return (count > 0 || each === 'running') && <button type="button" key={each} class="chip" aria-pressed={state === each} onClick={() => setState(state === each ? '' : each)}><State state={each} /> <b>{integer(count)}</b></button>;
        })}
      </div>
      {status !== undefined && status.notice !== '' && <p class="problem">{status.notice}</p>}
      {shown.length === 0
        ? <p class="empty">{all.length === 0 ? <>There are no runs yet. <code>alumnus run submit FILE</code> hands in the first.</> : 'No run is like that.'}</p>
        : <VirtualList key={String(isNarrow)} label="Runs" keys count={shown.length} rowHeight={isNarrow ? 84 : 56} heightMax="calc(100dvh - 200px)" className="runs"
          head={isNarrow ? undefined : <><span>run</span><span>state</span><span>iteration</span><span>stage</span><span class="right">teacher</span><span class="right">time</span></>}
          href={(index) => to.run(shown[index]?.runId ?? '')}
          row={(index) => {
            const run = shown[index];
            return run === undefined ? null : <RunRow run={run} now={now} tellsProject={projects.size > 1} />;
          }} />}
    </>
  );
}

function RunRow({ run, now, tellsProject }: { readonly run: SummaryAnswer; readonly now: number; readonly tellsProject: boolean }) {
  const isOpen = run.endedAtMs === 0;
  const why = run.waitsForWorker ? 'it waits for a worker: none is there' : run.state === 'running' ? '' : run.reason;
  return (
    <>
      <span class="run-name"><b>{run.runId}</b>{tellsProject && <small>{run.project}</small>}{why !== '' && <small class={run.state === 'failed' ? 'bad' : run.state === 'paused' || run.waitsForWorker ? 'warn' : ''} title={why}>{why}</small>}</span>
      <span class="run-state"><State state={run.state} /></span>
      <span class="run-iteration figure"><span class="pips" aria-hidden="true">{Array.from({ length: Math.min(run.rounds + 1, 12) }, (_, at) => <i key={at} class={at < run.iteration || run.state === 'succeeded' ? 'past' : at === run.iteration ? 'now' : ''} />)}</span>{run.iteration} of {run.rounds}</span>
      <span class="run-stage">{isOpen ? run.stage || none : none}</span>
      <span class="run-teacher right"><Accuracy score={run.teacherValidation} /></span>
      <span class="run-since right figure">{duration((run.endedAtMs || now) - run.submittedAtMs)}</span>
    </>
  );
}
