"""Sizes for dynamic dimensions: overrides, samples, the file, then trials."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from onnx import NodeProto, TensorProto, helper

from graphopt import data, ir
from graphopt.errors import ModelError, UsageError
from graphopt.runtime import trial_shapes

Dims = Sequence[int | str | None]


def model(
    inputs: dict[str, Dims | None], nodes: list[NodeProto], constants: dict[str, list[int]] | None = None
) -> ir.Model:
    """A model that ends in `y`; integer constants by name."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in inputs.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [helper.make_tensor(n, TensorProto.INT64, [len(v)], v) for n, v in (constants or {}).items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return ir.from_bytes(proto.SerializeToString())


def relu(dims: Dims | None) -> ir.Model:
    return model({"x": dims}, [helper.make_node("Relu", ["x"], ["y"])])


def runs_only_at(elements: int, dims: Dims) -> ir.Model:
    """A model whose Reshape fails unless the input has this many elements."""
    return model({"x": dims}, [helper.make_node("Reshape", ["x", "s"], ["y"])], {"s": [1, elements]})


def test_declared_sizes_need_no_trial() -> None:
    result = trial_shapes(relu([1, 3, 5, 7]))
    assert result.shapes == {"x": (1, 3, 5, 7)} and result.announcement == ""


@pytest.mark.parametrize(
    "dims", [["N", 3, "H", "W"], [None, 3, None, None], [-1, 3, -1, -1], ["?", 3, "?", "?"]]
)
def test_open_image_sizes_start_at_224(dims: Dims) -> None:
    result = trial_shapes(relu(dims))
    assert result.shapes == {"x": (1, 3, 224, 224)}
    assert "--shape x=1x3x224x224" in result.announcement


@pytest.mark.parametrize(
    ("dims", "expected"),
    [
        (["N", "H", "W", 3], (1, 224, 224, 3)),
        (["N", 1, "H", "W"], (1, 1, 224, 224)),
        ([None, None, None, None], (1, 3, 224, 224)),
        (["N", 3, 48, "W"], (1, 3, 48, 224)),
        ([3, "H", "W"], (3, 224, 224)),
        (["N", 64, "H", "W"], (1, 64, 1, 1)),
        (["N", "T", 40], (1, 1, 40)),
        (["N"], (1,)),
        ([], ()),
    ],
)
def test_layouts_and_other_inputs(dims: Dims, expected: tuple[int, ...]) -> None:
    assert trial_shapes(relu(dims)).shapes == {"x": expected}


@pytest.mark.parametrize("size", [(320, 320), (640, 640), (48, 192)])
def test_the_first_size_that_runs_is_taken(size: tuple[int, int]) -> None:
    height, width = size
    result = trial_shapes(runs_only_at(3 * height * width, ["N", 3, "H", "W"]))
    assert result.shapes == {"x": (1, 3, height, width)}


def test_a_sequence_length_is_tried_too() -> None:
    assert trial_shapes(runs_only_at(512, ["N", "T"])).shapes == {"x": (1, 512)}


def test_a_model_that_runs_at_no_trial_size_names_the_option() -> None:
    with pytest.raises(ModelError, match="none of the trial sizes") as caught:
        trial_shapes(runs_only_at(3 * 100 * 100, ["N", 3, "H", "W"]))
    assert "--shape x=1x3xHxW" in caught.value.hint


def test_equal_symbols_get_equal_sizes() -> None:
    add = [helper.make_node("Add", ["a", "b"], ["y"])]
    two = model({"a": ["N", 3, "H", "W"], "b": ["N", 3, "H", "W"]}, add)
    assert set(trial_shapes(two).shapes.values()) == {(1, 3, 224, 224)}
    assert trial_shapes(two, {"b": (2, 3, 9, 9)}).shapes["a"] == (2, 3, 9, 9)


def test_an_override_decides_without_a_trial() -> None:
    result = trial_shapes(runs_only_at(3 * 100 * 100, ["N", 3, "H", "W"]), {"x": (1, 3, 100, 100)})
    assert result.shapes == {"x": (1, 3, 100, 100)} and result.announcement == ""


def test_samples_decide_where_nothing_is_overridden() -> None:
    net = relu(["N", 3, "H", "W"])
    samples = data.from_arrays({"x": np.zeros((4, 3, 30, 31), np.float32)}, net.signature.inputs)
    result = trial_shapes(net, samples=samples)
    assert result.shapes == {"x": (1, 3, 30, 31)} and "from the samples" in result.announcement
    assert trial_shapes(net, {"x": (1, 3, 8, 8)}, samples).shapes == {"x": (1, 3, 8, 8)}


@pytest.mark.parametrize("shape", [(1, 3, 224), (1, 4, 224, 224)])
def test_an_override_that_contradicts_the_model_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="contradicts"):
        trial_shapes(relu(["N", 3, "H", "W"]), {"x": shape})


def test_an_override_for_no_input_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="not an input") as caught:
        trial_shapes(relu(["N", 3, "H", "W"]), {"xx": (1, 3, 8, 8)})
    assert caught.value.hint == "did you mean 'x'?"


def test_an_unknown_rank_asks_for_the_shape() -> None:
    with pytest.raises(ModelError, match="how many dims") as caught:
        trial_shapes(relu(None))
    assert "--shape x=" in caught.value.hint
    assert trial_shapes(relu(None), {"x": (2, 2)}).shapes == {"x": (2, 2)}
