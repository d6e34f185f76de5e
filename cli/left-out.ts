/** What of a run's images was left out as near-duplicates, and what people labeled, each in a sentence for `run describe` and the report. */
import type { LabelsReviewed } from '../proto/gen/alumnus/v1/events.ts';
import type { NearCounts, NearDuplicatesView } from '../proto/gen/alumnus/v1/operator.ts';
import { integer, plural } from './format.ts';

const lookLike = ({ samples, nearAny, nearValidation, nearTest }: NearCounts, what: string): string =>
  `${integer(nearAny)} of ${integer(samples)} ${what} images look like one of validation (${integer(nearValidation)}) or test (${integer(nearTest)})`;

/** Empty where nobody looks for them. */
export function nearDuplicatesText(view: NearDuplicatesView | undefined): string {
  if (view?.unlabeled === undefined) return '';
  const { unlabeled, labeled, complete } = view;
  if (unlabeled.samples === 0) return 'looked for before the first selection';
  return `${lookLike(unlabeled, 'unlabeled')}, and are left out${labeled === undefined || labeled.nearAny === 0 ? '' : `; ${lookLike(labeled, 'labeled')}, and stay`}${complete ? '' : '; not all shards are looked through'}`;
}

/** Empty where people labeled nothing. */
export const reviewsText = (reviews: readonly LabelsReviewed[]): string =>
  reviews.map(({ samples, fromIteration }) => `${samples === 0 ? 'labels corrected' : plural(samples, 'image')} from iteration ${fromIteration} on`).join(', ');
