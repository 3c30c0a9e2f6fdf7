"""What a sample model must satisfy before it is kept: measured on the written file with onnxruntime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from make_models_parts.fashion import PREPROCESS, Split, normalise
from make_models_parts.metadata import INPUT

LARGEST_MODEL = 1_000_000  # bytes


def logits(path: Path, split: Split, batch: int = 500) -> NDArray[np.float32]:
    """The model's answers for every image of `split`: (N, 10)."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    pieces = np.split(split.images, range(batch, len(split.images), batch))
    return np.concatenate([session.run(None, {INPUT: normalise(piece)})[0] for piece in pieces])


def check(path: Path, test: Split, evaluation: int, target: float) -> None:
    """Print the top-1 of all test images and of the first `evaluation`; refuse a model that falls short."""
    _check_structure(path)
    right = logits(path, test).argmax(axis=1) == test.labels
    print(
        f"{path.name}: top-1 {right.mean():.4f} on {len(right)} test images, "
        f"{right[:evaluation].mean():.4f} on the first {evaluation}, {path.stat().st_size} bytes"
    )
    if right.mean() < target:
        raise ValueError(f"{path} reaches top-1 {right.mean():.4f} of {target}: train longer (--epochs)")


def largest_difference(path: Path, reference: Path, split: Split) -> float:
    """The largest absolute difference between the answers of two models."""
    return float(np.abs(logits(path, split) - logits(reference, split)).max())


def check_scenes(path: Path, scenes: Path, metric: str, target: float) -> None:
    """Print how well a detector (mAP) or segmenter (mIoU) does on the shipped scenes; refuse a poor one."""
    from graphopt import api

    _check_structure(path)
    task, labels = ("detection", "boxes") if metric == "mAP" else ("segmentation", "masks")
    found = api.evaluate(
        path, f"{scenes}#images", task=task, labels=f"{scenes}#{labels}", preprocess=PREPROCESS
    ).metrics
    print(f"{path.name}: {dict(found)}, {path.stat().st_size} bytes")
    if found[metric] < target:
        raise ValueError(f"{path} reaches {metric} {found[metric]:.4f} of {target}: train longer")


def _check_structure(path: Path) -> None:
    model = onnx.load(path)
    if not any(node.op_type == "BatchNormalization" for node in model.graph.node):
        raise ValueError(f"{path} has no BatchNormalization: the exporter folded it")
    if model.graph.input[0].type.tensor_type.shape.dim[0].HasField("dim_value"):
        raise ValueError(f"{path} has a fixed batch size: its first dimension must be dynamic")
    size = path.stat().st_size
    if size > LARGEST_MODEL:
        raise ValueError(f"{path} has {size} bytes: at most {LARGEST_MODEL} go into the repository")
