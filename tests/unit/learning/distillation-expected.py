"""Writes distillation-expected.json: losses of distillation and their gradients by the student's logits, in double precision, computed without our code.

Losses by plain PyTorch as Hinton et al. 2015 (arXiv 1503.02531) has them, row by row, and by DeiT's own DistillationLoss (facebookresearch/deit, losses.py),
whose soft KL is divided by rows x classes ("legacy PyTorch"), so that it is multiplied by classes here.
Run: pip install torch==2.15.0 && python distillation-expected.py PATH/TO/deit/losses.py > distillation-expected.json
The tests read the JSON; they need no Python.
"""
import importlib.util
import json
import sys
import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
spec = importlib.util.spec_from_file_location('losses', sys.argv[1])
losses = importlib.util.module_from_spec(spec)
spec.loader.exec_module(losses)

ROWS, CLASSES = 6, 4
made = lambda factor, scale: torch.tensor([[((i * factor + j * 5 + i * j * 3) % 11 - 5) * scale + 0.03 * j for j in range(CLASSES)] for i in range(ROWS)])
teacher, student, second = made(7, 0.9), made(3, 0.7), made(4, 0.5)
labels = torch.tensor([0, 3, 1, 2, 2, 0])
truth = F.one_hot(labels, CLASSES).double()
# The last two rows have no true label; then a mixture of both kinds, as mixup makes it.
partly = truth.clone()
partly[4:] = 0
mixed = 0.7 * partly + 0.3 * partly.roll(-1, 0)


def targets(kind, t):
    return F.one_hot(teacher.argmax(1), CLASSES).double() if kind == 'hard' else F.softmax(teacher / t, 1)


def loss_of(truth, q, learns_labels, learns_teacher, a, t):
    total = 0
    for i in range(ROWS):
        m = truth[i].sum()
        ce = -(truth[i] * F.log_softmax(learns_labels[i], 0)).sum()
        kl = F.kl_div(F.log_softmax(learns_teacher[i] / t, 0), q[i], reduction='sum')
        total = total + (1 - a) * ce + (1 - (1 - a) * m) * t * t * kl
    return total / ROWS


def case(name, truth, kind, t, a, head, two):
    one, other = student.clone().requires_grad_(), second.clone().requires_grad_()
    q = targets(kind, t)
    if head == 'token':
        loss = loss_of(truth, q, one, other, a, t)
    elif two:
        loss = (loss_of(truth, q, one, one, a, t) + loss_of(truth, q, other, other, a, t)) / 2
    else:
        loss = loss_of(truth, q, one, one, a, t)
    loss.backward()
    return dict(name=name, truth=truth.flatten().tolist(), targets=kind, temperature=t, share=a, head=head, two=two, loss=loss.item(),
                gradient=one.grad.flatten().tolist(), second=None if other.grad is None else other.grad.flatten().tolist())


def deit(kind, t, a):
    """The published code: class and distillation outputs, a criterion on the labels, a teacher that answers whatever it is shown."""
    one, other = student.clone().requires_grad_(), second.clone().requires_grad_()
    criterion = losses.DistillationLoss(torch.nn.CrossEntropyLoss(), lambda _: teacher, kind, a, t)
    published = criterion(None, (one, other), labels)
    base = F.cross_entropy(one, labels)
    loss = published if kind == 'hard' else (1 - a) * base + CLASSES * (published - (1 - a) * base)
    loss.backward()
    return dict(name=f"DeiT's code, {kind}", truth=truth.flatten().tolist(), targets=kind, temperature=t, share=a, head='token', two=True, loss=loss.item(),
                gradient=one.grad.flatten().tolist(), second=other.grad.flatten().tolist())


def size(t):
    """Norm of the gradient of T² KL alone, for logits that are small against every T, and for those above; without T² beside it."""
    def norm(scale, factor):
        z = (student * scale).clone().requires_grad_()
        (factor * F.kl_div(F.log_softmax(z / t, 1), F.softmax(teacher * scale / t, 1), reduction='batchmean')).backward()
        return z.grad.norm().item()
    return dict(temperature=t, small=norm(0.01, t * t), smallWithout=norm(0.01, 1), large=norm(1, t * t))


print(json.dumps(dict(
    rows=ROWS, classes=CLASSES, teacher=teacher.flatten().tolist(), student=student.flatten().tolist(), second=second.flatten().tolist(),
    cases=[
        *[case(f'all labeled, T = {t}', truth, 'soft', t, 0.5, 'class', False) for t in (1, 2, 4, 8)],
        case('labels alone', truth, 'soft', 4, 0, 'class', False),
        case('teacher alone', truth, 'soft', 4, 1, 'class', False),
        case('rows without a label', partly, 'soft', 4, 0.3, 'class', False),
        case('mixed rows', mixed, 'soft', 2, 0.3, 'class', False),
        case('hard', partly, 'hard', 1, 0.5, 'class', False),
        case('both heads alike', partly, 'soft', 3, 0.1, 'class', True),
        case('token, rows without a label', partly, 'soft', 3, 0.1, 'token', True),
        case('token, hard, mixed rows', mixed, 'hard', 1, 0.5, 'token', True),
        deit('hard', 1, 0.5), deit('soft', 3, 0.1),
    ],
    sizes=[size(t) for t in (1, 2, 4, 8)],
)))
