/**
 * Images a second while a stage labels. Shards are often labeled faster than workers report progress, so the speed is
 * told by the shards that were finished since the stage was first seen, not by what leases say at the moment.
 */
import type { RunView } from '../../proto/gen/alumnus/v1/operator.ts';
import { Stage } from '../../proto/gen/alumnus/v1/task.ts';

/** A shorter time says more of chance than of speed. */
const MEASURE_MS_MIN = 500;

export class LabelingRate {
  #stage = '';
  #since = { ms: 0, done: 0 };

  /** The view with its speed put right; as it is in other stages, or while nothing is known. */
  apply(view: RunView): RunView {
    const { iteration = 0, stage = Stage.UNSPECIFIED } = view.summary ?? {};
    const key = `${iteration}/${stage}`;
    if (stage !== Stage.LABEL || view.stageTotal === 0) {
      this.#stage = '';
      return view;
    }
    if (key !== this.#stage || view.stageDone < this.#since.done) {
      this.#stage = key;
      this.#since = { ms: view.nowMs, done: view.stageDone };
    }
    const elapsedMs = view.nowMs - this.#since.ms;
    const shards = view.stageDone - this.#since.done;
    if (elapsedMs < MEASURE_MS_MIN || shards === 0) return { ...view, imagesPerSecond: 0 };
    const images = (shards * (view.data?.unlabeled?.samples ?? 0)) / view.stageTotal;
    return { ...view, imagesPerSecond: (images * 1000) / elapsedMs };
  }
}
