"""Nodes between a Neg and a Sigmoid that do nothing, do it only together, or merely look like it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import onnx

from tests.corpus._case import Catalogue, could, left
from tests.corpus._net import Net, floats, ints

cases = Catalogue()
Middle = Callable[[Net, str], str]
STATIC, DYNAMIC = (2, 3, 4, 5), ("N", 3, "H", "W")
FLOAT, HALF, DOUBLE, INT = 1, 10, 11, 6  # values of onnx.TensorProto.DataType


def _between(middle: Middle, shape: tuple[Any, ...], opset: int) -> onnx.ModelProto:
    net = Net()
    y = middle(net, net.op("Neg", net.input(shape=shape)))
    return net.model(net.op("Sigmoid", y), opset=opset)


def _table(
    expect: Mapping[str, Any], rows: Mapping[str, Middle], shape: tuple[Any, ...] = STATIC, opset: int = 17
) -> None:
    for name, middle in rows.items():
        cases.put(name, partial(_between, middle, shape, opset), expect)


def nested(net: Net, x: str, *nodes: tuple[Any, ...]) -> str:
    """Chain nodes given as (op, further input..., {attributes})."""
    for op, *rest in nodes:
        attrs = rest.pop() if rest and isinstance(rest[-1], dict) else {}
        x = net.op(op, x, *rest, **attrs)
    return x


SWAP, BACK = {"perm": [0, 2, 3, 1]}, {"perm": [0, 3, 1, 2]}

_table(
    left(Reshape=0, Transpose=0, Pad=0, Cast=0, Slice=0, Concat=0, Flatten=0),
    {
        "reshape_to_the_same": lambda net, x: net.op("Reshape", x, ints(2, 3, 4, 5)),
        "reshape_to_the_same_by_zeros": lambda net, x: net.op("Reshape", x, ints(0, 0, -1, 0)),
        "reshape_there_and_back": lambda net, x: nested(
            net, x, ("Reshape", ints(6, 20)), ("Reshape", ints(2, 3, 4, 5))
        ),
        "transpose_to_the_same": lambda net, x: net.op("Transpose", x, perm=[0, 1, 2, 3]),
        "transpose_there_and_back": lambda net, x: nested(net, x, ("Transpose", SWAP), ("Transpose", BACK)),
        "transpose_default_twice": lambda net, x: nested(net, x, ("Transpose",), ("Transpose",)),
        "three_transposes_in_a_ring": lambda net, x: nested(
            net, x, *[("Transpose", {"perm": [0, 2, 3, 1]})] * 3
        ),
        "pad_by_nothing": lambda net, x: net.op("Pad", x, ints(*[0] * 8)),
        "pad_by_nothing_reflect": lambda net, x: net.op("Pad", x, ints(*[0] * 8), mode="reflect"),
        "cast_to_the_same": lambda net, x: net.op("Cast", x, to=FLOAT),
        "slice_of_everything": lambda net, x: net.op("Slice", x, ints(0), ints(2**63 - 1), ints(2)),
        "concat_of_one": lambda net, x: net.op("Concat", x, axis=1),
    },
)
_table(
    left(Reshape=0, Transpose=0, Slice=0),
    {
        "reshape_dynamic_to_the_same": lambda net, x: net.op("Reshape", x, ints(0, 3, 0, -1)),
        "transpose_dynamic_there_and_back": lambda net, x: nested(
            net, x, ("Transpose", SWAP), ("Transpose", BACK)
        ),
        "slice_dynamic_of_everything": lambda net, x: net.op(
            "Slice", x, ints(0, 0), ints(2**31 - 1, 2**63 - 1), ints(2, -1), ints(1, 1)
        ),
    },
    DYNAMIC,
)
_table(left(Flatten=0), {"flatten_matrix": lambda net, x: net.op("Flatten", x)}, shape=("N", 7))
_table(
    left(Reshape=0), {"reshape_opset1_style": lambda net, x: net.op("Reshape", x, ints(0, -1))}, ("N", 7), 7
)
_table(
    left(Transpose=1), {"two_transposes_make_one": lambda net, x: nested(net, x, *[("Transpose", SWAP)] * 2)}
)
_table(
    left(Reshape=1),
    {
        "two_reshapes_make_one": lambda net, x: nested(
            net, x, ("Reshape", ints(6, 20)), ("Reshape", ints(10, 12))
        ),
    },
)

# What does nothing but is rarely met: removing it is welcome, not demanded.
_table(
    could(Neg=1, Sigmoid=1),
    {
        "cast_through_double": lambda net, x: nested(
            net, x, ("Cast", {"to": DOUBLE}), ("Cast", {"to": FLOAT})
        ),
        "squeeze_there_and_back": lambda net, x: nested(net, x, ("Unsqueeze", ints(1)), ("Squeeze", ints(1))),
        "expand_to_the_same": lambda net, x: net.op("Expand", x, ints(1, 3, 4, 5)),
        "tile_once": lambda net, x: net.op("Tile", x, ints(1, 1, 1, 1)),
        "multiply_by_one": lambda net, x: net.op("Mul", x, floats(1)),
        "divide_by_ones": lambda net, x: net.op("Div", x, np.ones((3, 1, 1), np.float32)),
        "add_zero": lambda net, x: net.op("Add", x, np.zeros((), np.float32)),
        "subtract_zero": lambda net, x: net.op("Sub", x, floats(0)),
        "first_power": lambda net, x: net.op("Pow", x, floats(1)),
        "max_of_one": lambda net, x: net.op("Max", x),
        "sum_of_one": lambda net, x: net.op("Sum", x),
        "clip_without_bounds": lambda net, x: net.op("Clip", x),
        "resize_by_one": lambda net, x: net.op("Resize", x, None, floats(1, 1, 1, 1), mode="linear"),
        "pool_of_one": lambda net, x: net.op("MaxPool", x, kernel_shape=[1, 1]),
        "neg_neg": lambda net, x: nested(net, x, ("Neg",), ("Neg",)),
    },
)


# Look-alikes: each of these does something.
_table(left(Reshape=1), {"reshape_permutes_sizes": lambda net, x: net.op("Reshape", x, ints(3, 2, 4, 5))})
_table(
    left(Reshape=1),
    {
        "reshape_only_by_chance_the_same": lambda net, x: net.op("Reshape", x, ints(-1, 3, 8, 8)),
        # The zero of the second copies a dimension of the middle, not of the first.
        "reshape_zero_of_the_middle": lambda net, x: nested(
            net, x, ("Reshape", ints(-1, 8, 8)), ("Reshape", ints(0, 64))
        ),
    },
    DYNAMIC,
)
_table(
    left(Reshape=1),
    {
        "reshape_zero_of_the_static_middle": lambda net, x: nested(
            net, x, ("Reshape", ints(6, 4, 5)), ("Reshape", ints(0, 20))
        )
    },
)
_table({}, {"reshape_allowzero": lambda net, x: net.op("Reshape", x, ints(3, 0), allowzero=1)}, (0, 3))
_table(left(Transpose=1), {"transpose_of_a_square": lambda net, x: net.op("Transpose", x)}, (3, 3))
_table(
    left(Transpose=1),
    {"transpose_twice_is_not_back": lambda net, x: nested(net, x, *[("Transpose", {"perm": [1, 2, 0]})] * 2)},
    (3, 3, 3),
)
_table(
    left(Cast=2),
    {
        "cast_through_half": lambda net, x: nested(net, x, ("Cast", {"to": HALF}), ("Cast", {"to": FLOAT})),
        "cast_through_int": lambda net, x: nested(net, x, ("Cast", {"to": INT}), ("Cast", {"to": FLOAT})),
    },
)
_table(
    left(Slice=1),
    {
        "slice_backwards": lambda net, x: net.op("Slice", x, ints(-1), ints(-(2**63)), ints(2), ints(-1)),
        "slice_without_the_last": lambda net, x: net.op("Slice", x, ints(0), ints(-1), ints(3)),
    },
)
_table({}, {"flatten_rank1": lambda net, x: net.op("Flatten", x, axis=1)}, (7,))
_table(
    {},
    {
        "flatten_like_reshape": lambda net, x: net.op("Reshape", x, ints(0, -1)),
        "flatten_axis0": lambda net, x: net.op("Flatten", x, axis=0),
        "flatten_negative_axis": lambda net, x: net.op("Flatten", x, axis=-1),
        "multiply_by_ones_of_higher_rank": lambda net, x: net.op("Mul", x, np.ones((1,) * 5, np.float32)),
        "crop_by_negative_pads": lambda net, x: net.op("Pad", x, ints(0, 0, -1, 0, 0, 0, 0, -2)),
        "relu_relu": lambda net, x: nested(net, x, ("Relu",), ("Relu",)),
        "transposes_around_relu": lambda net, x: nested(
            net, x, ("Transpose", SWAP), ("Relu",), ("Transpose", BACK)
        ),
        "transposes_around_channel_add": lambda net, x: nested(
            net, x, ("Transpose", SWAP), ("Add", floats(1, 2, 3)), ("Transpose", BACK)
        ),
        "unsqueeze_and_squeeze_elsewhere": lambda net, x: nested(
            net, x, ("Slice", ints(0), ints(1), ints(2)), ("Unsqueeze", ints(0)), ("Squeeze", ints(3))
        ),
    },
)
_table(
    {},
    {
        "multiply_by_ones_that_grow": lambda net, x: net.op("Mul", x, np.ones((4, 1), np.float32)),
        "add_zeros_that_grow": lambda net, x: net.op("Add", x, np.zeros((4, 3), np.float32)),
        "expand_that_grows": lambda net, x: net.op("Expand", x, ints(4, 3)),
    },
    (1, 3),
)


@cases.add(left(Transpose=1))
def transpose_middle_is_read() -> onnx.ModelProto:
    net = Net()
    x = net.input()
    middle = net.op("Transpose", x, perm=[0, 2, 3, 1])
    return net.model(net.op("Neg", net.op("Transpose", middle, perm=[0, 3, 1, 2])), net.op("Relu", middle))


@cases.add(left(Reshape=1))
def reshape_at_run_time() -> onnx.ModelProto:
    """The shape is what another input happens to have."""
    net = Net()
    y = net.op("Reshape", net.input("x", ("N", 6)), net.op("Shape", net.input("like", ("N", 2, 3))))
    return net.model(net.tell(y, (None, None, None)))


@cases.add(could(Cast=0))
def cast_of_integers_to_the_same() -> onnx.ModelProto:
    net = Net()
    y = net.op("Cast", net.input("indices", (4,), np.int64), to=onnx.TensorProto.INT64)
    return net.model(net.op("Gather", net.random(200, 3), y))


@cases.add()
def integer_division_by_one() -> onnx.ModelProto:
    net = Net()
    y = net.op(
        "Div",
        net.op("Mul", net.input(shape=(4,), dtype=np.int32), np.array([1], np.int32)),
        np.array([1], np.int32),
    )
    return net.model(net.op("Add", y, np.array([0], np.int32)))


@cases.add(could(Slice=0, Concat=0))
def split_by_slices_and_concatenated() -> onnx.ModelProto:
    net = Net()
    x = net.input(shape=STATIC)
    halves = [net.op("Slice", x, ints(a), ints(b), ints(1)) for a, b in [(0, 1), (1, 3)]]
    return net.model(net.op("Concat", *halves, axis=1))


@cases.add(left(Concat=1))
def concat_with_an_empty_part() -> onnx.ModelProto:
    """One of the parts has no elements; two real ones remain."""
    net = Net()
    empty = net.const(np.zeros((2, 0), np.float32))
    return net.model(net.op("Concat", net.input(shape=(2, 3)), empty, net.input("z", (2, 4)), axis=1))
