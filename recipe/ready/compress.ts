/** Knowledge compression on MNIST: how small may a student be that keeps most of what its teacher knows? Its figures stand in docs/compression.md. */
export const compress = `# Knowledge compression on MNIST: students of an eighth to a hundredth of their teacher's size, in 32, 16 and 8 bits a weight.
apiVersion: alumnus/v1
kind: Recipe
name: compress
seed: 1
rounds: 2

data:
  dataset: mnist            # alumnus dataset import mnist
  corrupted: mnist-c        # alumnus dataset corrupt mnist --images 1000 --sequence-images 0: does compression cost more on images that are not clean?

models:
  ladder:
    - { model: cnn, width: 24 }                   # learns from 100 labels
    - { model: cnn, width: 24 }                   # learns from it and from all images: the teacher of all that follow
    - { model: cnn, width: 8, dense: 48, dropout_features: 0, dropout: 0.1 }    # the largest student; less dropout, since small networks have little to spare

training:
  teacher: { steps: 1000, batch_labeled: 128 }
  student: { steps: 2000, batch_labeled: 32, batch_unlabeled: 96 }
  optimizer: { name: adamw, learning_rate: 0.003, weight_decay: 0.0001 }
  schedule: { name: cosine }
  ema_decay: 0.995
  distill: { teacher: stored, targets: soft, temperature: 4, share: 0.5 }

noise:
  input: { name: affine, degrees: 15, translate_pixels: 3, scale: 0.15 }

labels:
  threshold: 0              # doubt is what a student is to learn, too
  balance: none

compress:
  accuracy_kept: 0.98       # of the teacher's, on validation: the smallest model that keeps as much is chosen
  weights: [float32, float16, int8]

control: true               # the largest student on the labeled images alone
comparisons:                # the sweep: each size distilled, and on the labeled images alone
  - { name: w6, what: a smaller student, model: { model: cnn, width: 6, dense: 32, dropout_features: 0, dropout: 0.1 } }
  - { name: w4, what: a smaller student, model: { model: cnn, width: 4, dense: 24, dropout_features: 0, dropout: 0.1 } }
  - { name: w3, what: a smaller student, model: { model: cnn, width: 3, dense: 16, dropout_features: 0, dropout: 0.1 } }
  - { name: w2, what: a smaller student, model: { model: cnn, width: 2, dense: 12, dropout_features: 0, dropout: 0.1 } }
  - { name: w6-alone, what: 'as w6, without a teacher', labels: none, model: { model: cnn, width: 6, dense: 32, dropout_features: 0, dropout: 0.1 } }
  - { name: w4-alone, what: 'as w4, without a teacher', labels: none, model: { model: cnn, width: 4, dense: 24, dropout_features: 0, dropout: 0.1 } }
  - { name: w3-alone, what: 'as w3, without a teacher', labels: none, model: { model: cnn, width: 3, dense: 16, dropout_features: 0, dropout: 0.1 } }
  - { name: w2-alone, what: 'as w2, without a teacher', labels: none, model: { model: cnn, width: 2, dense: 12, dropout_features: 0, dropout: 0.1 } }
`;
