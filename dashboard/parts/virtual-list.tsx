/** A list of any length of rows of one height, of which those in sight are there; j, k and the arrows go through it. */
import { elementScroll, observeElementOffset, observeElementRect, Virtualizer } from '@tanstack/virtual-core';
import type { ComponentChildren } from 'preact';
import { useCallback, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';
import { useKey } from '../keys.ts';

/** As the style sheet has it: it stays above the rows. */
const HEAD_HEIGHT = 32;

export interface VirtualListProps {
  readonly label: string;
  readonly count: number;
  readonly rowHeight: number;
  /** Of the list on a screen; it is as low as its rows where they are few. */
  readonly heightMax?: string;
  readonly className?: string;
  readonly head?: ComponentChildren;
  /** Whether j and k go through it: one list of a page does. */
  readonly keys?: boolean;
  row(index: number): ComponentChildren;
  href?(index: number): string | undefined;
  onRange?(first: number, last: number): void;
}

export function VirtualList({ label, count, rowHeight, heightMax = '70vh', className = '', head, keys = false, row, href, onRange }: VirtualListProps) {
  const scroller = useRef<HTMLDivElement>(null);
  const [, redraw] = useState(0);
  const [active, setActive] = useState(-1);
  const margin = head === undefined ? 0 : HEAD_HEIGHT;
  const options = {
    count, estimateSize: () => rowHeight, getScrollElement: () => scroller.current, overscan: 6, scrollMargin: margin, scrollPaddingStart: margin, observeElementRect, observeElementOffset, scrollToFn: elementScroll,
    onChange: () => redraw((times) => times + 1),
  };
  const virtualizer = useMemo(() => new Virtualizer<HTMLDivElement, HTMLElement>(options), []);
  virtualizer.setOptions(options);
  useLayoutEffect(() => virtualizer._didMount(), []);
  useLayoutEffect(() => virtualizer._willUpdate());
  useLayoutEffect(() => virtualizer.measure(), [rowHeight]);
  const items = virtualizer.getVirtualItems();
  const [first, last] = [items[0]?.index ?? 0, items.at(-1)?.index ?? 0];
  useLayoutEffect(() => onRange?.(first, last), [first, last, count]);

  const move = useCallback((by: number) => {
    setActive((before) => {
      const after = Math.max(0, Math.min(count - 1, before + by));
      if (count > 0) virtualizer.scrollToIndex(after, { align: 'auto' });
      return after;
    });
  }, [count]);
  useLayoutEffect(() => {
    if (active >= 0) scroller.current?.querySelector<HTMLElement>(`[data-index="${active}"]`)?.focus({ preventScroll: true });
  }, [active, items.some(({ index }) => index === active)]);

  return (
    <div class={`list ${className}`}>
      {keys && <ListKeys move={move} />}
      <div ref={scroller} class="list-scroll" style={{ maxHeight: heightMax }} role="list" aria-label={`${label}, ${count}`} tabIndex={count > 0 && active < 0 ? 0 : -1}
        onKeyDown={(event) => {
          if (event.key !== 'ArrowDown' && event.key !== 'ArrowUp') return;
          event.preventDefault();
          move(event.key === 'ArrowDown' ? 1 : -1);
        }}>
        {head !== undefined && <div class="list-row list-head" aria-hidden="true">{head}</div>}
        <div class="list-inner" style={{ height: `${virtualizer.getTotalSize()}px` }}>
          {items.map(({ index, start }) => {
            const at = href?.(index);
            const common = { 'class': 'list-row', 'data-index': index, style: { transform: `translateY(${start - margin}px)`, height: `${rowHeight}px` }, tabIndex: index === active || (active < 0 && index === 0) ? 0 : -1, onFocus: () => setActive(index) };
            return (
              <div role="listitem" key={index} aria-setsize={count} aria-posinset={index + 1}>
                {at === undefined ? <div {...common}>{row(index)}</div> : <a {...common} href={at}>{row(index)}</a>}
              </div>
            );
          })}
        </div>
      </div>
    </div>
  );
}

function ListKeys({ move }: { move(by: number): void }) {
  useKey('j', useCallback(() => move(1), [move]));
  useKey('k', useCallback(() => move(-1), [move]));
  return null;
}
