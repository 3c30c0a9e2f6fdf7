"""Samples of a generated model, and whether onnxruntime runs it on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime

from tests.fuzz.graphs.draft import Port

SAMPLES = 12  # batches for calibration: enough that what needs eight samples has them
Feeds = dict[str, np.ndarray]

onnxruntime.set_default_logger_severity(4)


def rows(ports: Sequence[Port], seed: int, count: int) -> Feeds:
    """``count`` batches of samples, joined along the batch; inputs without a batch get one value."""
    rng = np.random.default_rng([seed, 77])
    return {port.name: _values(port, rng, count if port.batched else 1) for port in ports}


def _values(port: Port, rng: np.random.Generator, count: int) -> np.ndarray:
    shape = (port.shape[0] * count, *port.shape[1:]) if port.batched else port.shape
    if port.kind == "ids":
        return rng.integers(0, port.high, shape)
    if port.kind == "mask":
        return rng.random(shape) < 0.7
    return rng.standard_normal(shape).astype(port.dtype)


def batches(ports: Sequence[Port], joined: Feeds, first: int, count: int, *, times: int = 1) -> list[Feeds]:
    """Single feeds out of joined samples, each of so many batches."""
    found = []
    for index in range(first, first + count):
        feed = {}
        for port in ports:
            values = joined[port.name]
            size = port.shape[0] if port.batched else 0
            feed[port.name] = values[index * size : (index + times) * size] if port.batched else values
        found.append(feed)
    return found


def session(model: onnx.ModelProto | bytes, level: str = "all") -> onnxruntime.InferenceSession:
    """Open a model on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if level == "all" else levels.ORT_DISABLE_ALL
    content = model if isinstance(model, bytes) else model.SerializeToString()
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def outputs(opened: Any, feeds: Sequence[Feeds]) -> list[list[np.ndarray]]:
    """Run every feed, in the float type that the session takes; one list of outputs for each."""
    halves = {port.name for port in opened.get_inputs() if port.type == "tensor(float16)"}

    def run(feed: Feeds) -> list[np.ndarray]:
        values = {name: v.astype(np.float16) if name in halves else v for name, v in feed.items()}
        return [np.asarray(value) for value in opened.run(None, values)]

    return [run(feed) for feed in feeds]


def check(model: onnx.ModelProto) -> None:
    """Check a model by onnx; an output without a declared shape, which onnxruntime takes, is let through."""
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        if "Field 'shape' of 'type' is required" not in str(error):
            raise


def runs(model: onnx.ModelProto, ports: Sequence[Port], seed: int) -> bool:
    """Whether the model is valid by onnx and runs on samples of its own, a dynamic one at two batch sizes."""
    joined = rows(ports, seed, 3)
    feeds = batches(ports, joined, 0, 2)
    dims = [value.type.tensor_type.shape.dim for value in model.graph.input if value.name == "x"]
    if dims and dims[0] and dims[0][0].dim_param:
        feeds.append({port.name: joined[port.name] for port in ports})
    try:
        check(model)
        opened = session(model)
        values = outputs(opened, feeds)
    except Exception:  # whatever it is: this is no graph to judge by
        return False
    declared = [output.shape for output in opened.get_outputs()]
    return all(_agrees(value.shape, dims) for value, dims in zip(values[0], declared, strict=True)) and all(
        _moderate(value) for value in values[0]
    )


def _agrees(shape: tuple[int, ...], dims: Sequence[Any]) -> bool:
    return not dims or len(shape) == len(dims)


def _moderate(value: np.ndarray) -> bool:
    if value.dtype.kind != "f" or value.size == 0:
        return True
    limit = 1e3 if value.dtype == np.float16 else 1e6
    return bool(np.isfinite(value).all() and np.abs(value).max() < limit)
