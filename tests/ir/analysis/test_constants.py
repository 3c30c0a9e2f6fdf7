"""Values that are told without running are those that the runtime computes, and unknown ones stay unknown."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from graphopt import ir
from graphopt.ir.analysis.constants import ELEMENTWISE, KERNELS, Value, as_type, compute, is_known
from graphopt.ir.analysis.facts import gather_facts

ort.set_default_logger_severity(4)
TYPES = [np.int64, np.int32, np.uint8, np.float32, np.bool_]
CODES = {np.dtype(t): helper.np_dtype_to_tensor_dtype(np.dtype(t)) for t in [*TYPES, np.float16, np.int8]}
shapes = st.lists(st.integers(0, 3), max_size=3).map(tuple)
small = st.integers(-6, 6)


@st.composite
def arrays(draw: st.DrawFn, dtype: Any = None, shape: Any = None) -> np.ndarray:
    dtype = np.dtype(draw(st.sampled_from(TYPES)) if dtype is None else dtype)
    shape = draw(shapes) if shape is None else shape
    numbers = draw(st.lists(small, min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))
    return np.array(numbers, np.int64).astype(dtype).reshape(shape)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


@st.composite
def nodes(draw: st.DrawFn, op: str) -> tuple[list[np.ndarray], dict[str, Any]]:
    """Inputs and attributes for an operator; not all of them are valid."""
    return DRAW.get(op, _elementwise)(draw)


def _elementwise(draw: st.DrawFn) -> tuple[list[np.ndarray], dict[str, Any]]:
    dtype = draw(st.sampled_from([np.int64, np.int32, np.uint8, np.float32]))
    shape = draw(shapes)
    other = draw(st.sampled_from([shape, (), (1,), (3, 1), shape[1:]]))
    return [draw(arrays(dtype, shape)), draw(arrays(dtype, other))], {}


def _cast(draw: st.DrawFn) -> tuple[list[np.ndarray], dict[str, Any]]:
    return [draw(arrays())], {"to": CODES[np.dtype(draw(st.sampled_from(TYPES)))]}


def _concat(draw: st.DrawFn) -> tuple[list[np.ndarray], dict[str, Any]]:
    dtype, shape = draw(st.sampled_from(TYPES)), draw(shapes)
    assume(shape)
    parts = [draw(arrays(dtype, shape)) for _ in range(draw(st.integers(1, 3)))]
    return parts, {"axis": draw(st.integers(-len(shape), len(shape) - 1))}


def _gather(draw: st.DrawFn) -> tuple[list[np.ndarray], dict[str, Any]]:
    data, indices = draw(arrays()), draw(arrays(draw(st.sampled_from([np.int64, np.int32]))))
    assume(data.ndim)
    return [data, indices], {"axis": draw(st.integers(-data.ndim, data.ndim - 1))}


def _slice(draw: st.DrawFn) -> tuple[list[np.ndarray], dict[str, Any]]:
    data = draw(arrays())
    axes = draw(st.permutations(range(data.ndim)))[: draw(st.integers(0, data.ndim))]
    axes = [axis - data.ndim * draw(st.booleans()) for axis in axes]
    bounds = st.one_of(small, st.sampled_from([2**63 - 1, -(2**63), 2**31 - 1, -100, 100]))
    starts, ends = (ints(*(draw(bounds) for _ in axes)) for _ in range(2))
    steps = ints(*(draw(st.sampled_from([1, 1, 2, -1, -2])) for _ in axes))
    return [data, starts, ends, ints(*axes), steps], {}


def _axes(draw: st.DrawFn) -> tuple[list[np.ndarray], dict[str, Any]]:
    data = draw(arrays())
    axes = draw(st.lists(st.integers(-data.ndim - 1, data.ndim), unique=True, max_size=2))
    return [data, ints(*axes)], {}


def _squeeze(draw: st.DrawFn) -> tuple[list[np.ndarray], dict[str, Any]]:
    data = draw(arrays(None, draw(st.lists(st.sampled_from([1, 1, 2]), max_size=4).map(tuple))))
    ones = [axis for axis, size in enumerate(data.shape) if size == 1]
    axes = draw(st.lists(st.sampled_from(ones), unique=True)) if ones else []
    return ([data, ints(*axes)] if draw(st.booleans()) else [data]), {}


def _reshape(draw: st.DrawFn) -> tuple[list[np.ndarray], dict[str, Any]]:
    data = draw(arrays())
    sizes = list(draw(st.permutations(data.shape))) + [1] * draw(st.integers(0, 1))
    for index in range(len(sizes)):
        sizes[index] = draw(st.sampled_from([sizes[index], sizes[index], 0, -1]))
    return [data, ints(*sizes)], {"allowzero": int(draw(st.booleans()))}


def _transpose(draw: st.DrawFn) -> tuple[list[np.ndarray], dict[str, Any]]:
    data = draw(arrays())
    given_order = data.ndim and draw(st.booleans())
    return [data], {"perm": draw(st.permutations(range(data.ndim)))} if given_order else {}


def _fill(draw: st.DrawFn) -> tuple[list[np.ndarray], dict[str, Any]]:
    fill = {"value": numpy_helper.from_array(draw(arrays(None, (1,))))} if draw(st.booleans()) else {}
    return [ints(*draw(shapes))], fill


def _expand(draw: st.DrawFn) -> tuple[list[np.ndarray], dict[str, Any]]:
    data = draw(arrays())
    sizes = [draw(st.sampled_from([size, 1, 2])) for size in data.shape]
    return [data, ints(*([2] * draw(st.integers(0, 1))), *sizes)], {}


def _range(draw: st.DrawFn) -> tuple[list[np.ndarray], dict[str, Any]]:
    dtype = draw(st.sampled_from([np.int64, np.int32, np.float32]))
    return [draw(arrays(dtype, ())) for _ in range(3)], {}


def _prod(draw: st.DrawFn) -> tuple[list[np.ndarray], dict[str, Any]]:
    data = draw(arrays(draw(st.sampled_from([np.int64, np.int32, np.float32]))))
    attrs = {"keepdims": int(draw(st.booleans())), "noop_with_empty_axes": int(draw(st.booleans()))}
    axes = draw(st.sampled_from([None, [], [0], [-1]]))
    return ([data] if axes is None else [data, ints(*axes)]), attrs


def _identity(draw: st.DrawFn) -> tuple[list[np.ndarray], dict[str, Any]]:
    return [draw(arrays())], {}


DRAW = {
    "Identity": _identity,
    "Cast": _cast,
    "Concat": _concat,
    "Gather": _gather,
    "Slice": _slice,
    "Unsqueeze": _axes,
    "Squeeze": _squeeze,
    "Reshape": _reshape,
    "Transpose": _transpose,
    "ConstantOfShape": _fill,
    "Expand": _expand,
    "Range": _range,
    "ReduceProd": _prod,
}


def model_of(op: str, inputs: list[np.ndarray], attrs: dict[str, Any]) -> bytes:
    """A model of one node that reads graph inputs."""
    names = [f"in{index}" for index in range(len(inputs))]
    infos = [
        helper.make_tensor_value_info(n, CODES[a.dtype], a.shape) for n, a in zip(names, inputs, strict=True)
    ]
    output = helper.make_tensor_value_info("y", TensorProto.UNDEFINED, None)
    output.ClearField("type")
    graph = helper.make_graph([helper.make_node(op, names, ["y"], **attrs)], "g", infos, [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return bytes(model.SerializeToString())


def run(content: bytes, inputs: list[np.ndarray]) -> np.ndarray | None:
    """What the runtime computes; None when it refuses the node or would break on it."""
    node = ir.from_bytes(content).graph.nodes[0]
    if node.op == "Div" and inputs[1].dtype.kind in "iu" and not inputs[1].all():
        return None
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = ort.InferenceSession(content, options, ["CPUExecutionProvider"])
        return np.asarray(session.run(None, {f"in{i}": a for i, a in enumerate(inputs)})[0])
    except Exception:  # the runtime's errors have no base
        return None


def told(content: bytes, values: list[Value | None], dtype: np.dtype[Any]) -> Value | None:
    node = ir.from_bytes(content).graph.nodes[0]
    value = compute(node, values)
    return None if value is None else as_type(value, dtype)


ALWAYS_TOLD = {"Identity", "Gather", "Unsqueeze", "Reshape", "Transpose", "Expand"}


@pytest.mark.parametrize("op", sorted(KERNELS))
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_known_values_are_what_the_runtime_computes(op: str, data: st.DataObject) -> None:
    inputs, attrs = data.draw(nodes(op))
    content = model_of(op, inputs, attrs)
    expected = run(content, inputs)
    if expected is None:
        return
    value = told(content, list(inputs), expected.dtype)
    if (op in ALWAYS_TOLD and inputs[0].size) or (
        op in ELEMENTWISE and op != "Div" and inputs[0].dtype == np.int64
    ):
        assert value is not None
    if value is not None and is_known(value):
        assert value.shape == expected.shape and value.dtype == expected.dtype
        assert np.array_equal(value, expected)


@pytest.mark.parametrize("op", sorted(set(KERNELS) - {"ConstantOfShape", "Range"}))
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_partly_known_values_never_contradict(op: str, data: st.DataObject) -> None:
    """Elements of the first input are hidden: what is still told must not depend on them."""
    inputs, attrs = data.draw(nodes(op))
    first = inputs[0]
    assume(first.dtype == np.int64 and first.size)
    content = model_of(op, inputs, attrs)
    hidden = data.draw(st.lists(st.booleans(), min_size=first.size, max_size=first.size))
    unknown = data.draw(st.sampled_from([None, "N"]))
    partial = np.array(
        [unknown if h else v for h, v in zip(hidden, first.ravel().tolist(), strict=True)], object
    )
    value = compute(ir.from_bytes(content).graph.nodes[0], [partial.reshape(first.shape), *inputs[1:]])
    if value is None:
        return
    for shift in (0, 3, -11):
        other = first.copy()
        other.ravel()[np.array(hidden, bool)] += shift
        expected = run(content, [other, *inputs[1:]])
        if expected is None:
            continue
        value = as_type(value, expected.dtype)
        if value is None:
            return
        assert value.shape == expected.shape
        for ours, theirs in zip(value.flat, expected.flat, strict=True):
            assert ours is None or isinstance(ours, str) or ours == theirs


def chain(*steps: tuple[str, dict[str, Any], list[np.ndarray]]) -> bytes:
    """Shape of an input [N, 5], then one node after the other with constants as further inputs."""
    made, constants, name = [helper.make_node("Shape", ["x"], ["t0"])], [], "t0"
    for index, (op, attrs, others) in enumerate(steps, 1):
        names = [f"c{index}_{i}" for i in range(len(others))]
        constants += [numpy_helper.from_array(a, n) for a, n in zip(others, names, strict=True)]
        made.append(helper.make_node(op, [name, *names], [f"t{index}"], **attrs))
        name = f"t{index}"
    made[-1].output[0] = "y"
    ports = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 5]),
        helper.make_tensor_value_info("y", TensorProto.UNDEFINED, None),
    ]
    ports[1].ClearField("type")
    graph = helper.make_graph(made, "g", ports[:1], ports[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return bytes(model.SerializeToString())


FLOAT, INT, BOOL = ({"to": CODES[np.dtype(t)]} for t in (np.float32, np.int64, np.bool_))
UINT8 = {"to": CODES[np.dtype(np.uint8)]}
CHAINS = {
    "half the size in floats": [("Cast", FLOAT, []), ("Div", {}, [np.float32([2, 2])]), ("Cast", INT, [])],
    "through a boolean": [("Cast", BOOL, []), ("Cast", INT, [])],
    "through an unsigned byte": [
        ("Cast", UINT8, []),
        ("Sub", {}, [np.uint8([6, 6])]),
        ("Cast", INT, []),
        ("Div", {}, [ints(2, 2)]),
    ],
    "backwards": [("Slice", {}, [ints(-1), ints(-9), ints(0), ints(-1)])],
    "beyond 64 bits": [("Mul", {}, [ints(2**62, 2**62)]), ("Mul", {}, [ints(4, 4)])],
}


@pytest.mark.parametrize("title", CHAINS)
@pytest.mark.parametrize("rows", [3, None])
def test_chains_of_shape_arithmetic(title: str, rows: int | None) -> None:
    content = chain(*CHAINS[title])
    model = ir.from_bytes(content)
    facts = gather_facts(model, {"x": (rows, 5)} if rows else None)
    value = facts.value(model.graph.outputs[0])
    for actual in [rows] if rows else [1, 2, 4]:
        try:
            session = ort.InferenceSession(content)
        except Exception:  # the runtime's errors have no base
            pytest.skip("this runtime has no kernel for it")
        expected = session.run(None, {"x": np.zeros((actual, 5), np.float32)})[0]
        for ours, theirs in zip(() if value is None else value.flat, expected.flat, strict=False):
            assert ours is None or isinstance(ours, str) or ours == theirs


def test_a_half_size_in_integers_is_followed() -> None:
    model = ir.from_bytes(chain(("Div", {}, [ints(1, 2)]), ("Concat", {"axis": 0}, [ints(7)])))
    value = gather_facts(model).value(model.graph.outputs[0])
    assert value is not None and value.tolist() == ["N", 2, 7]


def test_an_invalid_node_has_no_value() -> None:
    model = ir.from_bytes(chain(("Reshape", {}, [ints(7)]), ("Gather", {"axis": 9}, [ints(0)])))
    facts = gather_facts(model, {"x": (2, 5)})
    assert all(facts.value(node.output) is None for node in model.graph.nodes[1:])
