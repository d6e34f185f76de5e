/** What the end of an import says of a validation split that is too small to decide by. */
import { expect, test } from 'vitest';
import { coarseValidation } from '../../../cli/commands/dataset/import.ts';

// By hand: p of McNemar's exact test with k pairs, all one way, is 2 / 2^k: 0.0625 for 5, 0.03125 for 6. 6 of 60 images are 10 points, 6 of 299 are 2.007, 6 of 300 are 2.
test.each([[0, ''], [300, ''], [299, 'a difference of under 2.0 points (6 images)'], [60, 'a difference of under 10.0 points (6 images)'], [6, 'under 100.0 points'], [5, 'Validation has 5 images: they cannot show any difference between two models.'], [1, 'Validation has 1 image:']])('%i images', (samples, said) => {
  if (said === '') expect(coarseValidation(samples)).toBe('');
  else expect(coarseValidation(samples)).toContain(said);
});
