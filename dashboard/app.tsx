/** The frame around every view: where one can go, whether the coordinator is there, who asks. */
import { useCallback, useEffect, useState } from 'preact/hooks';
import type { StatusAnswer, FleetCounts } from '../proto/page.ts';
import { token } from './api.ts';
import { integer } from './format.ts';
import { keyHelp, useKey } from './keys.ts';
import { live, useConnection, useDocument } from './live.ts';
import { Dialog } from './parts/dialog.tsx';
import { Problem } from './parts/marks.tsx';
import { to, useRoute, type Route } from './route.ts';
import { turnTheme, useTheme } from './theme.ts';
import { IterationView } from './views/iteration.tsx';
import { RunView } from './views/run.tsx';
import { RunsView } from './views/runs.tsx';
import { TaskView } from './views/task.tsx';
import { WorkerView } from './views/worker.tsx';
import { WorkersView } from './views/workers.tsx';

export function App() {
  const route = useRoute();
  const run = 'run' in route ? route.run : undefined;
  useEffect(() => live.look(run), [run]);
  const [helps, setHelps] = useState(false);
  useKey('?', useCallback(() => setHelps(true), []));
  useKey('g r', useCallback(() => void (location.hash = to.runs), []));
  useKey('g w', useCallback(() => void (location.hash = to.workers), []));
  useKey('t', turnTheme);
  const connection = useConnection();
  const asksForToken = connection.state === 'lost' && connection.error.code === 'ACCESS_UNAUTHENTICATED';
  useEffect(() => {
    document.title = titleOf(route);
    document.querySelector('main')?.focus({ preventScroll: true });
    scrollTo(0, 0);
  }, [JSON.stringify(route)]);
  return (
    <>
      <a class="skip" href="#main" onClick={(event) => {
        event.preventDefault();
        document.querySelector('main')?.focus();
      }}>Skip to the content</a>
      <Head route={route} onHelp={() => setHelps(true)} />
      {connection.state === 'lost' && !asksForToken && <Lost />}
      <main id="main" tabIndex={-1}>{asksForToken ? <AskToken /> : <View route={route} />}</main>
      {helps && <Dialog title="Keys" onClose={() => setHelps(false)}><dl class="keys">{keyHelp.map(([keys, what]) => <div key={keys}><dt>{keys.split('  ').map((key) => <kbd key={key}>{key}</kbd>)}</dt><dd>{what}</dd></div>)}</dl><button type="button" onClick={() => setHelps(false)}>Close</button></Dialog>}
    </>
  );
}

const titleOf = (route: Route): string => {
  switch (route.view) {
    case 'runs': return 'Runs · Alumnus';
    case 'run': return `${route.run} · Alumnus`;
    case 'iteration': return `${route.run} · iteration ${route.iteration} · Alumnus`;
    case 'task': return `${route.task} · Alumnus`;
    case 'workers': return 'Workers · Alumnus';
    case 'worker': return `${route.worker} · Alumnus`;
    case 'nowhere': return 'Alumnus';
  }
};

function View({ route }: { readonly route: Route }) {
  switch (route.view) {
    case 'runs': return <RunsView />;
    case 'run': return <RunView run={route.run} tab={route.tab} shard={route.shard} />;
    case 'iteration': return <IterationView run={route.run} iteration={route.iteration} />;
    case 'task': return <TaskView run={route.run} task={route.task} />;
    case 'workers': return <WorkersView />;
    case 'worker': return <WorkerView worker={route.worker} />;
    case 'nowhere': return <p class="empty">There is nothing at this address. <a href={to.runs}>To the runs</a></p>;
  }
}

function Head({ route, onHelp }: { readonly route: Route; onHelp(): void }) {
  const status = useDocument<StatusAnswer>('status');
  const fleet = useDocument<FleetCounts>('fleet');
  const connection = useConnection();
  const theme = useTheme();
  const onWorkers = route.view === 'workers' || route.view === 'worker';
  return (
    <header class="head">
      <a class="brand" href={to.runs}><img src="./icon.svg" alt="" width="22" height="22" /> Alumnus</a>
      <nav aria-label="Views">
        <a href={to.runs} aria-current={onWorkers ? undefined : 'page'}>Runs</a>
        <a href={to.workers} aria-current={onWorkers ? 'page' : undefined}>Workers{fleet !== undefined && <span class="count" title={`${fleet.busy} busy, ${fleet.idle} idle, ${fleet.lost} lost`}>{integer(fleet.busy + fleet.idle)}</span>}</a>
      </nav>
      <span class={`connection connection-${connection.state}`} role="status" title={status === undefined ? '' : `version ${status.version}, term ${status.term}, journal ${status.journal}, objects ${status.storeUrl}`}>
        {connection.state === 'live' ? 'live' : connection.state === 'connecting' ? 'connecting' : 'not connected'}
      </span>
      <button type="button" class="quiet" onClick={turnTheme} aria-label={`Colors: ${theme}. Change`} title={`Colors: ${theme}`}>{theme === 'light' ? '☀' : theme === 'dark' ? '☾' : '◐'}</button>
      <button type="button" class="quiet" onClick={onHelp} aria-label="Keys" title="Keys">?</button>
    </header>
  );
}

function Lost() {
  const connection = useConnection();
  if (connection.state !== 'lost') return null;
  const { error } = connection;
  if (error.code !== 'NOT_LEADER') return <Problem error={error} />;
  return <p class="problem" role="alert"><strong>{error.leader ? 'This coordinator stands by.' : 'No coordinator leads just now.'}</strong> {error.leader ? <>The one that leads answers at <code>{error.leader}</code>: open its page.</> : 'It is tried again.'}</p>;
}

function AskToken() {
  const [value, setValue] = useState('');
  return (
    <form class="panel narrow" onSubmit={(event) => {
      event.preventDefault();
      token.set(value.trim());
      live.restart();
    }}>
      <h1>A token, please</h1>
      <p>This coordinator tells what it does to those who have a token. It is kept until this tab is closed.</p>
      {token.get() !== '' && <p class="problem" role="alert">The last one is nobody's.</p>}
      <label>Token <input type="password" autoComplete="off" value={value} onInput={(event) => setValue(event.currentTarget.value)} /></label>
      <button type="submit" disabled={value.trim() === ''}>Go on</button>
    </form>
  );
}
