/** Fashion-MNIST with 50 labels a class: the recipe of `npm run demo -- --data fashion-mnist`. Its figures stand in docs/results.md. */
export const fashionMnist = `# Noisy Student on Fashion-MNIST: 500 labeled images, about 55,000 without labels, three rounds.
apiVersion: alumnus/v1
kind: Recipe
name: fashion-mnist
seed: 1
rounds: 3

data:
  dataset: fashion-mnist    # alumnus dataset import fashion-mnist

models:
  ladder:                   # iteration 0 first; a student is equal to its teacher or larger
    - { model: cnn, width: 24 }
    - { model: cnn, width: 28 }
    - { model: cnn, width: 32 }
    - { model: cnn, width: 36 }

training:
  teacher: { steps: 4000, batch_labeled: 128 }    # as long as its students: what it gets wrong they learn
  student: { steps: 4000, batch_labeled: 32, batch_unlabeled: 96 }
  optimizer: { name: adamw, learning_rate: 0.002, weight_decay: 0.0001 }
  schedule: { name: cosine }
  ema_decay: 0.995

noise:
  input: { name: affine, degrees: 5, translate_pixels: 1, scale: 0.05, flip: true }    # stronger noise costs accuracy

labels:
  kind: hard                # soft is the default; here soft ones gained nothing
  threshold: 0.7
  balance: classes

promotion:
  require: not-worse
  alpha: 0.05
  on_refusal: keep-teacher

control: true               # the honest comparison: the last model on the labeled images alone
`;
