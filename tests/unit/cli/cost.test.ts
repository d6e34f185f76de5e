/** What a run takes, before it runs. Parameters are counted here by hand from the shapes that recipe/models/cnn.ts describes. */
import { expect, test } from 'vitest';
import { costText, trainingsOf } from '../../../cli/cost.ts';
import { RunData } from '../../../proto/gen/alumnus/v1/events.ts';
import { parseRecipe } from '../../../recipe/index.ts';

const recipe = (more = '') => parseRecipe(`
name: digits
rounds: 2
control: true
data: { dataset: digits }
models: { ladder: [{ model: cnn, width: 24 }, { model: cnn, width: 28 }] }
training:
  teacher: { steps: 10, batch_labeled: 4 }
  student: { steps: 20, batch_labeled: 3, batch_unlabeled: 5 }
${more}`);
const data = RunData.fromPartial({ image: { height: 28, width: 28, channels: 1 }, classNames: [...'0123456789'], unlabeled: { samples: 1000 } });

test('trainings in their order, with steps, images of each step, and parameters where the images are known', () => {
  // 3x3x1x24 + 24, 3x3x24x48 + 48, 7x7x48x128 + 128, 128x10 + 10: 240 + 10,416 + 301,184 + 1,290; with 28 filters 280 + 14,168 + 351,360 + 1,290.
  expect(trainingsOf(recipe(), data)).toEqual([
    { title: 'iteration 0', model: 'cnn width=24', parameters: 313_130, steps: 10, images: 4 },
    { title: 'iteration 1', model: 'cnn width=28', parameters: 367_098, steps: 20, images: 8 },
    { title: 'iteration 2', model: 'cnn width=28', parameters: 367_098, steps: 20, images: 8 },
    { title: 'control', model: 'cnn width=28', parameters: 367_098, steps: 20, images: 8 },
  ]);
  expect(trainingsOf(recipe(), undefined).map((each) => each.parameters)).toEqual([undefined, undefined, undefined, undefined]);
});

test('the sums, what is labeled, and what a refusal adds', () => {
  // 10 x 4 + 3 x (20 x 8), and 2 x 1,000.
  expect(costText(recipe(), data)).toMatch(/^TRAINING +MODEL +PARAMETERS[\s\S]*\n4 trainings see 520 images\. Images to label: 1,000 in 2 rounds, 2,000 in all\.$/);
  expect(costText(recipe('promotion: { on_refusal: retry, tries_max: 3 }'), undefined)).toMatch(/\n4 trainings see 520 images\. All unlabeled images are labeled 2 times\. A round whose student is refused is trained again, up to 3 times in all\.$/);
  expect(costText(recipe(), data)).not.toMatch(/second|minute|hour/);
});

test('of workers that share a training each sees as many images; how many there will be is not known', () => {
  const shared = (replicas: number | string) => parseRecipe(`name: digits\nrounds: 0\ndata: { dataset: digits }\nmodels: { ladder: [{ model: cnn }] }\ntraining: { teacher: { steps: 10, batch_labeled: 4 }, replicas: ${replicas} }\n`);
  // 10 x 4 x 3.
  expect(trainingsOf(shared(3), data).map(({ steps, images }) => [steps, images])).toEqual([[10, 12]]);
  expect(costText(shared(3), data)).toMatch(/\n1 training see 120 images\.$/);
  expect(costText(shared('auto'), data)).toMatch(/\n1 training see 40 images\. Each training is shared by as many workers as there are, and sees as many times these images\.$/);
});
