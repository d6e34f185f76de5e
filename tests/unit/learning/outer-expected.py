"""Writes outer-expected.json: two outer steps of DiLoCo over made-up replicas, the weights by PyTorch's own optimizer.

As arXiv 2311.08105, algorithm 1, and as published codes do it: the replicas' mean difference is given to
`torch.optim.SGD(lr, momentum, nesterov=True)` as the gradient, here in float64. Averages and statistics are restated in plain Python:
the decay of `tf.train.ExponentialMovingAverage` with `num_updates`, min(decay, (1 + n) / (10 + n)), multiplied over the steps of the round.
Run with PyTorch 2.15: python outer-expected.py > outer-expected.json
The tests read the JSON; they need no Python.
"""
import json
import torch

PARAMETERS, ELEMENTS = 40, 3
RATE, MOMENTUM, DECAY = 0.7, 0.9, 0.45
# Steps before the round, steps of the round, replicas.
ROUNDS = [(0, 5, 3), (5, 4, 2)]


def value(kind, parameter, element):
    """Exact in float32. `kind` tells apart what the numbers stand for."""
    return ((element * element * 7 + element * 13 + parameter * 29 + kind * 17) % 97 - 48) / 64


def tensor(kind):
    return torch.tensor([[value(kind, p, i) for i in range(ELEMENTS)] for p in range(PARAMETERS)], dtype=torch.float64)


weights = torch.nn.Parameter(tensor(0))
averages = tensor(1)
outer = torch.optim.SGD([weights], lr=RATE, momentum=MOMENTUM, nesterov=True)
result = []
for number, (first, steps, replicas) in enumerate(ROUNDS):
    # A replica's weights lie near those that it began with; its statistics anywhere.
    weights.grad = -sum(tensor(10 + 10 * number + k) / 8 for k in range(replicas)) / replicas
    outer.step()
    kept = 1.0
    for n in range(first + 1, first + steps + 1):
        kept *= min(DECAY, (1 + n) / (10 + n))
    averages = averages - (1 - kept) * (averages - weights.detach())
    statistics = sum(tensor(10 + 10 * number + k) for k in range(replicas)) / replicas
    result.append({
        'firstStep': first, 'steps': steps, 'replicas': replicas,
        'weights': weights.detach().tolist(), 'momentum': outer.state[weights]['momentum_buffer'].tolist(), 'averages': averages.tolist(), 'statistics': statistics.tolist(),
    })
print(json.dumps({'elements': ELEMENTS, 'learningRate': RATE, 'momentum': MOMENTUM, 'emaDecay': DECAY, 'rounds': result}))
