"""Values of small tensors, known fully or in part: the arithmetic that exporters do on shapes.

A value is an array; in an object array an element is a number, the symbol of a dimension (str), or None
when nothing is known of it.  Each kernel follows the operator's definition in the ONNX specification and
returns None when it cannot tell.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from graphopt.ir.declared import as_dtype
from graphopt.ir.io.weights import Array

if TYPE_CHECKING:
    from graphopt.ir.graph import Node

LOGGER = logging.getLogger(__name__)
INT64_SPAN = 2**63
MAX_ELEMENTS = 1024  # of a value worth following
# What an invalid node may cause.
MALFORMED = (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError)
Value: TypeAlias = Array
Kernel: TypeAlias = Callable[["Node", Sequence["Value | None"]], "Value | None"]

KERNELS: dict[str, Kernel] = {}


def compute(node: Node, inputs: Sequence[Value | None]) -> Value | None:
    """Return the value of a node's first output, or None when it cannot be determined.

    ``inputs`` holds None for a value that is not known at all.
    """
    kernel = KERNELS.get(node.op)
    if kernel is None or not node.is_standard or any(v is not None and v.size > MAX_ELEMENTS for v in inputs):
        return None
    try:
        return kernel(node, inputs)
    except MALFORMED as error:
        LOGGER.info("no value after node '%s': %s", node.name, error)
        return None


def as_type(value: Value, dtype: np.dtype[Any]) -> Value | None:
    """Return a value in its tensor's type; None when unknown elements might wrap or round in it."""
    if is_known(value):
        with np.errstate(all="ignore"):
            return value.astype(dtype, copy=False)
    return value if dtype in (np.int64, np.int32) else None


def is_known(value: Value | None) -> bool:
    """Whether every element is a number."""
    return value is not None and (value.dtype != object or all(_is_number(v) for v in value.flat))


def _is_number(element: Any) -> bool:
    return element is not None and not isinstance(element, str)


def _kernel(*ops: str) -> Callable[[Kernel], Kernel]:
    def register(kernel: Kernel) -> Kernel:
        KERNELS.update(dict.fromkeys(ops, kernel))
        return kernel

    return register


def _settled(values: Any) -> Value:
    """An integer array when everything is known and fits, else an object array."""
    array = np.array(values, dtype=object)
    for index, element in enumerate(array.flat):
        if _is_number(element) and not -INT64_SPAN <= element < INT64_SPAN:
            array.flat[index] = None  # it would wrap
    return array.astype(np.int64) if all(_is_number(element) for element in array.flat) else array


@_kernel("Identity")
def _identity(node: Node, inputs: Sequence[Value | None]) -> Value | None:
    return inputs[0]


@_kernel("Cast")
def _cast(node: Node, inputs: Sequence[Value | None]) -> Value | None:
    """Between integers, booleans and into floats; how floats are rounded is the runtime's to decide."""
    value, dtype = inputs[0], as_dtype(node.attrs["to"])
    if value is None or value.dtype.kind not in "iubO" or dtype.kind not in "iubf":
        return None
    return as_type(value, dtype)


@_kernel("Concat")
def _concat(node: Node, inputs: Sequence[Value | None]) -> Value | None:
    if any(value is None or value.ndim == 0 for value in inputs):
        return None
    axis = node.attr("axis", 0)
    parts = [v.astype(object) for v in inputs if v is not None]
    return _settled(np.concatenate(parts, axis)) if _all_integers(inputs) else None


@_kernel("Gather")
def _gather(node: Node, inputs: Sequence[Value | None]) -> Value | None:
    data, indices = inputs
    if data is None or not is_known(indices) or indices is None:
        return None
    axis, indices = node.attr("axis", 0), indices.astype(np.int64)
    if data.ndim == 0 or (indices >= data.shape[axis]).any() or (indices < -data.shape[axis]).any():
        return None
    return _resettled(np.take(data, indices, axis), data)


@_kernel("Slice")
def _slice(node: Node, inputs: Sequence[Value | None]) -> Value | None:
    data = inputs[0]
    bounds = slice_bounds(node, inputs)
    if data is None or bounds is None:
        return None
    index = [slice(None)] * data.ndim
    for axis, (start, end, step) in bounds.items():
        if step < 0 and end >= data.shape[axis]:
            return None  # runtimes do not agree on what lies beyond the end
        index[axis] = _python_slice(start, end, step, data.shape[axis])
    return _resettled(data[tuple(index)], data)


def _python_slice(start: int, end: int, step: int, size: int) -> slice:
    """Python's spelling of an ONNX slice, whose bounds are clamped to the axis."""
    start, end = (bound + size if bound < 0 else bound for bound in (start, end))
    if step > 0:
        return slice(max(start, 0), max(end, 0), step)
    start = min(max(start, 0), size - 1)
    return slice(start, end if end >= 0 else None, step) if size else slice(0)


def slice_bounds(node: Node, inputs: Sequence[Value | None]) -> dict[int, tuple[int, int, int]] | None:
    """Return {axis: (start, end, step)} of a Slice in any of its forms; None when not known."""
    if "starts" in node.attrs:
        named = node.attr("axes", range(len(node.attrs["starts"])))
        both = zip(named, node.attrs["starts"], node.attrs["ends"], strict=True)
        return {axis: (start, end, 1) for axis, start, end in both}
    given = [inputs[i] if i < len(inputs) else None for i in range(1, 5)]
    present = [node.input(i) is not None for i in range(1, 5)]
    if any(here and not is_known(value) for here, value in zip(present, given, strict=True)):
        return None
    starts, ends, axes, steps = (None if v is None else [int(x) for x in v.ravel()] for v in given)
    if starts is None or ends is None:
        return None
    axes = axes if axes is not None else list(range(len(starts)))
    steps = steps if steps is not None else [1] * len(starts)
    return {a: (s, e, t) for a, s, e, t in zip(axes, starts, ends, steps, strict=True)}


@_kernel("Unsqueeze", "Squeeze")
def _reshape_axes(node: Node, inputs: Sequence[Value | None]) -> Value | None:
    data, axes = inputs[0], axes_of(node, inputs)
    if data is None or (axes is None and (node.op == "Unsqueeze" or node.input(1) is not None)):
        return None
    if node.op == "Unsqueeze":
        return np.expand_dims(data, tuple(axes or ()))
    if axes == []:
        return None  # all or none of them: runtimes do not agree
    return np.squeeze(data, None if axes is None else tuple(axes))


def axes_of(node: Node, inputs: Sequence[Value | None], index: int = 1) -> list[int] | None:
    """Return the axes of a node that takes them as an attribute or, in newer opsets, as an input."""
    if "axes" in node.attrs:
        return [int(a) for a in node.attrs["axes"]]
    value = inputs[index] if index < len(inputs) else None
    return [int(a) for a in value.ravel()] if value is not None and is_known(value) else None


@_kernel("Reshape")
def _reshape(node: Node, inputs: Sequence[Value | None]) -> Value | None:
    data, shape = inputs[0], inputs[1] if len(inputs) > 1 else None
    if data is None or shape is None or not is_known(shape):
        return None
    sizes = [int(s) for s in shape]
    if not node.attr("allowzero", 0):
        sizes = [data.shape[i] if s == 0 and i < data.ndim else s for i, s in enumerate(sizes)]
    return data.reshape(sizes)


@_kernel("Transpose")
def _transpose(node: Node, inputs: Sequence[Value | None]) -> Value | None:
    return None if inputs[0] is None else np.transpose(inputs[0], node.attr("perm"))


@_kernel("ConstantOfShape")
def _constant_of_shape(node: Node, inputs: Sequence[Value | None]) -> Value | None:
    shape = inputs[0]
    if shape is None or not is_known(shape):
        return None
    sizes = tuple(int(s) for s in shape)
    fill = node.attrs["value"].values.ravel()[0] if "value" in node.attrs else np.float32(0)
    return np.full(sizes, fill) if np.prod(sizes) <= MAX_ELEMENTS else None


@_kernel("Expand")
def _expand(node: Node, inputs: Sequence[Value | None]) -> Value | None:
    data, shape = inputs
    if data is None or shape is None or not is_known(shape):
        return None
    sizes = np.broadcast_shapes(data.shape, tuple(int(s) for s in shape))
    return np.broadcast_to(data, sizes) if np.prod(sizes) <= MAX_ELEMENTS else None


@_kernel("Range")
def _range(node: Node, inputs: Sequence[Value | None]) -> Value | None:
    if any(value is None or not is_known(value) or value.dtype.kind != "i" for value in inputs):
        return None
    start, limit, delta = (int(v.ravel()[0]) for v in inputs if v is not None)
    if delta == 0 or abs(limit - start) // abs(delta) > MAX_ELEMENTS:
        return None
    return np.arange(start, limit, delta)


@_kernel("ReduceProd")
def _reduce_prod(node: Node, inputs: Sequence[Value | None]) -> Value | None:
    data, axes = inputs[0], axes_of(node, inputs)
    if data is None or not is_known(data) or data.ndim != 1 or not _all_integers([data]):
        return None
    if data.size == 0:  # runtimes disagree about the product of nothing
        return None
    if axes not in (None, [0], [-1]) or (axes is None and node.attr("noop_with_empty_axes", 0)):
        return None
    return np.asarray(np.prod(data, keepdims=bool(node.attr("keepdims", 1))))


def _truncated(a: int, b: int) -> int | None:
    if b == 0:
        return None
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


ELEMENTWISE: dict[str, Callable[[Any, Any], Any]] = {
    "Add": lambda a, b: a + b,
    "Sub": lambda a, b: a - b,
    "Mul": lambda a, b: a * b,
    "Div": _truncated,
    "Max": max,
    "Min": min,
}


NEUTRAL_RIGHT = (("Mul", 1), ("Div", 1), ("Add", 0), ("Sub", 0))
NEUTRAL_LEFT = (("Mul", 1), ("Add", 0))


@_kernel(*ELEMENTWISE)
def _elementwise(node: Node, inputs: Sequence[Value | None]) -> Value | None:
    """Integers only: rounding of floats is the runtime's to decide."""
    if len(inputs) != 2 or inputs[0] is None or inputs[1] is None or not _all_integers(inputs):
        return None
    left, right = np.broadcast_arrays(inputs[0].astype(object), inputs[1].astype(object))
    pairs = zip(left.flat, right.flat, strict=True)
    results = np.empty(left.shape, object)
    results.flat[:] = [_combine(node.op, a, b) for a, b in pairs]
    return _settled(results)


def _combine(op: str, a: Any, b: Any) -> Any:
    if _is_number(a) and _is_number(b):
        return ELEMENTWISE[op](int(a), int(b))
    if _is_number(b) and (op, b) in NEUTRAL_RIGHT:
        return a
    if _is_number(a) and (op, a) in NEUTRAL_LEFT:
        return b
    return None


def _all_integers(inputs: Sequence[Value | None]) -> bool:
    return all(value is not None and value.dtype.kind in "iuO" for value in inputs)


def _resettled(value: Any, source: Value) -> Value:
    """A part of ``source`` as an array; numpy hands out bare elements when no axis is left."""
    part = np.asarray(value, dtype=source.dtype)
    return _settled(part) if part.dtype == object else part
