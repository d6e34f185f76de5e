/** MNIST with 10 labels a class: the recipe of `npm run demo`. Its figures stand in docs/results.md. */
export const mnist = `# Noisy Student on MNIST: 100 labeled images, about 55,000 without labels, three rounds.
apiVersion: alumnus/v1
kind: Recipe
name: mnist
seed: 1
rounds: 3

data:
  dataset: mnist            # alumnus dataset import mnist
  # near_duplicates: {}     # leave out unlabeled images that look like one of validation or test

models:
  ladder:                   # iteration 0 first; a student is equal to its teacher or larger
    - { model: cnn, width: 24 }
    - { model: cnn, width: 28 }
    - { model: cnn, width: 32 }
    - { model: cnn, width: 36 }

training:
  teacher: { steps: 1000, batch_labeled: 128 }    # with so much noise and so few labels, more steps make it worse
  student: { steps: 2000, batch_labeled: 32, batch_unlabeled: 96 }
  optimizer: { name: adamw, learning_rate: 0.003, weight_decay: 0.0001 }
  schedule: { name: cosine }
  ema_decay: 0.995

noise:
  input: { name: affine, degrees: 15, translate_pixels: 3, scale: 0.15 }
  mix: { mixup_alpha: 0.5, cutmix_alpha: 1 }      # what 55,000 images bear, and the control's 100 don't

labels:
  kind: hard                # soft is the default; here hard ones did no worse
  threshold: 0.5            # trained on mixed images a teacher is rarely sure, and then right
  balance: classes

promotion:
  require: not-worse
  alpha: 0.05
  on_refusal: keep-teacher

control: true               # the honest comparison: the last model on the labeled images alone
`;
