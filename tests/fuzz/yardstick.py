"""How far a model's own outputs move: by another order of sums, and by noise on its weights and inputs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.fuzz.graphs.feeds import Feeds, outputs, session

RANDOM = (
    "RandomNormalLike",
    "RandomUniformLike",
    "RandomNormal",
    "RandomUniform",
    "Multinomial",
    "Bernoulli",
)
JUMPS = (
    *("ArgMax", "ArgMin", "TopK", "Round", "Floor", "Ceil", "Sign", "Mod", "Greater", "Less", "Equal"),
    *(
        "GreaterOrEqual",
        "LessOrEqual",
        "Cast",
        "QuantizeLinear",
        "DynamicQuantizeLinear",
        "Hardmax",
        "NonZero",
    ),
    *("IsNaN", "IsInf", "Where", "OneHot", "If"),
)
Outputs = list[list[np.ndarray]]


def behind(model: onnx.ModelProto, operators: Sequence[str]) -> list[bool]:
    """For each output: whether one of these operators lies before it."""
    marked: set[str] = set()
    for node in model.graph.node:
        inner = [inner_node for a in node.attribute for inner_node in a.g.node]
        reads = {*node.input, *(name for inner_node in inner for name in inner_node.input)}
        types = {node.op_type, *(inner_node.op_type for inner_node in inner)}
        if types & set(operators) or reads & marked:
            marked.update(node.output)
    return [value.name in marked for value in model.graph.output]


def rounding(
    model: onnx.ModelProto, feeds: Sequence[Feeds], reference: Outputs, draws: int = 2
) -> list[float]:
    """Distance of each output under another order of sums and inputs moved in their last bits."""
    content = model.SerializeToString()
    worst = distances(reference, outputs(session(content, "disabled"), feeds))
    opened = session(content)
    for draw in range(draws):
        moved = outputs(opened, [_moved(feed, 2e-6, draw) for feed in feeds])
        worst = [max(a, b) for a, b in zip(worst, distances(reference, moved), strict=True)]
    return worst


def shares_of_noise(
    model: onnx.ModelProto, feeds: Sequence[Feeds], reference: Outputs, size: float
) -> list[float]:
    """The share of each output's energy that noise of relative ``size`` on weights and inputs takes."""
    noisy = onnx.ModelProto()
    noisy.CopyFrom(model)
    rng = np.random.default_rng(5)
    for tensor in noisy.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and np.prod(tensor.dims) > 1:
            values = numpy_helper.to_array(tensor)
            noise = size * np.abs(values).max() * rng.uniform(-1, 1, values.shape)
            tensor.CopyFrom(numpy_helper.from_array((values + noise).astype(np.float32), tensor.name))
    try:
        moved = outputs(session(noisy), [_moved(feed, size, 9) for feed in feeds])
    except Exception:  # an index or a size that moved: nothing to compare with
        return [np.inf] * len(reference[0])
    return shares(reference, moved)


def shares_of_clipping(
    model: onnx.ModelProto, samples: Sequence[Feeds], feeds: Sequence[Feeds], reference: Outputs
) -> list[float]:
    """The share of each energy that is lost by clipping inner tensors to their range over ``samples``.

    Ranges that are measured on so few samples cannot do better on a feed that leaves them.
    """
    produced = {name for node in model.graph.node for name in node.output}
    infos = onnx.shape_inference.infer_shapes(model).graph
    floats = [
        value
        for value in (*infos.value_info, *infos.output)
        if value.name in produced and value.type.tensor_type.elem_type == TensorProto.FLOAT
    ]
    observed = onnx.ModelProto()
    observed.CopyFrom(model)
    del observed.graph.output[:]
    observed.graph.output.extend(floats)
    rows_of_values = outputs(session(observed), samples)
    limits = {
        value.name: (
            min(row[index].min() for row in rows_of_values),
            max(row[index].max() for row in rows_of_values),
        )
        for index, value in enumerate(floats)
        if all(row[index].size for row in rows_of_values)
    }
    return shares(reference, outputs(session(_clipped(model, limits)), feeds))


def _clipped(model: onnx.ModelProto, limits: dict[str, tuple[np.float32, np.float32]]) -> onnx.ModelProto:
    """The model with a Min and a Max behind each tensor that has limits."""
    clipped = onnx.ModelProto()
    clipped.CopyFrom(model)
    del clipped.graph.node[:]
    for node in model.graph.node:
        copied = clipped.graph.node.add()
        copied.CopyFrom(node)
        for index, name in enumerate(node.output):
            if name not in limits:
                continue
            copied.output[index] = f"{name}/raw"
            for limit, value in zip(("low", "high"), limits[name], strict=True):
                tensor = numpy_helper.from_array(np.float32(value), f"{name}/{limit}")
                clipped.graph.initializer.append(tensor)
            clipped.graph.node.append(
                helper.make_node("Max", [f"{name}/raw", f"{name}/low"], [f"{name}/max"])
            )
            clipped.graph.node.append(helper.make_node("Min", [f"{name}/max", f"{name}/high"], [name]))
    return clipped


def distances(reference: Outputs, other: Outputs) -> list[float]:
    """max|d| / max|reference| of each output over all feeds; for whole numbers the fraction that differs."""
    found = []
    for index in range(len(reference[0])):
        pairs = [(row[index], changed[index]) for row, changed in zip(reference, other, strict=True)]
        found.append(_distance(pairs))
    return found


def shares(reference: Outputs, other: Outputs) -> list[float]:
    """Energy of the difference as a share of the reference's energy, for each output; 0 for whole numbers."""
    found = []
    for index, first in enumerate(reference[0]):
        if first.dtype.kind != "f":
            found.append(0.0)
            continue
        pairs = [(row[index], changed[index]) for row, changed in zip(reference, other, strict=True)]
        error = sum(float(np.square(np.float64(b) - np.float64(a)).sum()) for a, b in pairs)
        energy = sum(float(np.square(np.float64(a)).sum()) for a, _ in pairs)
        found.append(error / energy if energy else (0.0 if error < 1e-12 else np.inf))
    return found


def _distance(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> float:
    if any(a.shape != b.shape for a, b in pairs):
        return np.inf
    if pairs[0][0].dtype.kind != "f":
        return float(np.mean([np.mean(a != b) if a.size else 0.0 for a, b in pairs]))
    scale = max((float(np.abs(a).max()) for a, _ in pairs if a.size), default=0.0)
    apart = max((float(np.abs(np.float64(a) - np.float64(b)).max()) for a, b in pairs if a.size), default=0.0)
    if not np.isfinite(apart):
        return np.inf
    return apart / scale if scale > 1e-30 else (0.0 if apart < 1e-12 else np.inf)


def _moved(feed: Feeds, size: float, draw: int) -> Feeds:
    rng = np.random.default_rng([draw, 3])

    def move(values: np.ndarray) -> np.ndarray:
        if values.dtype.kind != "f":
            return values
        size_here = max(size, 1e-3) if values.dtype == np.float16 else size
        return (values * (1 + size_here * rng.uniform(-1, 1, values.shape))).astype(values.dtype)

    return {name: move(values) for name, values in feed.items()}
