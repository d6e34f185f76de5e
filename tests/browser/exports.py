"""What TensorFlow and ONNX Runtime for Python make of exported models. For each folder that is named: images.bin is uint8 of the shape in shape.json; the model is
saved_model.pb or model.onnx. Prints one JSON list. Called by python.test.ts."""
import json
import os
import sys

import numpy as np


def savedmodel(folder, images):
    import tensorflow as tf

    model = tf.saved_model.load(folder)
    names = [name.decode() for name in model.signatures["class_names"]()["class_names"].numpy()]
    outputs = model.signatures["serving_default"](images=tf.constant(images))
    return names, outputs["probabilities"].numpy(), outputs["log_probabilities"].numpy(), {}


def onnx(folder, images):
    import onnxruntime

    session = onnxruntime.InferenceSession(os.path.join(folder, "model.onnx"), providers=["CPUExecutionProvider"])
    metadata = dict(session.get_modelmeta().custom_metadata_map)
    probabilities, log_probabilities = session.run(["probabilities", "log_probabilities"], {"images": images})
    return json.loads(metadata["class_names"]), probabilities, log_probabilities, metadata


results = []
for folder in sys.argv[1:]:
    with open(os.path.join(folder, "shape.json")) as file:
        images = np.fromfile(os.path.join(folder, "images.bin"), np.uint8).reshape(json.load(file))
    run = onnx if os.path.exists(os.path.join(folder, "model.onnx")) else savedmodel
    names, probabilities, log_probabilities, metadata = run(folder, images)
    results.append({"classNames": names, "probabilities": probabilities.tolist(), "logProbabilities": log_probabilities.tolist(), "metadata": metadata})
print(json.dumps(results))
