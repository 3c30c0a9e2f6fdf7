"""Train real graphs a little: a copy with noisy weights is drawn back to the original."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from graphopt import data, ir
from graphopt.passes.distill import Distill
from graphopt.passes.distill.backends.base import open_backend
from graphopt.passes.distill.job.run import Distillation
from graphopt.pipeline.contract.context import Context, RunSettings
from graphopt.pipeline.run.inputs import Inputs

REAL = {  # the size to train at, and how many synthetic images
    "ppocr_v2_cls": ((1, 3, 48, 192), 64),
    "ppocr_v4_det": ((1, 3, 96, 96), 48),
    "cifar_resnet20_bn": ((1, 3, 32, 32), 64),
    "efficientnet_lite0_bn": ((1, 3, 224, 224), 24),
    "mtcnn_onet": ((1, 3, 48, 48), 64),
}
NOISE = 0.05  # of the root mean square of each weight
BATCH = 4


def train_real(path: Path, shape: tuple[int, ...], count: int) -> dict[str, Any]:
    """The loss on held-out samples before and after, and how exactly trained weights arrive in the student.

    The trainer checks the gradients along random directions before it trains, and fails when they are wrong.
    """
    teacher, student = ir.load(path), ir.load(path)
    add_noise(student)
    port = teacher.signature.inputs[0]
    shapes = {port.name: shape}
    drawn = data.synthetic([port], shapes, count, 0)
    images = np.concatenate([sample.feeds[port.name] for sample in drawn])
    samples = data.from_arrays({port.name: images}, [port], shapes=shapes)
    ctx = Context(Inputs(student, calibration=samples, shapes=shapes), RunSettings())
    request = Distill(epochs=3, batch=BATCH, lr=1e-5, validation=0.25).request(student, ctx)
    outcome = Distillation(student, teacher, request, open_backend("ort"), ctx).run(samples)
    found = {"before": outcome.before.loss, "after": outcome.after.loss, "tensors": len(outcome.tuned.values)}
    return {**found, "write_back": _write_back(outcome.student, outcome.tuned.values)}


def add_noise(model: ir.Model) -> None:
    """Disturb the weights of all layers, in place."""
    rng = np.random.default_rng(0)
    for node in model.graph.find("Conv", "ConvTranspose", "Gemm", "MatMul"):
        weight = node.inputs[1].constant
        if weight is not None and weight.dtype == np.float32:
            size = NOISE * np.sqrt(np.mean(np.square(weight)))
            noisy = weight + size * rng.standard_normal(weight.shape)
            model.graph.set_constant(node, 1, noisy.astype(np.float32))


def _write_back(student: ir.Model | None, values: Any) -> float:
    """The largest difference between what was trained and what the student holds; infinite without one."""
    if student is None:
        return float("inf")
    held = {tensor.name: tensor for node in student.graph.nodes for tensor in (*node.inputs, *node.outputs)}
    worst = 0.0
    for name, value in values.items():
        own = held[name].constant if name in held else None
        own = own if own is not None else held[f"{name}.trained"].constant
        assert own is not None
        worst = max(worst, float(np.abs(own - value).max()))
    return worst
