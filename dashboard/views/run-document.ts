/** What the stream tells of the run that is looked at, as views take it. */
import type { RunAnswer, ShardCell } from '../../proto/page.ts';
import { useDocument, useMade } from '../live.ts';
import type { Cells } from '../parts/shard-map.tsx';

/** A field beside the shards, which no shard is called. */
const PLACE = ' place';

export type Run = RunAnswer;

export const useRun = (): Run | undefined => useDocument<Run>('run');

/** The shards of the stage, in order. */
export const useCells = (): { readonly cells: Cells; readonly stage: string; readonly iteration: number } | undefined => useMade('shards', cellsOf);

function cellsOf(fields: ReadonlyMap<string, unknown> | undefined) {
  const place = fields?.get(PLACE) as { iteration: number; stage: string } | undefined;
  if (fields === undefined || place === undefined) return undefined;
  const cells = ([...fields] as [string, ShardCell][]).filter(([name]) => name !== PLACE).sort(([a], [b]) => (a < b ? -1 : 1));
  return { ...place, cells };
}
