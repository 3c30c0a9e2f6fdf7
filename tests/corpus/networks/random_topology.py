"""Random small networks over all operators that channels can be followed through, and some that stop them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx

from tests.corpus._net import Net, ints
from tests.corpus.networks.random_cnn import Feature

SIZE = 6  # height and width of the image
MOST = 16  # channels
OPSET = 20

Step = Callable[[Net, Feature], Feature]


def random_topology(seed: int, steps: int | None = None) -> onnx.ModelProto:
    """Draw a network of `steps` random steps (3 to 7 when None); the same seed gives the same network.

    Its input ``x`` is (1, 3, 6, 6) and its output is a map or scores, finite for inputs of usual size.
    """
    net = Net(seed)
    x = Feature(net.input(shape=(1, 3, SIZE, SIZE)), 3, SIZE)
    features = [_dense(net, x)]
    for _ in range(steps or int(net.rng.integers(3, 8))):
        step = STEPS[int(net.rng.integers(len(STEPS)))]
        grown = step(net, features[-1])
        other = features[int(net.rng.integers(len(features)))]
        if net.rng.random() < 0.2 and other.size == grown.size:
            grown = _join(net, other, grown)
        features.append(grown)
    return net.model(_head(net, features[-1]), opset=OPSET)


def _even(net: Net, x: Feature, multiple: int = 4) -> Feature:
    """Make the number of channels a multiple, with a layer when it is none."""
    return x if x.channels % multiple == 0 else _layer(net, x, 2 * multiple)


def _layer(net: Net, x: Feature, channels: int, group: int = 1, kernel: int = 1, **attrs: object) -> Feature:
    scale = 1.5 / np.sqrt(x.channels / group * kernel * kernel)
    shape = (channels, x.channels // group, kernel, kernel)
    weight = net.random(*shape, low=-scale, high=scale)
    bias = [net.random(channels, low=-0.3, high=0.3)] if net.rng.random() < 0.6 else []
    attrs = {"pads": [kernel // 2] * 4, "group": group, **attrs}
    return Feature(net.op("Conv", x.name, weight, *bias, **attrs), channels, x.size)


def _active(net: Net, x: Feature) -> Feature:
    op = str(net.rng.choice(["Relu", "LeakyRelu", "HardSwish", "Sigmoid", "Elu", "Identity", "Softplus"]))
    return Feature(net.op(op, x.name), x.channels, x.size)


def _dense(net: Net, x: Feature) -> Feature:
    kernel = int(net.rng.choice([1, 3]))
    return _active(net, _layer(net, x, int(net.rng.choice([4, 6, 8, 12])), 1, kernel))


def _grouped(net: Net, x: Feature) -> Feature:
    x = _even(net, x)
    group = int(net.rng.choice([2, 4]))
    return _active(net, _layer(net, x, int(net.rng.choice([4, 8, 12])), group, 3))


def _depthwise(net: Net, x: Feature) -> Feature:
    times = 2 if 2 * x.channels <= MOST and net.rng.random() < 0.5 else 1
    return _layer(net, x, times * x.channels, x.channels, 3)


def _transposed(net: Net, x: Feature) -> Feature:
    x = _even(net, x)
    group = int(net.rng.choice([1, 2, x.channels]))
    out = int(net.rng.choice([1, 2])) if group == x.channels else 4 // min(group, 2)
    weight = net.random(x.channels, out, 3, 3, low=-0.4, high=0.4)
    y = net.op("ConvTranspose", x.name, weight, group=group, pads=[1] * 4)
    return Feature(y, out * group, x.size)


def _residual(net: Net, x: Feature) -> Feature:
    y = _layer(net, _dense(net, x), x.channels)
    return _active(net, Feature(net.op("Add", x.name, y.name), x.channels, x.size))


def _shuffled(net: Net, x: Feature) -> Feature:
    """A channel shuffle between grouped layers, as ShuffleNet has it, or before a split in halves."""
    x = _even(net, x)
    groups = int(net.rng.choice([2, 4]))
    y = net.op("Reshape", x.name, ints(1, groups, x.channels // groups, x.size, x.size))
    y = net.op("Reshape", net.op("Transpose", y, perm=[0, 2, 1, 3, 4]), ints(1, -1, x.size, x.size))
    x = Feature(y, x.channels, x.size)
    if net.rng.random() < 0.5:
        return _layer(net, x, 8, groups, 1)
    left, right = net.many(2, "Split", x.name, axis=1, num_outputs=2)
    worked = _active(net, _layer(net, Feature(right, x.channels // 2, x.size), x.channels // 2))
    return Feature(net.op("Concat", left, worked.name, axis=1), x.channels, x.size)


def _shuffle_unit(net: Net, x: Feature) -> Feature:
    """Grouped layer, shuffle, depthwise layer, grouped layer and the residual sum."""
    x = _even(net, x)
    y = _layer(net, x, 8, 2)
    name = net.op("Reshape", y.name, ints(0, 2, 4, x.size, x.size))
    name = net.op("Reshape", net.op("Transpose", name, perm=[0, 2, 1, 3, 4]), ints(0, 8, x.size, x.size))
    y = _layer(net, Feature(name, 8, x.size), 8, 8, 3)
    y = _layer(net, y, x.channels, 2)
    return Feature(net.op("Add", x.name, y.name), x.channels, x.size)


def _split(net: Net, x: Feature) -> Feature:
    if x.channels < 2:
        return _dense(net, x)
    cut = int(net.rng.integers(1, x.channels))
    left, right = net.many(2, "Split", x.name, ints(cut, x.channels - cut), axis=1)
    right = net.op("Relu", right)
    parts = [right, left] if net.rng.random() < 0.5 else [left, right, left]
    widths = {left: cut, right: x.channels - cut}
    return Feature(net.op("Concat", *parts, axis=1), sum(widths[part] for part in parts), x.size)


def _sliced(net: Net, x: Feature) -> Feature:
    if x.channels < 2:
        return _dense(net, x)
    low = int(net.rng.integers(0, x.channels // 2))
    high = int(net.rng.integers(low + 1, x.channels + 1))
    step = int(net.rng.choice([1, 1, 2]))
    start = low if net.rng.random() < 0.5 else low - x.channels
    y = net.op("Slice", x.name, ints(start), ints(high if high < x.channels else 9999), ints(1), ints(step))
    return Feature(y, len(range(low, high, step)), x.size)


def _gathered(net: Net, x: Feature) -> Feature:
    order = net.rng.permutation(x.channels)[: int(net.rng.integers(1, x.channels + 1))]
    return Feature(net.op("Gather", x.name, order.astype(np.int64), axis=1), len(order), x.size)


def _picked(net: Net, x: Feature) -> Feature:
    """A gate made of one single channel."""
    one = net.op("Gather", x.name, np.array(int(net.rng.integers(x.channels))), axis=1)
    gate = net.op("Unsqueeze", net.op("Sigmoid", one), ints(1))
    return Feature(net.op("Mul", x.name, gate), x.channels, x.size)


def _padded(net: Net, x: Feature) -> Feature:
    front, back = (int(n) for n in net.rng.integers(0, 3, 2))
    fill = [net.array(float(net.rng.choice([0, 0.5])))] if net.rng.random() < 0.5 else []
    y = net.op("Pad", x.name, ints(0, front, 0, 0, 0, back, 0, 0), *fill)
    return Feature(y, x.channels + front + back, x.size)


def _wider_shortcut(net: Net, x: Feature) -> Feature:
    """The parameter-free shortcut of the first residual networks: zeros for the new channels."""
    y = _dense(net, x)
    y = _layer(net, y, x.channels + 4)
    shortcut = net.op("Pad", x.name, ints(0, 2, 0, 0, 0, 2, 0, 0))
    return Feature(net.op("Add", shortcut, y.name), x.channels + 4, x.size)


def _to_space_and_back(net: Net, x: Feature) -> Feature:
    if x.channels % 4 == 0 and net.rng.random() < 0.5:
        mode = str(net.rng.choice(["DCR", "CRD"]))
        y = net.op("DepthToSpace", x.name, blocksize=2, mode=mode)
        y = net.op("AveragePool", y, kernel_shape=[2, 2], strides=[2, 2])
        return Feature(y, x.channels // 4, x.size)
    if x.size % 2 or 4 * x.channels > 2 * MOST:
        return _dense(net, x)
    y = net.op("SpaceToDepth", x.name, blocksize=2)
    return _layer(net, Feature(y, 4 * x.channels, x.size // 2), 8)


def _unshuffled(net: Net, x: Feature) -> Feature:
    """Space to depth written with Reshape and Transpose, sizes given as numbers."""
    if x.size % 2 or 4 * x.channels > 2 * MOST:
        return _residual(net, x)
    half = x.size // 2
    y = net.op("Reshape", x.name, ints(1, x.channels, half, 2, half, 2))
    y = net.op(
        "Reshape", net.op("Transpose", y, perm=[0, 1, 3, 5, 2, 4]), ints(1, 4 * x.channels, half, half)
    )
    return _layer(net, Feature(y, 4 * x.channels, half), 8)


def _resized(net: Net, x: Feature) -> Feature:
    if x.size > SIZE:
        return Feature(
            net.op("MaxPool", x.name, kernel_shape=[3, 3], strides=[2, 2]), x.channels, (x.size - 3) // 2 + 1
        )
    if net.rng.random() < 0.5:
        y = net.op("Resize", x.name, None, None, ints(1, x.channels, 8, 8), mode="nearest")
    else:
        y = net.op("Resize", x.name, None, None, ints(8, 8), mode="linear", axes=[2, 3])
    return Feature(y, x.channels, 8)


def _excited(net: Net, x: Feature) -> Feature:
    pooled = Feature(net.op("ReduceMean", x.name, ints(2, 3)), x.channels, 1)
    gate = _layer(net, _active(net, _layer(net, pooled, 4)), x.channels)
    name = net.op("Sigmoid", gate.name)
    if net.rng.random() < 0.4:
        name = net.op("Expand", name, ints(1, x.channels, x.size, x.size))
    return Feature(net.op("Mul", x.name, name), x.channels, x.size)


def _tiled(net: Net, x: Feature) -> Feature:
    if 2 * x.channels > MOST:
        return _excited(net, x)
    return Feature(net.op("Tile", x.name, ints(1, 2, 1, 1)), 2 * x.channels, x.size)


def _constants(net: Net, x: Feature) -> Feature:
    """Constants of every shape that broadcasts, a slope for each channel, a layer scale."""
    c, y = x.channels, x.name
    for _ in range(2):
        op = str(net.rng.choice(["Add", "Mul", "Sub", "Div", "PRelu", "Max", "Where"]))
        shapes = [(c, 1, 1), (1, c, 1, 1), (1,), (1, 1, x.size, x.size), (1, c, x.size, x.size)]
        shape = shapes[int(net.rng.integers(len(shapes)))]
        if op == "PRelu" and len(shape) == 4:
            shape = (c, 1, 1)
        constant = net.random(*shape, low=0.5, high=1.5)
        y = (
            net.op("Where", net.op("Greater", y, net.array(0.0)), y, constant)
            if op == "Where"
            else net.op(op, y, constant)
        )
    return Feature(y, c, x.size)


def _normalised(net: Net, x: Feature) -> Feature:
    c = x.channels
    match int(net.rng.integers(5)):
        case 0:
            return Feature(net.bn(x.name, c), c, x.size)
        case 1:
            y = net.op("InstanceNormalization", x.name, net.random(c), net.random(c), epsilon=0.1)
            return Feature(y, c, x.size)
        case 2:
            return _group_norm(net, _even(net, x))
        case 3:  # over a row of pixels: channels pass
            y = net.op("LayerNormalization", x.name, net.random(x.size), epsilon=0.1)
            return Feature(y, c, x.size)
    y = net.op("Transpose", x.name, perm=[0, 2, 3, 1])  # over the channels: they stay
    y = net.op("LayerNormalization", y, net.random(c), net.random(c), epsilon=0.1)
    return Feature(net.op("Transpose", y, perm=[0, 3, 1, 2]), c, x.size)


def _group_norm(net: Net, x: Feature) -> Feature:
    c, groups = x.channels, 4
    if c == groups or net.rng.random() < 0.3:
        groups = 2
    y = net.op("Reshape", x.name, ints(0, groups, -1))
    ones = np.ones(groups, np.float32)
    y = net.op("InstanceNormalization", y, ones, np.zeros(groups, np.float32), epsilon=0.1)
    y = net.op("Reshape", y, ints(1, c, x.size, x.size))
    y = net.op("Add", net.op("Mul", y, net.random(c, 1, 1)), net.random(c, 1, 1))
    return Feature(y, c, x.size)


def _gelu(net: Net, x: Feature) -> Feature:
    if net.rng.random() < 0.4:
        return Feature(net.op("Gelu", x.name), x.channels, x.size)
    y = net.op("Erf", net.op("Div", x.name, net.array(1.4142135)))
    y = net.op("Mul", net.op("Mul", x.name, net.op("Add", y, net.array(1.0))), net.array(0.5))
    return Feature(y, x.channels, x.size)


def _tokens(net: Net, x: Feature) -> Feature:
    """To tokens, a hidden layer, and back with sizes given as numbers."""
    c, n = x.channels, x.size * x.size
    y = net.op("Transpose", net.op("Reshape", x.name, ints(1, c, n)), perm=[0, 2, 1])
    hidden = net.op("MatMul", y, net.random(c, 8, low=-0.5, high=0.5))
    hidden = net.op("Relu", net.op("Add", hidden, net.random(8)))
    y = net.op("Add", net.op("MatMul", hidden, net.random(8, c, low=-0.5, high=0.5)), y)
    y = net.op("Reshape", net.op("Transpose", y, perm=[0, 2, 1]), ints(1, c, x.size, x.size))
    return Feature(y, c, x.size)


def _size_from_shape(net: Net, x: Feature) -> Feature:
    shape = net.op("Shape", x.name)
    flat = net.op("Concat", net.op("Slice", shape, ints(0), ints(2)), ints(-1), axis=0)
    return Feature(net.op("Reshape", net.op("Reshape", x.name, flat), shape), x.channels, x.size)


def _channels_last(net: Net, x: Feature) -> Feature:
    y = net.op("Mul", net.op("Transpose", x.name, perm=[0, 2, 3, 1]), net.random(x.channels))
    y = net.op("Softmax", y, axis=1)
    return Feature(net.op("Transpose", y, perm=[0, 3, 1, 2]), x.channels, x.size)


def _shared(net: Net, x: Feature) -> Feature:
    """The same weights twice, and biases that two layers share."""
    c = x.channels
    weight, bias = net.random(c, c, 1, 1, low=-0.5, high=0.5), net.random(c)
    y = net.op("Relu", net.op("Conv", x.name, weight, bias))
    y = net.op("Conv", y, weight, bias)
    other = net.op("Conv", y, net.random(c, c, 1, 1, low=-0.5, high=0.5), bias)
    return Feature(net.op("Min", y, other), c, x.size)


def _stacked(net: Net, x: Feature) -> Feature:
    """Joined along the height, then one half cut off again."""
    y = net.op("Concat", x.name, _layer(net, x, x.channels).name, axis=2)
    return Feature(net.op("Slice", y, ints(x.size), ints(99), ints(2)), x.channels, x.size)


def _walled(net: Net, x: Feature) -> Feature:
    match int(net.rng.integers(3)):
        case 0:
            return Feature(net.op("LRN", x.name, size=3), x.channels, x.size)
        case 1:
            return Feature(net.op("Softmax", x.name, axis=1), x.channels, x.size)
    then, other = net.body(), net.body()
    flag = net.op("Greater", net.op("ReduceMax", x.name, keepdims=0), net.array(0.5))
    branches = {
        "then_branch": then.graph(then.op("Relu", x.name)),
        "else_branch": other.graph(other.op("Neg", x.name)),
    }
    y = net.op("Reshape", net.op("If", flag, **branches), ints(1, x.channels, x.size, x.size))
    return Feature(y, x.channels, x.size)


def _join(net: Net, x: Feature, y: Feature) -> Feature:
    if x.channels == y.channels:
        return Feature(net.op("Add", x.name, y.name), x.channels, x.size)
    if x.channels + y.channels <= MOST:
        return Feature(net.op("Concat", x.name, y.name, axis=1), x.channels + y.channels, x.size)
    return y


def _head(net: Net, x: Feature) -> str:
    match int(net.rng.integers(3)):
        case 0:
            return _layer(net, x, 2, 1, 1).name
        case 1:
            flat = net.op("Flatten", x.name)
            count = x.channels * x.size * x.size
            return net.op("Gemm", flat, net.random(count, 5, low=-0.3, high=0.3))
    pooled = net.op("Squeeze", net.op("GlobalAveragePool", x.name), ints(2, 3))
    return net.gemm(pooled, (5, x.channels), bias=(5,), transB=1)


STEPS: tuple[Step, ...] = (
    *(_dense, _dense, _grouped, _grouped, _depthwise, _transposed, _residual, _shuffled, _shuffle_unit),
    *(_split, _sliced, _gathered, _picked, _padded, _wider_shortcut, _to_space_and_back, _unshuffled),
    *(_resized, _excited, _tiled, _constants, _normalised, _gelu, _tokens, _size_from_shape),
    *(_channels_last, _shared, _stacked, _walled),
)
