/** Data-efficient image transformers on MNIST: a vision transformer that learns from a convolutional net by a token of its own. Its first figures stand in docs/deit.md. */
export const deit = `# DeiT on MNIST: a convolutional teacher, and a vision transformer that learns from it by a distillation token.
apiVersion: alumnus/v1
kind: Recipe
name: deit
seed: 1
rounds: 1

data:
  dataset: mnist            # alumnus dataset import mnist

models:
  ladder:
    - { model: cnn, width: 24 }                                               # the teacher
    - { model: deit-tiny, patch: 7, width: 48, depth: 4, heads: 3 }           # the student: 16 patches, a class and a distillation token

training:
  teacher: { steps: 1000, batch_labeled: 128 }
  student: { steps: 2000, batch_labeled: 32, batch_unlabeled: 96 }
  optimizer: { name: adamw, learning_rate: 0.002, weight_decay: 0.01 }
  schedule: { name: cosine, warmup_steps: 200 }
  ema_decay: 0.995
  distill:
    teacher: online         # sees the very image that its student sees, noised as it is
    targets: hard           # its most probable class: what worked best in the paper
    head: token             # the token's head learns the teacher, the class head the labels; averaged in prediction
    share: 0.5

noise:
  input: { name: affine, degrees: 15, translate_pixels: 3, scale: 0.15 }

labels:
  threshold: 0
  balance: none

control: true               # the same transformer on the labeled images alone
comparisons:                # the rows of the paper's table, each the student with another way to learn
  - { name: plain, what: "the teacher's stored labels without distillation", model: { model: vit-tiny, patch: 7, width: 48, depth: 4, heads: 3 }, distill: none }
  - { name: usual, what: 'usual distillation: soft targets, one head', model: { model: vit-tiny, patch: 7, width: 48, depth: 4, heads: 3 }, distill: { teacher: online, targets: soft, temperature: 3, share: 0.1 } }
  - { name: hard, what: 'hard targets, one head', model: { model: vit-tiny, patch: 7, width: 48, depth: 4, heads: 3 }, distill: { teacher: online, targets: hard, share: 0.5 } }
  - { name: token-soft, what: 'soft targets, a head of their own', distill: { teacher: online, targets: soft, temperature: 3, share: 0.1, head: token } }
`;
