/** Where the page is: a hash for each object, so that each has an address to send. */
import { useEffect, useState } from 'preact/hooks';

export type RunTab = 'overview' | 'shards' | 'training' | 'tasks' | 'events';
export const runTabs: readonly RunTab[] = ['overview', 'shards', 'training', 'tasks', 'events'];

export type Route =
  | { readonly view: 'runs' }
  | { readonly view: 'run'; readonly run: string; readonly tab: RunTab; readonly shard?: string }
  | { readonly view: 'iteration'; readonly run: string; readonly iteration: number }
  | { readonly view: 'task'; readonly run: string; readonly task: string }
  | { readonly view: 'workers' }
  | { readonly view: 'worker'; readonly worker: string }
  | { readonly view: 'nowhere' };

export function parseRoute(hash: string): Route {
  const [first = '', second, third, fourth, ...rest] = hash.replace(/^#?\/?/, '').split('?')[0]?.split('/').map(decoded) ?? [];
  if (rest.length > 0) return { view: 'nowhere' };
  if (first === '' || (first === 'runs' && second === undefined)) return { view: 'runs' };
  if (first === 'workers') return second === undefined ? { view: 'workers' } : { view: 'worker', worker: second };
  if (first !== 'runs' || second === undefined) return { view: 'nowhere' };
  if (third === undefined) return { view: 'run', run: second, tab: 'overview' };
  if (third === 'iterations' && /^\d{1,6}$/.test(fourth ?? '')) return { view: 'iteration', run: second, iteration: Number(fourth) };
  if (third === 'tasks' && fourth !== undefined) return { view: 'task', run: second, task: fourth };
  const tab = runTabs.find((each) => each === third);
  if (tab === undefined || (fourth !== undefined && tab !== 'shards')) return { view: 'nowhere' };
  return { view: 'run', run: second, tab, ...(fourth === undefined ? {} : { shard: fourth }) };
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

const path = (...parts: (string | number)[]): string => `#/${parts.map((part) => encodeURIComponent(part)).join('/')}`;

export const to = {
  runs: '#/',
  run: (run: string, tab: RunTab = 'overview'): string => (tab === 'overview' ? path('runs', run) : path('runs', run, tab)),
  shard: (run: string, shard: string): string => path('runs', run, 'shards', shard),
  iteration: (run: string, iteration: number): string => path('runs', run, 'iterations', iteration),
  task: (run: string, task: string): string => path('runs', run, 'tasks', task),
  workers: '#/workers',
  worker: (worker: string): string => path('workers', worker),
} as const;

export function useRoute(): Route {
  const [route, setRoute] = useState(() => parseRoute(location.hash));
  useEffect(() => {
    const change = (): void => setRoute(parseRoute(location.hash));
    addEventListener('hashchange', change);
    return () => removeEventListener('hashchange', change);
  }, []);
  return route;
}
