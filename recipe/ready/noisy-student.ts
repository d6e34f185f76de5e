/** Noisy Student on MNIST by both of the paper's claims: accuracy, and what students bear that nobody trained them for. Read docs/noisy-student.md. */
export const noisyStudent = `# Noisy Student on MNIST: 100 labeled images, about 55,000 without labels, rounds while they help, and robustness measured in each.
apiVersion: alumnus/v1
kind: Recipe
name: noisy-student
seed: 1
rounds: 3                   # at most: see promotion

data:
  dataset: mnist            # alumnus dataset import mnist
  corrupted: mnist-c        # alumnus dataset corrupt mnist --images 1000 --sequence-images 200
                            # 15 corruptions of 1,000 images of validation and of 1,000 of test; without --images of all of them (alumnus demo: --corrupted-images 0)

models:
  ladder:                   # iteration 0 first; a student is equal to its teacher or larger
    - { model: cnn, width: 24 }
    - { model: cnn, width: 28 }
    - { model: cnn, width: 32 }

training:
  teacher: { steps: 1000, batch_labeled: 128 }
  student: { steps: 2000, batch_labeled: 32, batch_unlabeled: 96 }
  optimizer: { name: adamw, learning_rate: 0.003, weight_decay: 0.0001 }
  schedule: { name: cosine }
  ema_decay: 0.995

noise:                      # of students; labels are written on clean images
  input: { name: affine, degrees: 15, translate_pixels: 3, scale: 0.15 }    # akin to rotate, translate, scale and shear; not to fog, blur or stripes
  mix: { mixup_alpha: 0.5, cutmix_alpha: 1 }

labels:
  kind: hard
  threshold: 0.5
  balance: classes

promotion:
  require: not-worse        # on clean validation images, by a paired exact test
  corruption_error_most: 1.1  # and not a tenth less robust than its teacher on corrupted ones
  alpha: 0.05
  on_refusal: stop          # the first student that is worse ends the run, which returns the best model so far

control: true               # the last model on the labeled images alone, with the same noise: what robustness is worth without the others
comparisons:
  - { name: quiet, what: 'the last student without noise: what robustness is worth without it', noise: { input: { name: none } } }
`;
