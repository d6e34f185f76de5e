/** What the stream tells of the run that is looked at, as views take it. */
import { useMemo } from 'preact/hooks';
import type { RunAnswer, ShardCell } from '../../proto/page.ts';
import { useDocument, useFields } from '../live.ts';
import type { Cells } from '../parts/shard-map.tsx';

export type Run = RunAnswer;

export const useRun = (): Run | undefined => useDocument<Run>('run');

export function useCells(): { readonly cells: Cells; readonly stage: string; readonly iteration: number } | undefined {
  const fields = useFields('shards');
  const place = fields?.get(' place') as { iteration: number; stage: string } | undefined;
  // The same map is filled anew: whoever draws it is told by a new list.
  const cells = ([...fields?.entries() ?? []].filter(([name]) => name !== ' place') as [string, ShardCell][]).sort(([a], [b]) => (a < b ? -1 : 1));
  const key = cells.map(([name, cell]) => `${name}${cell.join()}`).join();
  const kept = useMemo(() => cells, [key]);
  return place === undefined ? undefined : { ...place, cells: kept };
}
