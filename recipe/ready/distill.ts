/** Knowledge distillation on MNIST: a teacher's word of 55,000 images for a student of a sixteenth of its size. Its first figures stand in docs/distillation.md. */
export const distill = `# Knowledge distillation on MNIST: a teacher, and a student of a sixteenth of its size that learns its probabilities.
apiVersion: alumnus/v1
kind: Recipe
name: distill
seed: 1
rounds: 1

data:
  dataset: mnist            # alumnus dataset import mnist

models:
  ladder:
    - { model: cnn, width: 24 }                   # the teacher
    - { model: cnn, width: 6, dense: 32 }         # the student: with training.distill it may be smaller

training:
  teacher: { steps: 1000, batch_labeled: 128 }
  student: { steps: 2000, batch_labeled: 32, batch_unlabeled: 96 }
  optimizer: { name: adamw, learning_rate: 0.003, weight_decay: 0.0001 }
  schedule: { name: cosine }
  ema_decay: 0.995
  distill:
    teacher: stored         # said once of each clean image, and shared by every student of this teacher
    targets: soft
    temperature: 4          # softens both sides, so that a student learns also how wrong the wrong classes are
    share: 0.5              # of the loss of an image with a true label

noise:
  input: { name: affine, degrees: 15, translate_pixels: 3, scale: 0.15 }

labels:
  threshold: 0              # doubt is what a student is to learn, too
  balance: none

control: true               # the honest comparison: the student's model on the labeled images alone
comparisons:                # each is the student with one thing changed; they decide nothing
  - { name: labels, what: "the teacher's most probable class, not distilled", distill: none, kind: hard }
  - { name: t1, distill: { temperature: 1, share: 0.5 } }
  - { name: t2, distill: { temperature: 2, share: 0.5 } }
  - { name: t8, distill: { temperature: 8, share: 0.5 } }
  - { name: share-01, distill: { temperature: 4, share: 0.1 } }
  - { name: share-09, distill: { temperature: 4, share: 0.9 } }
  - { name: online, what: the teacher sees the very image that its student sees, distill: { teacher: online, temperature: 4, share: 0.5 } }
`;
