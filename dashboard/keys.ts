/** Keys: one place that hears them, and what is on the page says what they do there. Not while a person types, nor under a dialog. */
import { useLayoutEffect } from 'preact/hooks';

export const keyHelp: readonly (readonly [keys: string, what: string])[] = [
  ['/', 'search'], ['j  k', 'next, previous row'], ['Enter', 'open the row'], ['g r', 'runs'], ['g w', 'workers'], ['t', 'light, dark, as the system'], ['?', 'these keys'], ['Esc', 'close, or leave the search'],
];

type Action = () => void;
const actions = new Map<string, Action[]>();
let before = '';

/** Of those that were said for a key the last one counts, while its part of the page is there. */
export function useKey(key: string, action: Action): void {
  // At once with what it acts on: a key that comes before would be lost.
  useLayoutEffect(() => {
    const all = actions.get(key) ?? [];
    actions.set(key, all);
    all.push(action);
    return () => void all.splice(all.indexOf(action), 1);
  }, [key, action]);
}

const types = (target: EventTarget | null): boolean => target instanceof HTMLElement && (target.matches('input, textarea, select') || target.isContentEditable);

addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (event.key === 'Escape' && types(event.target)) return void (event.target as HTMLElement).blur();
  if (types(event.target) || document.querySelector('dialog[open]') !== null) return;
  const chord = before === 'g' ? `g ${event.key}` : event.key;
  before = before === 'g' ? '' : event.key;
  const action = actions.get(chord)?.at(-1);
  if (action === undefined) return;
  event.preventDefault();
  action();
});
