"""What every sample model says about itself."""

from __future__ import annotations

from pathlib import Path

import onnx

from make_models_parts.fashion import CLASSES, PREPROCESS

INPUT = "images"
OUTPUT = "logits"


def describe(path: Path, task: str = "image classification") -> None:
    """Write task, dataset, preprocessing and class names into the metadata of the model at `path`."""
    model = onnx.load(path)
    facts = {
        "task": task,
        "dataset": "Fashion-MNIST (Zalando SE, MIT licence), 60000 training images",
        "preprocessing": PREPROCESS,
        "classes": ",".join(CLASSES),
    }
    onnx.helper.set_model_props(model, facts)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
