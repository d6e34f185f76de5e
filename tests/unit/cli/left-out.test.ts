/** What a run says of near-duplicates and of people's labels, in a sentence each. */
import { expect, test } from 'vitest';
import { nearDuplicatesText, reviewsText } from '../../../cli/left-out.ts';
import { LabelsReviewed } from '../../../proto/gen/alumnus/v1/events.ts';
import { NearDuplicatesView } from '../../../proto/gen/alumnus/v1/operator.ts';

const view = (wishes: Parameters<typeof NearDuplicatesView.fromPartial>[0]): NearDuplicatesView => NearDuplicatesView.fromPartial(wishes);
const unlabeled = { samples: 54_900, nearValidation: 4, nearTest: 9, nearAny: 12 };

test.each([
  [undefined, ''],
  [view({ unlabeled: {}, labeled: {} }), 'looked for before the first selection'],
  [view({ unlabeled, labeled: { samples: 100 }, complete: true }), '12 of 54,900 unlabeled images look like one of validation (4) or test (9), and are left out'],
  [view({ unlabeled, labeled: { samples: 100, nearTest: 1, nearAny: 1 } }), '12 of 54,900 unlabeled images look like one of validation (4) or test (9), and are left out; 1 of 100 labeled images look like one of validation (0) or test (1), and stay; not all shards are looked through'],
])('near-duplicates, case %#', (told, expected) => {
  expect(nearDuplicatesText(told)).toBe(expected);
});

test('reviews, one behind the other', () => {
  expect(reviewsText([])).toBe('');
  expect(reviewsText([{ samples: 20, fromIteration: 2 }, { samples: 0, fromIteration: 3 }, { samples: 1, fromIteration: 3 }].map((each) => LabelsReviewed.fromPartial(each)))).toBe('20 images from iteration 2 on, labels corrected from iteration 3 on, 1 image from iteration 3 on');
});
