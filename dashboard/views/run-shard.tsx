/** One shard of the stage: who has it, and the task behind it. */
import type { ShardAnswer, ShardCell } from '../../proto/page.ts';
import { part } from '../api.ts';
import { integer, percent } from '../format.ts';
import { useAnswer } from '../live.ts';
import { Fact, Problem, State } from '../parts/marks.tsx';
import { to } from '../route.ts';

export function ShardDetail({ run, shard, cell }: { readonly run: string; readonly shard: string; readonly cell: ShardCell | undefined }) {
  const { answer, error } = useAnswer<ShardAnswer>(`runs/${part(run)}/shards/${part(shard)}`, cell?.join());
  if (error !== undefined) return <Problem error={error} />;
  const [state, worker, done] = cell ?? [];
  return (
    <dl class="figures">
      <Fact name="shard">{shard}</Fact>
      {state !== undefined && <Fact name="state"><State state={state} />{done !== undefined && ` ${percent(done, 0)}`}</Fact>}
      {worker !== undefined && <Fact name="worker"><a href={to.worker(worker)}>{worker}</a></Fact>}
      {answer !== undefined && answer.samples > 0 && <Fact name="images">{integer(answer.samples)}</Fact>}
      {answer?.reason !== undefined && answer.reason !== '' && <Fact name="why">{answer.reason}</Fact>}
      {answer?.taskId !== undefined && <Fact name="task"><a href={to.task(run, answer.taskId)}>{answer.taskId}</a></Fact>}
    </dl>
  );
}
