/** What stands above every view of a run: its name and state, what may be asked of it, and why it does not go on. */
import type { SummaryAnswer } from '../../proto/page.ts';
import { State } from '../parts/marks.tsx';
import { Steer } from '../parts/steer.tsx';
import { to } from '../route.ts';
import type { Run } from './run-document.ts';

export function RunHead({ view, under }: { readonly view: Run; readonly under?: string }) {
  const { summary } = view;
  return (
    <div class="run-head">
      <div class="title">
        <h1>{under === undefined ? summary.runId : <a href={to.run(summary.runId)}>{summary.runId}</a>}{under !== undefined && <span class="under"> / {under}</span>} <State state={summary.state} /></h1>
        <Steer summary={summary} />
      </div>
      <Standing summary={summary} />
    </div>
  );
}

/** Why it does not go on, where it doesn't; inline, as the first thing. */
function Standing({ summary }: { readonly summary: SummaryAnswer }) {
  if (summary.waitsForWorker) return <p class="problem warn" role="status"><strong>It waits for a worker: none is there.</strong> Start one: <code>alumnus worker</code></p>;
  if (summary.reason === '') return null;
  if (summary.state === 'failed') return <p class="problem" role="alert"><strong>Failed:</strong> {summary.reason}</p>;
  return <p class="problem warn" role="status"><strong>{summary.state === 'paused' ? 'Paused' : summary.state}:</strong> {summary.reason}</p>;
}
