"""Writes randaugment-expected.json: what RandAugment's operations give on two tiny images, computed without our code.

paper14: by Pillow 13.0 itself. tf16: by numpy, following google-research/noisystudent randaugment.py line by line.
Run: pip install numpy==2.4.6 pillow==13.0.0 && python randaugment-expected.py > randaugment-expected.json
The tests read the JSON; they need no Python.
"""
import json
import numpy as np
from PIL import Image, ImageEnhance, ImageOps

SIDE = 10
EQUALIZE_SIDE = 24  # equalizing changes nothing below 256 pixels
FACTORS = {"low": 0.46, "high": 1.72}  # enhance at magnitudes 2 and 9


def image(channels, side=SIDE):
    return np.array([(i * i * 7 + i * 13) % 200 + 20 for i in range(side * side * channels)], dtype=np.uint8).reshape(side, side, channels)


def pillow(channels):
    as_image = lambda array: Image.fromarray(array if channels == 3 else array[:, :, 0])
    im = as_image(image(channels))
    gray = (128, 128, 128) if channels == 3 else 128
    affine = lambda *m: im.transform((SIDE, SIDE), Image.AFFINE, m, fillcolor=gray)
    out = {
        "AutoContrast": ImageOps.autocontrast(im), "Equalize": ImageOps.equalize(as_image(image(channels, EQUALIZE_SIDE))),
        "Posterize": ImageOps.posterize(im, 5), "Solarize": ImageOps.solarize(im, 100),
        "Rotate": im.rotate(30, fillcolor=gray), "ShearX": affine(1, 0.3, 0, 0, 1, 0), "ShearY": affine(1, 0, 0, 0.3, 1, 0),
        "TranslateX": affine(1, 0, 2, 0, 1, 0), "TranslateY": affine(1, 0, 0, 0, 1, 2),
    }
    for name, factor in FACTORS.items():
        for enhancer in ("Color", "Contrast", "Brightness", "Sharpness"):
            out[f"{enhancer} {name}"] = getattr(ImageEnhance, enhancer)(im).enhance(factor)
    return {key: np.asarray(value).tobytes().hex() for key, value in out.items()}


def noisystudent(channels):
    v = image(channels)
    f = np.float32
    cast = lambda x: np.clip(x, 0, 255).astype(np.uint8)  # float to uint8 cuts off
    blend = lambda a, b, factor: cast(a.astype(f) + f(factor) * (b.astype(f) - a.astype(f)))
    gray = cast((v.astype(f) / f(255) * np.array([0.2989, 0.587, 0.114], f)).sum(2, keepdims=True) * f(255.5)) if channels == 3 else v
    mean = np.full_like(v, np.uint8(min(255.0, SIDE * SIDE / 256.0)))
    # sharpness: VALID depthwise convolution, whole sums so that no rounding of the kernel enters
    kernel = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]])
    smooth = v.copy()
    for y in range(1, SIDE - 1):
        for x in range(1, SIDE - 1):
            for c in range(channels):
                smooth[y, x, c] = (v[y - 1:y + 2, x - 1:x + 2, c].astype(int) * kernel).sum() // 13
    out = {
        "Invert": 255 - v,
        "Solarize": np.where(v < 100, v, 255 - v),
        "SolarizeAdd": np.where(v < 128, np.clip(v.astype(int) + 55, 0, 255), v).astype(np.uint8),
        "Posterize": (v >> 3) << 3,
    }
    # cutout(pad_size=2) around row 2, column 9
    cut = v.copy()
    cut[0:4, 7:10, :] = 128
    out["Cutout"] = cut
    for name, factor in FACTORS.items():
        out[f"Color {name}"] = blend(np.repeat(gray, channels, 2) if channels == 3 else v, v, factor)
        out[f"Contrast {name}"] = blend(mean, v, factor)
        out[f"Brightness {name}"] = blend(np.zeros_like(v), v, factor)
        out[f"Sharpness {name}"] = blend(smooth, v, factor)
    return {key: value.tobytes().hex() for key, value in out.items()}


print(json.dumps({"paper14": {str(c): pillow(c) for c in (1, 3)}, "tf16": {str(c): noisystudent(c) for c in (1, 3)}}, indent=1))
