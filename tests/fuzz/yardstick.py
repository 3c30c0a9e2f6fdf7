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


def is_fragile(model: onnx.ModelProto, feeds: Sequence[Feeds], size: float, draws: int = 8) -> bool:
    """Whether factors that near one on weights make the model's own outputs infinite or NaN.

    As MeanVarianceNormalization does, as onnxruntime computes it, with a channel that is constant.
    """
    for draw in range(draws):
        rng, noisy = np.random.default_rng([draw, 8]), onnx.ModelProto()
        noisy.CopyFrom(model)
        for tensor in noisy.graph.initializer:
            if tensor.data_type == TensorProto.FLOAT:
                values = numpy_helper.to_array(tensor)
                moved = (values * (1 + size * rng.uniform(-1, 1, values.shape))).astype(np.float32)
                tensor.CopyFrom(numpy_helper.from_array(moved, tensor.name))
        try:
            rows_of_values = outputs(session(noisy), feeds)
        except Exception:  # an index or a size that moved
            continue
        if not all(np.isfinite(a).all() for row in rows_of_values for a in row if a.dtype.kind == "f"):
            return True
    return False


def shares_of_storing(
    model: onnx.ModelProto, samples: Sequence[Feeds], feeds: Sequence[Feeds], reference: Outputs
) -> list[float]:
    """The share of each energy that storing tensors in 8 bits, over their range on ``samples``, takes.

    Tensor by tensor, the errors (not the energies) added up: together, what one leaves another one would hide
    by its own range.  Ranges that are measured on so few samples cannot do better on a feed that leaves them.
    """
    limits = {}
    for name, seen in _inner_floats(model, samples).items():
        if (span := max(map(np.max, seen)) - (low := min(map(np.min, seen)))) > 0:
            limits[name] = (low, span)
    errors = [np.sqrt(shares(reference, outputs(session(model), _stored_feeds(samples, feeds))))]
    for name, (low, span) in limits.items():
        alone = shares(reference, outputs(session(_stored(model, name, low, span)), feeds))
        errors.append(np.sqrt(alone))
    return list(np.square(np.sum(errors, axis=0)))


def _inner_floats(model: onnx.ModelProto, samples: Sequence[Feeds]) -> dict[str, list[np.ndarray]]:
    """What each float tensor that is no input holds on each sample, those without elements left out."""
    made = [node for node in model.graph.node if "Sequence" not in node.op_type]
    names = list(dict.fromkeys(name for node in made for name in node.output if name))
    observed = onnx.ModelProto()
    observed.CopyFrom(model)
    del observed.graph.output[:]
    observed.graph.output.extend(
        onnx.ValueInfoProto(name=name) for name in names
    )  # onnxruntime knows the types
    rows_of_values = outputs(session(observed), samples)
    columns = {name: [row[index] for row in rows_of_values] for index, name in enumerate(names)}
    return {
        name: [values for values in column if values.size]
        for name, column in columns.items()
        if column[0].dtype == np.float32 and any(values.size for values in column)
    }


def _stored_feeds(samples: Sequence[Feeds], feeds: Sequence[Feeds]) -> list[Feeds]:
    """The feeds with their floats in 8 bits over their range on the samples."""

    def store(name: str, values: np.ndarray) -> np.ndarray:
        seen = [sample[name] for sample in samples if sample[name].size]
        if values.dtype.kind != "f" or not seen:
            return values
        low, high = min(map(np.min, seen)), max(map(np.max, seen))
        step = (high - low) / 255 or 1.0
        return (low + step * np.round((np.clip(values, low, high) - low) / step)).astype(values.dtype)

    return [{name: store(name, values) for name, values in feed.items()} for feed in feeds]


def _stored(model: onnx.ModelProto, name: str, low: float, span: float) -> onnx.ModelProto:
    """The model with low + span * round(255 * clip((x - low) / span, 0, 1)) / 255 behind one tensor."""
    stored = onnx.ModelProto()
    stored.CopyFrom(model)
    del stored.graph.node[:]
    for node in model.graph.node:
        copied = stored.graph.node.add()
        copied.CopyFrom(node)
        if name not in node.output:
            continue
        copied.output[list(node.output).index(name)] = last = f"{name}/raw"
        steps = (("Sub", low), ("Max", 0), ("Min", span), ("Mul", 255 / span), ("Round", None))
        for number, (op, value) in enumerate((*steps, ("Mul", span / 255), ("Add", low))):
            operands = [last]
            if value is not None:
                operands.append(f"{name}/{number}")
                stored.graph.initializer.append(numpy_helper.from_array(np.float32(value), operands[1]))
            last = name if op == "Add" else f"{name}/{op}{number}"
            stored.graph.node.append(helper.make_node(op, operands, [last]))
    return stored


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
