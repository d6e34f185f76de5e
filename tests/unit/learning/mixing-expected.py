"""Writes mixing-expected.json: what mixup, CutMix and random erasing give where every draw is given, computed without our code.

Mixing: mixup of arXiv 1710.09412 and CutMix of arXiv 1905.04899 with the box of timm's `rand_bbox` and lambda corrected by the
clipped area. Erasing: the attempts, rounding and places of timm's `RandomErasing` (arXiv 1708.04896). All by plain numpy in
float64, sample by sample.
Run: pip install numpy==2.4.6 && python mixing-expected.py > mixing-expected.json
The tests read the JSON; they need no Python.
"""
import json
import math
import numpy as np

HEIGHT, WIDTH, CHANNELS = 9, 14, 2
images = np.array([(i * i * 7 + i * 13) % 200 + 20 for i in range(5 * HEIGHT * WIDTH * CHANNELS)], dtype=np.float64).reshape(5, HEIGHT, WIDTH, CHANNELS)
targets = np.array([[1, 0, 0], [0.25, 0.5, 0.25], [0, 0, 1], [0.125, 0.125, 0.75], [0, 1, 0]])


def box(lam, cy, cx):
    ratio = np.sqrt(1 - lam)
    cut_h, cut_w = int(HEIGHT * ratio), int(WIDTH * ratio)
    return (np.clip(cy - cut_h // 2, 0, HEIGHT), np.clip(cy + cut_h // 2, 0, HEIGHT), np.clip(cx - cut_w // 2, 0, WIDTH), np.clip(cx + cut_w // 2, 0, WIDTH))


def mixing():
    shift = 2
    partners = [(i + shift) % 5 for i in range(5)]
    # One sample each: mixup, a box inside, a box cut off at a corner, neither, a box of nearly everything.
    mixup = [0.3, 1, 1, 1, 1]
    cutmix = [1, 0.6, 0.45, 1, 0.02]
    centers = [(4, 7), (4, 7), (0, 13), (4, 7), (5, 6)]
    mixed, mixed_targets, lambdas = images.copy(), targets.copy(), []
    for i, j in enumerate(partners):
        lam = mixup[i]
        if cutmix[i] != 1:
            y0, y1, x0, x1 = box(cutmix[i], *centers[i])
            mixed[i, y0:y1, x0:x1] = images[j, y0:y1, x0:x1]
            lam = 1 - float((y1 - y0) * (x1 - x0)) / (HEIGHT * WIDTH)
        else:
            mixed[i] = images[i] * lam + images[j] * (1 - lam)
        mixed_targets[i] = targets[i] * lam + targets[j] * (1 - lam)
        lambdas.append(lam)
    return {"shift": shift, "partners": partners, "mixup": mixup, "cutmix": cutmix, "centers": centers, "lambdas": lambdas, "images": mixed.ravel().tolist(), "targets": mixed_targets.ravel().tolist()}


def erasing():
    area = HEIGHT * WIDTH
    # Shares of the image and height / width by attempt, ten each; the rest repeats the last one.
    attempts = lambda *some: [*some, *[some[-1]] * (10 - len(some))]
    rows = [
        {"chosen": True, "attempts": attempts((0.1, 0.8)), "top": 0.0, "left": 0.0},
        # Too tall, then too wide, then one that fits and one that would.
        {"chosen": True, "attempts": attempts((0.3, 3.2), (0.33, 0.15), (0.2, 0.5), (0.02, 1.0)), "top": 0.5, "left": 0.97},
        {"chosen": True, "attempts": attempts((0.33, 3.3)), "top": 0.5, "left": 0.5},
        {"chosen": False, "attempts": attempts((0.1, 1.0)), "top": 0.5, "left": 0.5},
        # As high as may be, at the very end.
        {"chosen": True, "attempts": attempts((0.3, 1.6)), "top": 0.99, "left": 0.99},
    ]
    for row in rows:
        row["rectangle"] = None
        if not row["chosen"]:
            continue
        for share, aspect in row["attempts"]:
            h, w = int(round(math.sqrt(share * area * aspect))), int(round(math.sqrt(share * area / aspect)))
            if w < WIDTH and h < HEIGHT:
                # `randint(0, HEIGHT - h)`, both ends included
                row["rectangle"] = [int(row["top"] * (HEIGHT - h + 1)), int(row["left"] * (WIDTH - w + 1)), h, w]
                break
    return rows


def mean_share_cut(side):
    """Mean share of a square image that CutMix takes from the partner, lambda uniform (alpha 1), every center alike: exact sum over sides and centers."""
    clipped = lambda cut: np.mean([min(c + cut // 2, side) - max(c - cut // 2, 0) for c in range(side)])
    # sqrt(1 - lambda) x side lies in [cut, cut + 1) with chance ((cut + 1)^2 - cut^2) / side^2
    return sum((2 * cut + 1) / side**2 * (clipped(cut) / side) ** 2 for cut in range(side))


print(json.dumps({"height": HEIGHT, "width": WIDTH, "channels": CHANNELS, "mixing": mixing(), "erasing": erasing(), "meanShareCutOf16": mean_share_cut(16)}))
