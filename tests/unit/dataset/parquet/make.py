"""
Makes the Parquet files beside this one, as the Hugging Face hub lays image sets out (huggingface/datasets, features/image.py:
struct<bytes: binary, path: string>; ClassLabel as int64 with its names in the schema's metadata), by tools that are not ours,
and expected.json, what is in them. Made with Python 3 with pyarrow, numpy and Pillow: `python make.py`.
"""
import hashlib, io, json, pathlib
import numpy, pyarrow, pyarrow.parquet
from PIL import Image

here = pathlib.Path(__file__).parent
names = ["cat", "dog", "owl"]
features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}

def encoded(number, form):
    draw = numpy.random.default_rng(number)
    pixels = draw.integers(0, 256, size=(8, 6, 3), dtype=numpy.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, form)
    return out.getvalue()

def write(name, rows, codec="snappy", image="image", label="label", metadata=True, labels=pyarrow.int64(), group=4):
    fields = [pyarrow.field(image, pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])), pyarrow.field(label, labels)]
    told = {b"huggingface": json.dumps({"info": {"features": features}}).encode()} if metadata else None
    table = pyarrow.table({image: [row[0] for row in rows], label: [row[1] for row in rows]}, schema=pyarrow.schema(fields, metadata=told))
    pyarrow.parquet.write_table(table, here / name, compression=codec, row_group_size=group)

def row(number, label, path=True):
    form = "PNG" if number % 2 == 0 else "JPEG"
    return {"bytes": encoded(number, form), "path": f"{number:03d}.{form.lower()}" if path else None}, label

first = [row(number, number % 3) for number in range(9)]
second = [row(number, number % 3, path=False) for number in range(9, 16)] + [row(16, -1), row(17, None)]
test = [row(number, number % 3) for number in range(18, 24)]
write("train-00000-of-00002.parquet", first)
write("train-00001-of-00002.parquet", second, codec="zstd")
write("test-00000-of-00001.parquet", test, codec="gzip")
# Without the hub's metadata: columns by their usual names, labels that are names.
write("plain.parquet", [({"bytes": encoded(number, "PNG"), "path": ""}, name) for number, name in ((30, "red"), (31, "blue"))], image="img", label="label", metadata=False, labels=pyarrow.string())
# Images that the file only refers to.
write("referred.parquet", [({"bytes": None, "path": "elsewhere.png"}, 0)])

def told(rows):
    return [[hashlib.sha256(image["bytes"]).hexdigest(), None if label is None or label < 0 else label] for image, label in rows]

(here / "expected.json").write_text(json.dumps({"train": told(first + second), "test": told(test)}, indent=1) + "\n")
