/** Knowledge expansion on MNIST: does a student pass its teacher, and what do wrong labels cost it? Its figures stand in docs/results.md. */
export const expand = `# Knowledge expansion on MNIST: a larger student learns from 100 labeled images and what its teacher says of 55,000 others.
apiVersion: alumnus/v1
kind: Recipe
name: expand
seed: 1
rounds: 1

data:
  dataset: mnist            # alumnus dataset import mnist

models:
  ladder:
    - { model: cnn, width: 20 }
    - { model: cnn, width: 32 }                   # larger than its teacher

training:
  teacher: { steps: 1000, batch_labeled: 128 }
  student: { steps: 1500, batch_labeled: 32, batch_unlabeled: 96 }
  optimizer: { name: adamw, learning_rate: 0.003, weight_decay: 0.0001 }
  schedule: { name: cosine }
  ema_decay: 0.995

noise:
  input: { name: affine, degrees: 15, translate_pixels: 3, scale: 0.15 }
  mix: { mixup_alpha: 0.5, cutmix_alpha: 1 }

labels:
  kind: hard
  threshold: 0.5
  balance: classes

promotion:
  require: better           # the claim is tested: promoted only if significantly better on validation
  alpha: 0.05

control: true               # the student's network on the labeled images alone: what the unlabeled ones are worth
comparisons:                # each is the student with one thing changed; they decide nothing
  - { name: equal, what: a student as large as its teacher, model: { model: cnn, width: 20 } }
  - { name: truth, what: 'the same images with their true labels: the most that labels can give', labels: truth }
  - { name: noise-05, what: 'true labels, 5 % of them replaced', labels: truth, label_noise: 0.05 }
  - { name: noise-20, what: 'true labels, 20 % of them replaced', labels: truth, label_noise: 0.2 }
  - { name: noise-40, what: 'true labels, 40 % of them replaced', labels: truth, label_noise: 0.4 }
`;
