"""Largest values found within the run are those of the whole tensors; what is not finite is not lost."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from graphopt import data, ir
from graphopt.calibration import Range, StatisticSpec, collect
from graphopt.calibration.fused_extremes import PooledSession, poolable
from graphopt.errors import DataError
from graphopt.runtime import SessionOptions

SIDE, CHANNELS = 6, 20


def model(op: str = "Identity") -> ir.Model:
    """x -> op -> Relu r -> Conv c, the identity -> Relu s -> mean m -> Relu y; r as doubles d and flat f."""
    nodes = [
        helper.make_node(op, ["x"], ["a"]),
        helper.make_node("Relu", ["a"], ["r"]),
        helper.make_node("Conv", ["r", "w"], ["c"]),
        helper.make_node("Relu", ["c"], ["s"]),
        helper.make_node("GlobalAveragePool", ["s"], ["m"]),
        helper.make_node("Relu", ["m"], ["y"]),
        helper.make_node("Cast", ["r"], ["d"], to=TensorProto.DOUBLE),
        helper.make_node("Flatten", ["r"], ["f"]),
    ]
    weights = numpy_helper.from_array(np.eye(CHANNELS, dtype=np.float32)[:, :, None, None], "w")
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", CHANNELS, SIDE, SIDE])],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in OUTPUTS.items()],
        [weights],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return ir.from_bytes(proto.SerializeToString())


OUTPUTS = {"y": TensorProto.FLOAT, "d": TensorProto.DOUBLE, "f": TensorProto.FLOAT}


def values(count: int = 5) -> np.ndarray:
    """Inputs, negative ones among them."""
    return np.random.default_rng(0).normal(size=(count, CHANNELS, SIDE, SIDE)).astype(np.float32)


def collected(net: ir.Model, given: np.ndarray, **options: object) -> dict[str, Range]:
    """Ranges with a floor of the tensors r and s."""
    samples = data.from_arrays({"x": given}, net.signature.inputs)
    found = collect(net, {name: [StatisticSpec.of("range", floor=0.0)] for name in "rs"}, samples, **options)
    return {name: statistic for name, (statistic,) in found.items()}


def test_only_images_in_float32_are_pooled() -> None:
    names = ["r", "c", "s", "m", "y", "d", "f"]
    assert poolable(model(), names, {"x": values(1)}) == ["r", "c", "s"]


def test_a_pooled_tensor_comes_as_the_largest_value_of_each_channel() -> None:
    net, given = model(), values(1)
    found = PooledSession(net, ["r", "m", "s"], ["r", "s"], SessionOptions()).run({"x": given})
    largest = np.maximum(given, 0).max(axis=(2, 3), keepdims=True)
    assert set(found) == {"r", "m", "s"}
    np.testing.assert_array_equal(found["r"], largest)
    np.testing.assert_array_equal(found["s"], largest)
    assert [node.op for node in net.graph.nodes].count("GlobalMaxPool") == 0


@pytest.mark.parametrize("batch", [1, 2, 100])
def test_the_range_is_that_of_all_values(batch: int) -> None:
    given = values()
    for found in collected(model(), given, batch=batch).values():
        assert (found.minimum, found.maximum) == (0.0, given.max())
        assert found.count > 0 and found.nonfinite == 0


@pytest.mark.parametrize(("op", "bad"), [("Sqrt", -1.0), ("Reciprocal", 0.0)])  # NaN, infinite
@pytest.mark.parametrize("place", [(0, 0, 0, 0), (2, 19, 5, 5), (4, 7, 2, 3)])
def test_what_is_not_finite_is_found_and_counted(op: str, bad: float, place: tuple[int, ...]) -> None:
    given = np.abs(values()) + np.float32(0.1)
    given[place] = bad
    with pytest.raises(DataError, match=r"tensor r .*holds 1 NaN or infinite"):
        collected(model(op), given)
    found = collected(model(op), given, allow_nonfinite=True)["r"]
    finite = np.delete(given.ravel(), np.ravel_multi_index(place, given.shape))
    assert found.nonfinite == 1
    np.testing.assert_allclose(found.maximum, (np.sqrt if op == "Sqrt" else np.reciprocal)(finite).max())


def test_other_statistics_of_the_same_tensor_still_see_all_of_it() -> None:
    net, given = model(), values()
    samples = data.from_arrays({"x": given}, net.signature.inputs)
    span, histogram = collect(net, {"r": [StatisticSpec.of("range", floor=0.0), "histogram"]}, samples)["r"]
    assert histogram.counts.sum() == given.size and span.maximum == histogram.maximum
