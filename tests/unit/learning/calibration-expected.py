"""Writes calibration-expected.json: temperature, loss and calibration error of made-up predictions, computed without our code.

Temperature: scipy's bounded scalar minimizer on the mean cross-entropy of softmax(logits / T), as set_temperature of
gpleiss/temperature_scaling minimizes it (there LBFGS, stopped early). Calibration error: _ECELoss of the same file, restated in numpy.
Log-probabilities are float32, as evaluations hold them. The lower bounds and thresholds are Wilson's formula on cumulated counts.
Run: pip install numpy==2.4.6 scipy==1.17.1 && python calibration-expected.py > calibration-expected.json
The tests read the JSON; they need no Python.
"""
import json
import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from scipy.stats import norm


def ece(probabilities, truth, bins=15):
    confidence, predicted = probabilities.max(1), probabilities.argmax(1)
    right, edges, error = predicted == truth, np.linspace(0, 1, bins + 1), 0.0
    for low, high in zip(edges[:-1], edges[1:]):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            error += abs(confidence[inside].mean() - right[inside].mean()) * inside.mean()
    return float(error)


def loss(logits, truth, temperature):
    return float(-log_softmax(logits / temperature, axis=1)[np.arange(len(truth)), truth].mean())


def case(name, seed, rows, classes, sharpness):
    """Labels are drawn from softmax(true logits); the model says sharpness times those, so that its best temperature is near sharpness."""
    random = np.random.default_rng(seed)
    true = 2.5 * random.standard_normal((rows, classes))
    truth = np.array([random.choice(classes, p=softmax(row)) for row in true])
    said = log_softmax(sharpness * true, axis=1).astype(np.float32)
    logits = said.astype(np.float64)
    best = minimize_scalar(lambda log_t: loss(logits, truth, np.exp(log_t)), bounds=(np.log(0.05), np.log(20)), method="bounded", options={"xatol": 1e-12})
    temperature = float(np.exp(best.x))
    return {
        "name": name, "classes": classes, "logProbabilities": [float(v) for v in said.ravel()], "truth": truth.tolist(), "temperature": temperature,
        "loss": loss(logits, truth, 1), "lossScaled": loss(logits, truth, temperature),
        "error": ece(softmax(logits, axis=1), truth), "errorScaled": ece(softmax(logits / temperature, axis=1), truth),
    }


def wilson(correct, total):
    z, p = norm.ppf(0.95), correct / total
    return float((p + z * z / (2 * total) - z * np.sqrt(p * (1 - p) / total + z * z / (4 * total * total))) / (1 + z * z / total))


CURVE = [(0.0, 30, 100), (0.5, 60, 100), (0.75, 85, 100), (0.875, 190, 200), (0.9375, 294, 300), (0.984375, 199, 200), (0.9990234375, 3, 3)]


def threshold(wanted):
    """The least confidence from which on the bound is at least `wanted`, else that of the best bound; and whether it was reached."""
    rows = []
    for at in range(len(CURVE)):
        correct, total = (sum(row[column] for row in CURVE[at:]) for column in (1, 2))
        rows.append([CURVE[at][0], correct, total, wilson(correct, total)])
    reached = [row for row in rows if row[3] >= wanted]
    return (reached[0] if reached else max(rows, key=lambda row: row[3])) + [bool(reached)]


print(json.dumps({
    "cases": [case("overconfident", 1, 200, 5, 3), case("underconfident", 2, 200, 3, 0.4), case("calibrated", 3, 300, 2, 1)],
    "bounds": [[c, t, wilson(c, t)] for c, t in [(0, 1), (1, 1), (3, 3), (0, 50), (45, 50), (50, 50), (950, 1000), (4999, 5000)]],
    "curve": CURVE, "thresholds": [[w, threshold(w)] for w in (0.1, 0.7, 0.85, 0.9, 0.95, 0.97, 0.98, 0.99)],
}))
