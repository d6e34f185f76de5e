"""Writes corruptions-expected.json: what the published code (google-research/mnist-c, corruptions.py, commit bba57e4ccc28) makes of three
images, with its calls of numpy's generator answered by the generator of dataset/corruptions/draws.ts, restated here. Fog, spatter and
all others run as published, by numpy, scipy and scikit-image; but for what those no longer have: `s&p` of random_noise and the
sheared AffineTransform are given as scikit-image 0.15 had them. ImageMagick's motion blur is not called from here: see motion-expected.mjs.

python corruptions-expected.py corruptions.py > corruptions-expected.json    (numpy 2.4.6, scipy 1.17.1, scikit-image 0.26.0)
"""
import base64, hashlib, json, math, pickle, io, builtins, sys, types
import numpy as np
import skimage
from skimage import transform
import skimage.filters

KEYS, SEED = ["5feceb66ffc86f38d952", "6b86b273ff34fce19d6b", "d4735e3a265e16eee03f"], 7


class Draws:
    """xoshiro128** 1.1."""
    def __init__(self, name):
        digest = hashlib.sha256(name.encode()).digest()
        self.s = [int.from_bytes(digest[4 * i:4 * i + 4], "little") for i in range(4)]

    def bits(self):
        rotl = lambda x, k: ((x << k) | (x >> (32 - k))) & 0xFFFFFFFF
        s = self.s
        result = (rotl((s[1] * 5) & 0xFFFFFFFF, 7) * 9) & 0xFFFFFFFF
        t = (s[1] << 9) & 0xFFFFFFFF
        s[2] ^= s[0]; s[3] ^= s[1]; s[1] ^= s[2]; s[0] ^= s[3]; s[2] ^= t; s[3] = rotl(s[3], 11)
        return result

    def u(self):
        return self.bits() / 2 ** 32


class Random:
    """The calls of numpy.random that the published code makes."""
    def __init__(self, name):
        self.d = Draws(name)

    def many(self, size, one):
        shape = (size,) if isinstance(size, int) else size
        return one() if size is None else np.array([one() for _ in range(int(np.prod(shape)))]).reshape(shape)

    def uniform(self, low=0.0, high=1.0, size=None):
        return self.many(size, lambda: low + (high - low) * self.d.u())

    def randint(self, low, high, size=None):
        return self.many(size, lambda: low + int(self.d.u() * (high - low)))

    def choice(self, values, size=None, p=None):
        return self.many(size, lambda: values[0] if self.d.u() < (0.5 if p is None else p[0]) else values[1])

    def normal(self, loc=0.0, scale=1.0, size=None):
        def one():
            radius = math.sqrt(-2 * math.log((self.d.bits() + 1) / 2 ** 32))
            return loc + scale * radius * math.cos(2 * math.pi * self.d.u())
        return self.many(size, one)

    def poisson(self, lam):
        def one(mean):
            count, product = 0, self.d.u()
            while product > math.exp(-mean):
                count, product = count + 1, product * self.d.u()
            return count
        return np.array([one(mean) for mean in lam.ravel()]).reshape(lam.shape)


def salt_and_pepper(image, mode, amount):
    flipped = np.random.choice([True, False], size=image.shape, p=[amount, 1 - amount])
    salted = np.random.choice([True, False], size=image.shape, p=[0.5, 0.5])
    out = image.copy()
    out[flipped & salted] = 1
    out[flipped & ~salted] = 0
    return out


def affine(scale=(1, 1), rotation=0, shear=0, translation=(0, 0)):
    (sx, sy), (tx, ty) = scale, translation
    return transform._geometric.ProjectiveTransform(matrix=np.array([
        [sx * math.cos(rotation), -sy * math.sin(rotation + shear), tx], [sx * math.sin(rotation), sy * math.cos(rotation + shear), ty], [0, 0, 1]]))


def published(path):
    for name in ["wand", "wand.image", "wand.api", "wand.color", "cv2", "pkg_resources", "PIL", "scipy.ndimage.interpolation"]:
        sys.modules[name] = types.ModuleType(name)
    image = types.SimpleNamespace(argtypes=None)
    sys.modules["wand.image"].Image = object
    sys.modules["wand.api"].library = types.SimpleNamespace(MagickMotionBlurImage=image)
    sys.modules["wand"].color = sys.modules["wand.color"]
    sys.modules["PIL"].Image = sys.modules["PIL"].ImageDraw = None
    sys.modules["pkg_resources"].resource_filename = sys.modules["scipy.ndimage.interpolation"].map_coordinates = None
    np.float_, np.int = np.float64, int
    text = open(path).read().replace('with open("pessimal_noise_matrix", "rb") as f:\n    pessimal_noise_matrix = pickle.load(f)', "").replace("multichannel=True", "channel_axis=-1")
    space = {}
    exec(compile(text, path, "exec"), space)
    skimage.util.random_noise = salt_and_pepper
    space["transform"] = types.SimpleNamespace(AffineTransform=affine, warp=transform.warp)
    return space


def pictures():
    """Strokes as of digits: a ring, a hook that touches the border, and one over a gray ground."""
    y, x = np.mgrid[0:28, 0:28].astype(float)
    stroke = lambda distance: np.clip(1.6 - np.abs(distance), 0, 1)
    ring = stroke(np.hypot((x - 13) * 1.3, y - 14) - 8.5)
    hook = np.maximum(stroke((x - 20) + 0.35 * (y - 4)) * (y < 27), stroke(y - 4.5) * (x > 5) * (x < 21))
    gray = 0.25 + 0.7 * np.maximum(stroke(np.hypot(x - 12, y - 9) - 5), stroke(x - 17) * (y > 8) * (y < 24))
    return [np.round(255 * each).astype(np.uint8) for each in (ring, hook, gray)]


def sequences(image):
    """Some frames of the sequences of make_cifar_p.py (hendrycks/robustness), restated by scipy: about 13.5, bilinear, black outside."""
    from scipy.ndimage import map_coordinates
    image, (y, x), c = image / 255, np.mgrid[0:28, 0:28].astype(float), 13.5
    warp = lambda rows, columns: map_coordinates(np.pad(image, 3), [rows + 3, columns + 3], order=1, mode="constant", cval=0)
    encoded = lambda frame: encode(np.round(np.clip(frame, 0, 1) * 255).astype(np.uint8))
    zoomed = lambda factor: warp((y - c) / factor + c, (x - c) / factor + c)
    a = np.deg2rad(-15)
    left, right = np.zeros_like(image), np.zeros_like(image)
    left[:, :-7], right[:, 8:] = image[:, 7:], image[:, :-8]
    return {"rotate_sequence": {"0": encoded(warp(np.sin(a) * (x - c) + np.cos(a) * (y - c) + c, np.cos(a) * (x - c) - np.sin(a) * (y - c) + c)), "15": encoded(image)},
            "scale_sequence": {"0": encoded(zoomed(0.7)), "15": encoded(image), "30": encoded(zoomed(1.3))},
            "translate_sequence": {"0": encoded(left), "7": encoded(image), "15": encoded(right)},
            "brightness_sequence": {"0": encoded(image - 0.225), "15": encoded(image), "30": encoded(image + 0.225)}}


space = published(sys.argv[1])
encode = lambda image: base64.b64encode(np.ascontiguousarray(image).tobytes()).decode()
images, expected = pictures(), {}
for name in space["CORRUPTIONS"]:
    if name in ("identity", "motion_blur"):
        continue
    expected[name] = []
    for key, image in zip(KEYS, images):
        np.random = Random(f"{SEED}/{name}/{key}")
        expected[name].append(encode(np.round(np.array(space[name](image))).astype(np.uint8)))
random = Draws("alumnus")
print(json.dumps({"seed": SEED, "keys": KEYS, "bits": [random.bits() for _ in range(5)], "images": [encode(each) for each in images], "expected": expected,
                  "motionDegrees": [Random(f"{SEED}/motion_blur/{key}").uniform(-45, 45) for key in KEYS],
                  "sequences": sequences(images[1])}, indent=1))
