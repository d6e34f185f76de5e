"""Takes the TensorFlow C library and the few headers that the binding includes out of a wheel.

usage: unpack.py WHEEL FOLDER. Prints the bytes written so far, one number a line. zipfile checks each member's CRC.
"""
import fnmatch
import os
import sys
import zipfile

WANTED = [
    "tensorflow/libtensorflow_cc.so.2",
    "tensorflow/libtensorflow_framework.so.2",
    "tensorflow/include/tensorflow/c/*.h",
    "tensorflow/include/tensorflow/core/platform/ctstring*",
    "tensorflow/include/tsl/platform/ctstring*",
    "tensorflow/include/xla/tsl/c/*",
    "tensorflow-*.dist-info/licenses/*",
    "tensorflow_cpu-*.dist-info/licenses/*",
]
CHUNK_BYTES = 8 << 20


def target(name):
    if name.startswith("tensorflow/include/"):
        return os.path.join("include", name[len("tensorflow/include/"):])
    if ".dist-info/" in name:
        return os.path.join("licenses", os.path.basename(name))
    return os.path.join("lib", os.path.basename(name))


def main(wheel, folder):
    done = 0
    with zipfile.ZipFile(wheel) as archive:
        members = [m for m in archive.infolist() if not m.is_dir() and any(fnmatch.fnmatchcase(m.filename, w) for w in WANTED)]
        print("total", sum(m.file_size for m in members), flush=True)
        for member in members:
            path = os.path.join(folder, target(member.filename))
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with archive.open(member) as source, open(path, "wb") as sink:
                while True:
                    chunk = source.read(CHUNK_BYTES)
                    if not chunk:
                        break
                    sink.write(chunk)
                    done += len(chunk)
                    if len(chunk) == CHUNK_BYTES:
                        print(done, flush=True)
                sink.flush()
                os.fsync(sink.fileno())


main(sys.argv[1], sys.argv[2])
