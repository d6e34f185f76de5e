/** What happened to a run, newest first. */
import type { EventsAnswer } from '../../proto/page.ts';
import { part } from '../api.ts';
import { clock, instant } from '../format.ts';
import { useAnswer, useNow } from '../live.ts';
import { Panel, Problem } from '../parts/marks.tsx';
import { useMedia } from '../parts/media.ts';
import { VirtualList } from '../parts/virtual-list.tsx';
import { to } from '../route.ts';

/** Asked so often while they are looked at. */
const AGAIN_MS = 2_000;

/** @param again when it changes, there may be new ones. `most`: only the newest, in brief */
export function Events({ run, again, most }: { readonly run: string; readonly again: unknown; readonly most?: number }) {
  const tick = Math.floor(useNow(AGAIN_MS) / AGAIN_MS);
  const { answer, error } = useAnswer<EventsAnswer>(`runs/${part(run)}/events`, `${JSON.stringify(again)}${tick}`);
  const isNarrow = useMedia('(max-width: 719px)');
  if (error !== undefined) return <Problem error={error} />;
  const events = [...answer?.events ?? []].reverse();
  const rowOf = (index: number) => {
    const event = events[index];
    if (event === undefined) return null;
    const isBad = /Failed|Quarantined|Refused|Cancelled/.test(event.kind);
    return (
      <>
        <time class="figure muted" dateTime={new Date(event.atMs).toISOString()} title={instant(event.atMs)}>{clock(event.atMs)}</time>
        <span class={isBad ? 'bad' : ''} title={event.text}>{event.text}</span>
        <span class="muted">{event.workerId}</span>
      </>
    );
  };
  if (most !== undefined) {
    if (events.length === 0) return null;
    return <Panel title="Events" more={<a href={to.run(run, 'events')}>all</a>}><ul class="events">{events.slice(0, most).map((event, index) => <li key={event.number}>{rowOf(index)}</li>)}</ul></Panel>;
  }
  if (answer !== undefined && events.length === 0) return <p class="empty">No event is told.</p>;
  return (
    <Panel title="Events">
      <VirtualList key={String(isNarrow)} label="Events" keys count={events.length} rowHeight={isNarrow ? 60 : 34} className="events-list" heightMax="calc(100dvh - 280px)" row={rowOf} href={(index) => {
        const taskId = events[index]?.taskId ?? '';
        return taskId === '' ? undefined : to.task(run, taskId);
      }} />
    </Panel>
  );
}
