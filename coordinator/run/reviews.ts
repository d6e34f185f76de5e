/**
 * Labels that a person gave, as a run has them: from the iteration after the one under way on, the images are labeled ones, and their pseudo-labels are not selected.
 * What begins before the labels are there keeps what it was given: iteration 0, the control, and comparisons that learn from labeled images alone. Pure.
 * Invariant: of a run without reviews, every function here answers with what was submitted, and no task's id changes.
 */
import { AlumnusError } from '../../proto/errors.ts';
import type { LabelsReviewed } from '../../proto/gen/alumnus/v1/events.ts';
import type { LeftOut, PartRef } from '../../proto/gen/alumnus/v1/task.ts';
import { nearTables } from './near-duplicates.ts';
import type { RunState } from './state.ts';

/** Those that an iteration learns from. */
const reviewsOf = ({ reviews }: RunState, iteration: number): readonly LabelsReviewed[] => reviews.filter(({ fromIteration }) => fromIteration <= iteration);

/** The labeled part as the students of an iteration have it. */
export function labeledPart(state: RunState, iteration: number): PartRef | undefined {
  const { labeled } = state.data;
  const reviews = reviewsOf(state, iteration);
  const last = reviews.at(-1);
  if (labeled === undefined || last === undefined) return labeled;
  return { ...labeled, shards: [...labeled.shards, ...reviews.flatMap(({ shards }) => shards)], labels: last.labels, samples: labeled.samples + reviews.reduce((sum, { samples }) => sum + samples, 0), reviewed: last.reviewed };
}

/** What an iteration's selection takes nothing of; undefined where that is nothing. */
export function leftOutOf(state: RunState, iteration: number): LeftOut | undefined {
  const nearDuplicates = nearTables(state);
  const reviewed = labeledPart(state, iteration)?.reviewed;
  return nearDuplicates.length === 0 && reviewed === undefined ? undefined : { nearDuplicates, reviewed };
}

export type Review = Omit<LabelsReviewed, 'fromIteration'>;

/** @param behind digest of the labels that these were written behind @throws AlumnusError RUN_CONFLICT, USAGE */
export function reviewed(state: RunState, review: Review, behind: string): LabelsReviewed {
  const { iteration, recipe, reviews, runId } = state;
  if (iteration >= recipe.rounds) throw new AlumnusError('RUN_CONFLICT', `its last iteration is under way, and labels count from the next one on: \`alumnus review import FILE --run ${runId} --dataset NAME\` makes a new version of a dataset of them, for another run`, { where: runId });
  const last = (reviews.at(-1) ?? state.data.labeled)?.labels?.sha256 ?? '';
  if (behind !== last) throw new AlumnusError('RUN_CONFLICT', 'other labels were imported in the meantime: import these again', { where: runId });
  const { shards, labels, reviewed: table, samples } = review;
  if (labels === undefined || table === undefined || shards.reduce((sum, shard) => sum + shard.samples, 0) !== samples) throw new AlumnusError('USAGE', 'a review names its labels, its table, and as many images as its shards hold', { where: runId });
  return { fromIteration: iteration + 1, shards, labels, reviewed: table, samples };
}

/** What a person should know of who has not learned the labels that people gave. */
export function reviewWarnings({ reviews, recipe }: RunState): string[] {
  const without = [...(recipe.control ? ['the control'] : []), ...(recipe.comparisons ?? []).filter(({ labels }) => labels === 'none').map(({ name }) => `the comparison ${name}`)];
  if (reviews.length === 0 || without.length === 0) return [];
  return [`people gave labels from iteration ${reviews[0]?.fromIteration ?? 0} on: the students learn them, and ${without.join(', ')} ${without.length === 1 ? 'does' : 'do'} not, since ${without.length === 1 ? 'it' : 'they'} may have been trained before; part of the difference is those labels`];
}
