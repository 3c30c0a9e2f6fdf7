"""Random networks of 1, 2 and 3 spatial axes with all that the plain generators leave out.

Computed biases and scales, index inputs, normalisations over every axis, matrix products over space and over
activations, Einsum, Flatten -> Concat -> Gemm, shapes calculated in the graph, subgraphs that read outer
tensors, several inputs and outputs; and planted channels that are zero, constant or read by nobody.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import numpy_helper

from tests.corpus._net import Net, ints

OPSET = 21
MOST = 16  # channels


@dataclass(frozen=True)
class Map:
    """A tensor (batch, channels, size, ...) of the growing network; its shape is known."""

    name: str
    channels: int
    sizes: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """For one sample; the batch is open."""
        return (1, self.channels, *self.sizes)

    @property
    def space(self) -> list[int]:
        return list(range(2, 2 + len(self.sizes)))


BATCH = "N"
Step = Callable[[Net, Map], Map]


def wide_network(seed: int, steps: int | None = None, keeps_zeros: bool = False) -> onnx.ModelProto:
    """Draw a network; with ``keeps_zeros`` of operators only that leave a zero channel zero."""
    net = Net(seed)
    rank = int(net.rng.choice([1, 2, 2, 3]))
    sizes = (6, 5, 4)[:rank]
    x = Map(net.input(shape=(BATCH, 3, *sizes)), 3, sizes)
    features = [dense(net, x)]
    table = KEEPING if keeps_zeros else STEPS
    for _ in range(steps or int(net.rng.integers(3, 8))):
        grown = table[int(net.rng.integers(len(table)))](net, features[-1])
        other = features[int(net.rng.integers(len(features)))]
        if net.rng.random() < 0.3 and other.sizes == grown.sizes:
            grown = join(net, other, grown)
        features.append(grown)
    outputs = [head(net, features[-1], keeps_zeros)]
    if net.rng.random() < 0.2:
        outputs.append(head(net, features[int(net.rng.integers(len(features)))], keeps_zeros))
    if net.rng.random() < 0.1 and features[0].name not in outputs:
        outputs.append(net.tell(features[0].name, (BATCH, *features[0].shape[1:])))
    return net.model(*dict.fromkeys(outputs), opset=OPSET)


def layer(net: Net, x: Map, channels: int, group: int = 1, kernel: int = 1) -> Map:
    rank = len(x.sizes)
    scale = 1.5 / np.sqrt(x.channels / group * kernel**rank)
    weight = net.random(channels, x.channels // group, *[kernel] * rank, low=-scale, high=scale)
    bias = [net.random(channels, low=-0.3, high=0.3)] if net.rng.random() < 0.6 else []
    pads = [kernel // 2] * 2 * rank
    return Map(net.op("Conv", x.name, weight, *bias, pads=pads, group=group), channels, x.sizes)


def active(net: Net, x: Map) -> Map:
    ops = ["Relu", "LeakyRelu", "Tanh", "Identity", "HardSwish"]
    return Map(net.op(str(net.rng.choice(ops)), x.name), x.channels, x.sizes)


def dense(net: Net, x: Map) -> Map:
    return active(net, layer(net, x, int(net.rng.choice([4, 6, 8, 12])), 1, int(net.rng.choice([1, 3]))))


def even(net: Net, x: Map) -> Map:
    return x if x.channels % 4 == 0 else layer(net, x, 8)


def grouped(net: Net, x: Map) -> Map:
    x = even(net, x)
    return active(net, layer(net, x, int(net.rng.choice([4, 8, 12])), int(net.rng.choice([2, 4])), 3))


def depthwise(net: Net, x: Map) -> Map:
    times = 2 if 2 * x.channels <= MOST and net.rng.random() < 0.5 else 1
    return layer(net, x, times * x.channels, x.channels, 3)


def transposed(net: Net, x: Map) -> Map:
    """ConvTranspose: plain, in groups or depthwise; sizes by pads, output_padding or output_shape."""
    x, rank = even(net, x), len(x.sizes)
    group = int(net.rng.choice([1, 2, x.channels]))
    out = int(net.rng.choice([1, 2])) if group == x.channels else int(net.rng.choice([2, 4]))
    weight = net.random(x.channels, out, *[3] * rank, low=-0.4, high=0.4)
    bias = [net.random(out * group)] if net.rng.random() < 0.5 else []
    how = int(net.rng.integers(3))
    if how == 1:
        y = net.op("ConvTranspose", x.name, weight, *bias, group=group, output_shape=list(x.sizes))
    else:
        extra = {"strides": [2] * rank, "output_padding": [how // 2] * rank}
        y = net.op("ConvTranspose", x.name, weight, *bias, group=group, pads=[1] * 2 * rank, **extra)
        windows = [0] * rank, list(x.sizes), list(range(2, 2 + rank))
        y = net.op("Slice", y, *(ints(*window) for window in windows))
    return Map(y, out * group, x.sizes)


def residual(net: Net, x: Map) -> Map:
    y = layer(net, dense(net, x), x.channels)
    return Map(net.op("Add", x.name, y.name), x.channels, x.sizes)


def split(net: Net, x: Map) -> Map:
    """Split unevenly, the second half split again, joined in another order, nested."""
    if x.channels < 4:
        return dense(net, x)
    cut = int(net.rng.integers(1, x.channels - 2))
    left, right = net.many(2, "Split", x.name, ints(cut, x.channels - cut), axis=1)
    first, second = net.many(2, "Split", right, ints(1, x.channels - cut - 1), axis=-2 - len(x.sizes) + 1)
    inner = net.op("Concat", second, left, axis=1)
    return Map(net.op("Concat", net.op("Relu", first), inner, axis=1), x.channels, x.sizes)


def shuffled(net: Net, x: Map) -> Map:
    x = even(net, x)
    axes = [0, 2, 1, *range(3, 3 + len(x.sizes))]
    y = net.op("Reshape", x.name, ints(0, 2, x.channels // 2, *x.sizes))
    y = net.op("Reshape", net.op("Transpose", y, perm=axes), ints(0, -1, *x.sizes))
    return Map(y, x.channels, x.sizes)


def pooled(net: Net, x: Map) -> Map:
    rank = len(x.sizes)
    op = str(net.rng.choice(["AveragePool", "MaxPool"]))
    attrs = {"kernel_shape": [3] * rank, "pads": [1] * 2 * rank}
    return Map(net.op(op, x.name, **attrs), x.channels, x.sizes)


def gathered(net: Net, x: Map) -> Map:
    order = net.rng.permutation(x.channels)[: int(net.rng.integers(1, x.channels + 1))]
    return Map(net.op("Gather", x.name, order.astype(np.int64), axis=1), len(order), x.sizes)


def flipped(net: Net, x: Map) -> Map:
    y = net.op("Slice", x.name, ints(-1), ints(-(2**31)), ints(1), ints(-1))
    return Map(y, x.channels, x.sizes)


def gated(net: Net, x: Map) -> Map:
    """Squeeze and excite."""
    y = net.op("ReduceMean", x.name, ints(*x.space))
    gate = layer(net, active(net, layer(net, Map(y, x.channels, (1,) * len(x.sizes)), 4)), x.channels)
    return Map(net.op("Mul", x.name, net.op("Sigmoid", gate.name)), x.channels, x.sizes)


def excited_without_offset(net: Net, x: Map) -> Map:
    y = net.op("ReduceMean", x.name, ints(*x.space))
    gate = layer(net, Map(y, x.channels, (1,) * len(x.sizes)), x.channels)
    return Map(net.op("Mul", x.name, gate.name), x.channels, x.sizes)


def tokens(net: Net, x: Map) -> Map:
    """To tokens, a hidden layer, and back."""
    n = int(np.prod(x.sizes))
    y = net.op("Transpose", net.op("Reshape", x.name, ints(0, x.channels, n)), perm=[0, 2, 1])
    hidden = net.op("Relu", net.op("MatMul", y, net.random(x.channels, 8, low=-0.5, high=0.5)))
    y = net.op("MatMul", hidden, net.random(8, x.channels, low=-0.5, high=0.5))
    y = net.op("Reshape", net.op("Transpose", y, perm=[0, 2, 1]), ints(0, x.channels, *x.sizes))
    return Map(y, x.channels, x.sizes)


# -- what breaks zeros, or reads channels in a way of its own -----------------------------------------------


def breaking(net: Net, x: Map) -> Map:
    ops = ["Sigmoid", "Softplus", "HardSigmoid", "Cos", "Exp"]
    y = net.op("Clip", x.name, net.array(-2.0), net.array(2.0))
    return Map(net.op(str(net.rng.choice(ops)), y), x.channels, x.sizes)


def clipped(net: Net, x: Map) -> Map:
    low = float(net.rng.choice([-1.0, 0.0, 0.2]))
    return Map(net.op("Clip", x.name, net.array(low), net.array(2.0)), x.channels, x.sizes)


def with_constants(net: Net, x: Map) -> Map:
    c, rank, y = x.channels, len(x.sizes), x.name
    for _ in range(2):
        shapes = [(c, *[1] * rank), (1, c, *[1] * rank), (1,), (1, 1, *x.sizes), (1, c, *x.sizes)]
        constant = net.random(*shapes[int(net.rng.integers(len(shapes)))], low=0.5, high=1.5)
        match str(net.rng.choice(["Add", "Mul", "Sub", "Div", "Max", "Where", "Rest", "Pow", "Equal"])):
            case "Where":
                y = net.op("Where", net.op("Greater", y, net.array(0.0)), y, constant)
            case "Rest":
                y = net.op("Sub", constant, y)
            case "Pow":
                y = net.op("Pow", net.op("Abs", y), net.array(float(net.rng.choice([0.0, 2.0]))))
            case "Equal":
                y = net.op("Cast", net.op("LessOrEqual", y, constant), to=1)
            case op:
                y = net.op(op, y, constant)
    return Map(y, c, x.sizes)


def normalised(net: Net, x: Map) -> Map:
    """A normalisation of any kind, over any axis."""
    c = x.channels
    match int(net.rng.integers(6)):
        case 0:
            y = net.bn(x.name, c)
        case 1:
            y = net.op("InstanceNormalization", x.name, net.random(c), net.random(c), epsilon=0.1)
        case 2:
            x = even(net, x)
            c = x.channels
            y = net.op("GroupNormalization", x.name, net.random(c), net.random(c), num_groups=2, epsilon=0.1)
            net.tell(y, (BATCH, *x.shape[1:]))
        case 3:  # over space: channels pass, zeros become the bias
            first = int(net.rng.integers(2, x.space[-1] + 1))
            shape = x.shape[first:]
            biases = [net.random(*shape)] if net.rng.random() < 0.7 else []
            axis = first if net.rng.random() < 0.5 else first - len(x.shape)
            y = net.op("LayerNormalization", x.name, net.random(*shape), *biases, axis=axis, epsilon=0.1)
        case 4:
            y = net.op("Softmax", x.name, axis=int(net.rng.choice([1, *x.space])))
        case _:  # over the channels, which stay
            last = [0, *x.space, 1]
            y = net.op("Transpose", x.name, perm=last)
            y = net.op("LayerNormalization", y, net.random(c), net.random(c), epsilon=0.1)
            y = net.op("Transpose", y, perm=[last.index(axis) for axis in range(len(last))])
    return Map(y, c, x.sizes)


def padded(net: Net, x: Map) -> Map:
    """Padding in space by some value or mode, and cut off again; along the channels too."""
    rank = len(x.sizes)
    front, back = (int(n) for n in net.rng.integers(0, 3, 2))
    fill = [net.array(float(net.rng.choice([0, 0.5])))] if net.rng.random() < 0.7 else []
    y = net.op("Pad", x.name, ints(0, front, *[0] * rank, 0, back, *[0] * rank), *fill)
    mode = str(net.rng.choice(["constant", "edge", "reflect"]))
    fill = [net.array(0.7)] if mode == "constant" and net.rng.random() < 0.5 else []
    y = net.op("Pad", y, ints(0, 0, *[1] * rank, 0, 0, *[1] * rank), *fill, mode=mode)
    y = net.op("MaxPool", y, kernel_shape=[3] * rank)
    return Map(y, x.channels + front + back, x.sizes)


def biased_by_data(net: Net, x: Map) -> Map:
    """A layer whose bias is computed from the input: of one channel vector, for a batch of one."""
    c = int(net.rng.choice([4, 8]))
    vector = net.op("Squeeze", net.op("ReduceMean", x.name, ints(0, *x.space)), ints(0, *x.space))
    row = net.op("Unsqueeze", vector, ints(0))
    bias = net.op("Gemm", row, net.random(x.channels, c, low=-0.5, high=0.5))
    bias = net.op("Squeeze", net.op("Relu", bias), ints(0))
    if net.rng.random() < 0.5:
        weight = net.random(c, x.channels, *[1] * len(x.sizes), low=-0.5, high=0.5)
        return Map(net.op("Conv", x.name, weight, bias), c, x.sizes)
    rows = net.op("Reshape", x.name, ints(-1, x.sizes[-1]))
    if net.rng.random() < 0.5:
        bias = net.op("Reshape", bias, ints(1, c))
    y = net.op("Gemm", rows, net.random(x.sizes[-1], c), bias)
    gate = net.op("ReduceMean", y, ints(0))  # (1, c)
    gate = net.op("Reshape", gate, ints(1, c, *[1] * len(x.sizes)))
    return Map(net.op("Mul", layer(net, x, c).name, gate), c, x.sizes)


def scaled_by_data(net: Net, x: Map) -> Map:
    """A normalisation whose scale another branch computes."""
    vector = net.op("Squeeze", net.op("ReduceMean", x.name, ints(0, *x.space)), ints(0, *x.space))
    if net.rng.random() < 0.5:
        shift = np.zeros(x.channels, np.float32)
        return Map(net.op("InstanceNormalization", x.name, vector, shift, epsilon=0.1), x.channels, x.sizes)
    width = x.sizes[-1]
    scale = net.op("Gemm", net.op("Unsqueeze", vector, ints(0)), net.random(x.channels, width))
    scale = net.op("Reshape", scale, ints(width))
    y = net.op("LayerNormalization", x.name, scale, axis=-1, epsilon=0.1)
    return Map(y, x.channels, x.sizes)


def looked_up(net: Net, x: Map) -> Map:
    """Places of the largest values as indices of a table, or of another tensor."""
    places = net.op("ArgMax", x.name, axis=x.space[-1], select_last_index=int(net.rng.integers(2)))
    if net.rng.random() < 0.5:
        table = net.random(max(x.sizes), 1)
        rows = net.op("Squeeze", net.op("Gather", table, places, axis=0), ints(-1))
        return Map(net.op("Add", x.name, rows), x.channels, x.sizes)
    if net.rng.random() < 0.5:
        return Map(net.op("Add", x.name, net.op("Cast", places, to=1)), x.channels, x.sizes)
    shape = (*x.sizes[:-1], 1)
    y = net.op("GatherElements", x.name, places, axis=x.space[-1])
    return Map(net.op("Expand", y, ints(1, 1, *x.sizes)), x.channels, (*shape[:-1], x.sizes[-1]))


def over_space(net: Net, x: Map) -> Map:
    """A matrix product over the last spatial axis, whose size may be the number of channels."""
    n = x.sizes[-1]
    return Map(net.op("MatMul", x.name, net.random(n, n, low=-0.5, high=0.5)), x.channels, x.sizes)


def attention(net: Net, x: Map) -> Map:
    """One head over positions, by MatMul or Einsum."""
    n, c = int(np.prod(x.sizes)), x.channels
    flat = net.op("Transpose", net.op("Reshape", x.name, ints(0, c, n)), perm=[0, 2, 1])
    q, k, v = (net.op("MatMul", flat, net.random(c, 4, low=-0.5, high=0.5)) for _ in range(3))
    if net.rng.random() < 0.5:
        scores = net.op("MatMul", q, net.op("Transpose", k, perm=[0, 2, 1]))
    else:
        scores = net.op("Einsum", q, k, equation="bic,bjc->bij")
    y = net.op("MatMul", net.op("Softmax", scores, axis=-1), v)
    y = net.op("MatMul", y, net.random(4, c, low=-0.5, high=0.5))
    y = net.op("Reshape", net.op("Transpose", y, perm=[0, 2, 1]), ints(0, c, *x.sizes))
    return Map(net.op("Add", x.name, y), c, x.sizes)


def shaped_by_data(net: Net, x: Map) -> Map:
    """Sizes read from the tensor, moved about, and used in another place."""
    shape = net.op("Shape", x.name)
    count = net.op("Reshape", net.op("Gather", shape, np.array(1)), ints(1))
    match int(net.rng.integers(3)):
        case 0:
            front = net.op("Slice", shape, ints(0), ints(1))
            y = net.op("Reshape", x.name, net.op("Concat", front, count, ints(-1), axis=0))
            y = net.op("Reshape", y, shape)
            return Map(y, x.channels, x.sizes)
        case 1:
            ones = net.op("Expand", net.array(0.25), count)
            return Map(net.op("Mul", x.name, net.op("ReduceSum", ones, keepdims=0)), x.channels, x.sizes)
    y = net.op("Expand", net.array(1.0), net.op("Concat", count, ints(*[1] * len(x.sizes)), axis=0))
    return Map(net.op("Add", x.name, y), x.channels, x.sizes)


def branched(net: Net, x: Map) -> Map:
    """An If whose bodies read outer tensors, and perhaps the number of channels."""
    then, other = net.body(), net.body()
    flag = net.op("Greater", net.op("ReduceMax", "x", keepdims=0), net.array(0.5))
    if net.rng.random() < 0.5:
        outer = x.name
    else:
        outer = net.op("Cast", net.op("Gather", net.op("Shape", x.name), np.array(1)), to=1)
    branches = {
        "then_branch": then.graph(then.op("Identity", outer)),
        "else_branch": other.graph(other.op("Neg", outer)),
    }
    y = net.op("If", flag, **branches)
    y = net.op("Reshape", y, ints(-1, *x.shape[1:])) if outer == x.name else net.op("Mul", x.name, y)
    return Map(y, x.channels, x.sizes)


def masked(net: Net, x: Map) -> Map:
    """A Dropout that hands its mask out."""
    y, mask = net.many(2, "Dropout", x.name)
    return Map(net.op("Add", y, net.op("Cast", mask, to=1)), x.channels, x.sizes)


def scattered(net: Net, x: Map) -> Map:
    """Channels overwritten by a constant, or by what another layer makes."""
    index = np.zeros((1, 1), np.int64)
    update = layer(net, x, x.channels).name if net.rng.random() < 0.5 else net.random(*x.shape)
    update = net.op("Slice", update, ints(0), ints(1), ints(0))
    return Map(net.op("ScatterND", x.name, index, update), x.channels, x.sizes)


def shared(net: Net, x: Map) -> Map:
    c, ones = x.channels, [1] * len(x.sizes)
    weight, bias = net.random(c, c, *ones, low=-0.5, high=0.5), net.random(c)
    y = net.op("Conv", net.op("Relu", net.op("Conv", x.name, weight, bias)), weight, bias)
    return Map(y, c, x.sizes)


def second_input(net: Net, x: Map) -> Map:
    name = f"extra{len(net.inputs)}"
    net.input(name, shape=(1, x.channels, *[1] * len(x.sizes)))
    op = str(net.rng.choice(["Mul", "Add"]))
    return Map(net.op(op, layer(net, x, x.channels).name, name), x.channels, x.sizes)


def join(net: Net, x: Map, y: Map) -> Map:
    if x.channels == y.channels:
        return Map(net.op("Add", x.name, y.name), x.channels, x.sizes)
    if x.channels + y.channels <= MOST:
        return Map(net.op("Concat", x.name, y.name, axis=1), x.channels + y.channels, x.sizes)
    return y


def head(net: Net, x: Map, plain: bool) -> str:
    match int(net.rng.integers(3)):
        case 0:
            return net.tell(layer(net, x, 2).name, (BATCH, 2, *x.sizes))
        case 1:  # two maps flattened each and joined
            other = layer(net, x, 4)
            parts = [net.op("Flatten", one.name) for one in (x, other)]
            count = (x.channels + 4) * int(np.prod(x.sizes))
            bias = [] if plain else [net.random(5)]
            joined = net.op("Concat", *parts, axis=1)
            y = net.op("Gemm", joined, net.random(count, 5, low=-0.3, high=0.3), *bias)
            return net.tell(y, (BATCH, 5))
    means = net.op("ReduceMean", x.name, ints(*x.space), keepdims=0)
    return net.tell(net.gemm(means, (5, x.channels), transB=1, alpha=0.5), (BATCH, 5))


def sharp(net: Net, x: Map) -> Map:
    """A layer, its normalisation and an activation that makes something else of zero."""
    y = layer(net, x, int(net.rng.choice([4, 6, 8])), 1, 3)
    name = net.bn(y.name, y.channels) if net.rng.random() < 0.5 else y.name
    return Map(net.op(str(net.rng.choice(["Sigmoid", "HardSigmoid", "Cos"])), name), y.channels, y.sizes)


KEEPING: tuple[Step, ...] = (
    *(dense, dense, grouped, depthwise, transposed, residual, split, shuffled, pooled, gathered, flipped),
    *(excited_without_offset, tokens, shared, sharp),
)
STEPS: tuple[Step, ...] = (
    *KEEPING,
    *(gated, breaking, clipped, with_constants, normalised, normalised, normalised, padded, biased_by_data),
    *(scaled_by_data, looked_up, over_space, attention, shaped_by_data, branched, masked, scattered),
    *(second_input,),
)


# -- planting -----------------------------------------------------------------------------------------------


def plant(proto: onnx.ModelProto, seed: int) -> onnx.ModelProto:
    """Shut channels of a network: filters of zeros with and without a bias, zero scales, weights of zero."""
    rng = np.random.default_rng(seed)
    values = {tensor.name: numpy_helper.to_array(tensor).copy() for tensor in proto.graph.initializer}
    for node in proto.graph.node:
        if node.op_type in ("Conv", "ConvTranspose", "Gemm", "MatMul") and node.input[1] in values:
            _plant(rng, node, values)
        elif node.op_type == "BatchNormalization":
            values[node.input[1]][rng.random(len(values[node.input[1]])) < 0.2] = 0
    for tensor in proto.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(values[tensor.name], tensor.name))
    return proto


def _plant(rng: np.random.Generator, node: onnx.NodeProto, values: dict[str, np.ndarray]) -> None:
    weight = values[node.input[1]]
    transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
    out = 0 if node.op_type == "Conv" or transposed else 1
    if rng.random() < 0.7:
        gone = rng.random(weight.shape[out]) < rng.choice([0.2, 0.5])
        np.moveaxis(weight, out, 0)[gone] = 0
        bias = values.get(node.input[2]) if len(node.input) > 2 else None
        if bias is not None and bias.shape == gone.shape and rng.random() < 0.6:
            bias[gone] = 0
    if rng.random() < 0.3:
        np.moveaxis(weight, 1 - out, 0)[rng.random(weight.shape[1 - out]) < 0.3] = 0
