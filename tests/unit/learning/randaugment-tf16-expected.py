"""Writes randaugment-tf16-expected.json: what the published code itself gives, operation by operation, and its magnitudes.

The code is google-research/noisystudent, randaugment.py of commit aac52bf02448f6e45aee6c418f3e588803e4fa43, run as it stands on
TensorFlow 2.21. It was written for TensorFlow 1: `tensorflow` is `tensorflow.compat.v1`, and the three functions of
`tensorflow.contrib.image` that it calls, which later releases lack, are made here of the operation that they called, by the
matrices of contrib/image/python/ops/image_ops.py. It takes images of three channels: a gray one goes in three times.
Run: pip install tensorflow-cpu==2.21.0 && python randaugment-tf16-expected.py PATH/randaugment.py > randaugment-tf16-expected.json
The tests read the JSON; they need no Python.
"""
import importlib.util
import json
import math
import sys
import types
import numpy as np
import tensorflow as tf2
import tensorflow.compat.v1 as tf1

SIDE = 10
EQUALIZE_SIDE = 24  # equalizing changes nothing below 256 pixels
FACTORS = {"low": 0.46, "high": 1.72}  # enhance at magnitudes 2 and 9
LEVELS = [0, 1, 2, 5, 7, 9, 10, 17, 27]


def transform(image, matrix):
    return tf2.raw_ops.ImageProjectiveTransformV2(images=image[None], transforms=tf2.constant([matrix], tf2.float32), output_shape=tf2.shape(image)[:2], interpolation="NEAREST")[0]


def rotate(image, angle):
    height, width, cos, sin = image.shape[0] - 1, image.shape[1] - 1, math.cos(angle), math.sin(angle)
    return transform(image, [cos, -sin, (width - (cos * width - sin * height)) / 2, sin, cos, (height - (sin * width + cos * height)) / 2, 0, 0])


def translate(image, by):
    return transform(image, [1, 0, -by[0], 0, 1, -by[1], 0, 0])


def published(path):
    contrib = types.ModuleType("tensorflow.contrib")
    contrib.image = types.SimpleNamespace(rotate=rotate, translate=translate, transform=transform)
    contrib.training = types.SimpleNamespace(HParams=types.SimpleNamespace)
    sys.modules["tensorflow"], sys.modules["tensorflow.contrib"] = tf1, contrib
    spec = importlib.util.spec_from_file_location("randaugment", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def image(channels, side=SIDE):
    values = np.array([(i * i * 7 + i * 13) % 200 + 20 for i in range(side * side * channels)], dtype=np.uint8).reshape(side, side, channels)
    return tf2.constant(values if channels == 3 else np.repeat(values, 3, 2))


def operations(code, channels):
    im, gray = image(channels), [np.uint8(128)] * 3
    out = {
        "AutoContrast": code.autocontrast(im), "Equalize": code.equalize(image(channels, EQUALIZE_SIDE)), "Invert": code.invert(im),
        "Posterize": code.posterize(im, np.uint8(5)), "Posterize of 0 bits": code.posterize(im, np.uint8(0)), "Solarize": code.solarize(im, 100), "SolarizeAdd": code.solarize_add(im, 55),
    }
    for sign, key in ((1, "plus"), (-1, "minus")):
        out[f"Rotate {key}"] = code.rotate(im, sign * 30.0, gray)
        out[f"ShearX {key}"] = code.shear_x(im, sign * 0.3, gray)
        out[f"ShearY {key}"] = code.shear_y(im, sign * 0.3, gray)
        out[f"TranslateX {key}"] = code.translate_x(im, sign * 2.0, gray)
        out[f"TranslateY {key}"] = code.translate_y(im, sign * 2.0, gray)
    for key, factor in FACTORS.items():
        for name in ("color", "contrast", "brightness", "sharpness"):
            out[f"{name.capitalize()} {key}"] = getattr(code, name)(im, factor)
    return {key: value.numpy()[:, :, :channels].tobytes().hex() for key, value in out.items()}


def magnitudes(code, cutout_const, translate_const):
    code._randomly_negate_tensor = lambda value: value
    table = code.level_to_arg(types.SimpleNamespace(cutout_const=cutout_const, translate_const=translate_const))
    return {name: [(list(table[name](float(level))) or [None])[0] for level in LEVELS] for name in table}


code = published(sys.argv[1])
print(json.dumps({
    "1": operations(code, 1), "3": operations(code, 3),
    "levels": LEVELS,
    # preprocessing.py line 214 takes an eighth of the image's side for SVHN and CIFAR; ImageNet has the defaults.
    "magnitudes": {"224": magnitudes(code, 40, 100), "32": magnitudes(code, 4, 4)},
}, indent=1))
