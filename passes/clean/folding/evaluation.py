"""Compute what a model of constants yields."""

from __future__ import annotations

import numpy as np

from graphopt.runtime.session import Session


def evaluate(model_bytes: bytes) -> dict[str, np.ndarray]:
    """Run a serialised model without inputs once, unoptimised, and return its outputs by name.

    Meant for constant folding: the values are those onnxruntime computes node by node.
    Raises ModelError when the model does not load or run.
    """
    return Session(model_bytes, optimization="disabled").run({})
