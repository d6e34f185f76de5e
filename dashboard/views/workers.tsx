/** The fleet: how many do what, then each worker. Of a large one the rows in sight are asked for, and asked again while they are. */
import { useEffect, useRef, useState } from 'preact/hooks';
import type { FleetCounts, WorkerRow, WorkersAnswer } from '../../proto/page.ts';
import { ApiError, ask, part } from '../api.ts';
import { integer, none, percent } from '../format.ts';
import { live, useDocument } from '../live.ts';
import { useMedia } from '../parts/media.ts';
import { Ago, Bar, Problem, State } from '../parts/marks.tsx';
import { Search } from '../parts/search.tsx';
import { VirtualList } from '../parts/virtual-list.tsx';
import { to } from '../route.ts';

const PAGE = 100;
const AGAIN_MS = 2_000;
/** After the last key of a search. */
const TYPING_MS = 150;

const states = ['busy', 'idle', 'lost'] as const;

export function WorkersView() {
  const fleet = useDocument<FleetCounts>('fleet');
  const [state, setState] = useState('');
  const [typed, setTyped] = useState('');
  const [search, setSearch] = useState('');
  useEffect(() => {
    const timer = setTimeout(() => setSearch(typed), TYPING_MS);
    return () => clearTimeout(timer);
  }, [typed]);
  const isNarrow = useMedia('(max-width: 719px)');
  const { rows, matching, error, look } = useWorkers(state, search);
  return (
    <>
      <div class="title"><h1>Workers</h1><Search label="Search workers" value={typed} onChange={setTyped} /></div>
      <div class="chips" role="group" aria-label="States">
        <button type="button" class="chip" aria-pressed={state === ''} onClick={() => setState('')}>all <b>{fleet === undefined ? '…' : integer(fleet.busy + fleet.idle + fleet.lost)}</b></button>
        {states.map((each) => <button type="button" key={each} class="chip" aria-pressed={state === each} onClick={() => setState(state === each ? '' : each)}><State state={each} /> <b>{fleet === undefined ? '…' : integer(fleet[each])}</b></button>)}
      </div>
      {error !== undefined && <Problem error={error} />}
      {matching === 0 && error === undefined && <p class="empty">{state === '' && search === '' ? <>No worker is there. <code>alumnus worker</code> starts one.</> : 'No worker is like that.'}</p>}
      {matching !== undefined && matching > 0 && <VirtualList key={`${isNarrow}`} label="Workers" keys count={matching} rowHeight={isNarrow ? 84 : 48} heightMax="calc(100dvh - 200px)" className="workers" onRange={look}
        head={isNarrow ? undefined : <><span>worker</span><span>state</span><span>device</span><span>task</span><span>teacher held</span><span class="right">last heard of</span></>}
        href={(index) => {
          const row = rows.get(index);
          return row === undefined ? undefined : to.worker(row.workerId);
        }}
        row={(index) => {
          const row = rows.get(index);
          return row === undefined ? <span class="muted">…</span> : <Row row={row} />;
        }} />}
    </>
  );
}

function Row({ row }: { readonly row: WorkerRow }) {
  const { task, teacher } = row;
  return (
    <>
      <span class="worker-name"><b>{row.workerId}</b><small>{row.host}</small></span>
      <span class="worker-state"><State state={row.state} /></span>
      <span class="worker-device"><DeviceUse row={row} /></span>
      <span class="worker-task">{task === undefined ? <span class="muted">{none}</span> : <>{task.stage} {task.subject}<small>{task.runId}, iteration {task.iteration}{row.taskIds.length > 1 && `; ${row.taskIds.length} in hand`}</small></>}</span>
      <span class="worker-teacher">{teacher === undefined ? <span class="muted">{none}</span> : <>iteration {teacher.iteration}<small>{teacher.runId}</small></>}</span>
      <span class="worker-seen right figure">{row.lastSeenMs === 0 ? none : <Ago ms={row.lastSeenMs} />}</span>
    </>
  );
}

/** What its device does: how far the task in hand is, and how fast it goes. */
export function DeviceUse({ row: { device, task } }: { readonly row: WorkerRow }) {
  const { done = 0, total = 0, rate = 0 } = task?.progress ?? {};
  return <>{total > 0 && <Bar share={done / total} label={`${percent(done / total, 0)} of the task`} />}<small title={device}>{rate > 0 ? `${integer(rate)} images/s · ` : ''}{device}</small></>;
}

/** Rows by their place, as far as they were asked for; those in sight anew every AGAIN_MS. */
function useWorkers(state: string, search: string) {
  const [{ rows, matching, error }, setKnown] = useState<{ rows: ReadonlyMap<number, WorkerRow>; matching: number | undefined; error: ApiError | undefined }>({ rows: new Map(), matching: undefined, error: undefined });
  const range = useRef<readonly [number, number]>([0, 0]);
  const [first, setFirst] = useState(0);
  const place = `${state}/${search}`;
  useEffect(() => {
    setKnown({ rows: new Map(), matching: undefined, error: undefined });
    range.current = [0, 0];
    setFirst(0);
  }, [place]);
  useEffect(() => {
    const abort = new AbortController();
    const read = async (): Promise<void> => {
      const from = Math.max(0, Math.floor(range.current[0] / PAGE) * PAGE);
      const count = Math.ceil((range.current[1] + 1 - from) / PAGE) * PAGE;
      try {
        const answer = await ask<WorkersAnswer>(`workers?from=${from}&count=${count}&state=${part(state)}&search=${part(search)}`, abort.signal);
        setKnown(({ rows: before }) => {
          const kept = new Map([...before].filter(([at]) => at < answer.matching && Math.abs(at - from) < 10 * PAGE));
          answer.workers.forEach((row, at) => kept.set(from + at, row));
          return { rows: kept, matching: answer.matching, error: undefined };
        });
      } catch (thrown) {
        if (!abort.signal.aborted && thrown instanceof ApiError) setKnown((before) => ({ ...before, error: thrown }));
      }
    };
    void read();
    const timer = setInterval(() => void read(), AGAIN_MS);
    const stop = live.onChange('connection', () => void read());
    return () => {
      abort.abort();
      clearInterval(timer);
      stop();
    };
  }, [place, first]);
  return {
    rows, matching, error,
    look: (from: number, last: number): void => {
      range.current = [from, last];
      setFirst(Math.floor(from / (PAGE / 2)) * 1_000_003 + Math.floor(last / (PAGE / 2)));
    },
  };
}
