"""Random small networks over what quantization meets: any rank and opset, several inputs, odd operands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import onnx

from tests.corpus._net import Net, ints

CHANNELS = (2, 4, 6, 8)
MOST = 24  # channels
OPSETS = (9, 11, 13, 16, 18, 21, 23)


@dataclass(frozen=True)
class Feature:
    """A tensor (1, channels, *sizes) of the growing network."""

    name: str
    channels: int
    sizes: tuple[int, ...]

    @property
    def rank(self) -> int:
        """The number of its spatial dimensions."""
        return len(self.sizes)


@dataclass
class Drawing:
    """The network being drawn, with what its operators look like at its opset."""

    net: Net
    opset: int

    def pick(self, *values: object) -> object:
        """One of the values."""
        return values[int(self.net.rng.integers(len(values)))]

    def chance(self, share: float) -> bool:
        """True with this probability."""
        return bool(self.net.rng.random() < share)

    def layer(self, x: Feature, channels: int, kernel: int = 1, group: int = 1, **attrs: object) -> Feature:
        """A convolution of the feature's rank that keeps its sizes, with weights that keep its power."""
        shape = (channels, x.channels // group, *[kernel] * x.rank)
        scale = 1.6 / np.sqrt(np.prod(shape[1:]))
        inputs = [self.net.random(*shape, low=-scale, high=scale)]
        inputs += [self.net.random(channels, low=-0.3, high=0.3)] if self.chance(0.6) else []
        attrs = {"pads": [kernel // 2] * (2 * x.rank), "group": group, **attrs}
        return Feature(self.net.op("Conv", x.name, *inputs, **attrs), channels, x.sizes)

    def clip(self, name: str) -> str:
        """One of the forms a Clip may have."""
        low, high = self.pick((0.0, 6.0), (-1.0, 1.0), (0.0, None), (None, 2.0), (0.2, 3.0))  # type: ignore[misc]
        if self.opset < 11:
            limits = {k: v for k, v in (("min", low), ("max", high)) if v is not None}
            return self.net.op("Clip", name, **limits)
        shape = (1,) if self.chance(0.3) else ()
        limits = [None if v is None else np.full(shape, v, self.net.dtype) for v in (low, high)]
        return self.net.op("Clip", name, *limits)

    def flatten(self, x: Feature) -> tuple[str, int]:
        """The feature as a vector, and its length."""
        return self.net.op("Flatten", x.name, axis=1), x.channels * int(np.prod(x.sizes))

    def mean(self, name: str, axes: list[int], keep: int) -> str:
        """The mean over axes."""
        if self.opset < 18:
            return self.net.op("ReduceMean", name, axes=axes, keepdims=keep)
        return self.net.op("ReduceMean", name, ints(*axes), keepdims=keep)

    def unsqueeze(self, name: str, axis: int) -> str:
        """A dimension more."""
        if self.opset < 13:
            return self.net.op("Unsqueeze", name, axes=[axis])
        return self.net.op("Unsqueeze", name, ints(axis))

    def dense(self, name: str, width: int, out: int) -> str:
        """A product with constants, in one of its forms."""
        scale = 1.6 / np.sqrt(width)
        kind = self.pick("plain", "transposed", "scaled", "matmul", "sum")
        weight = self.net.random(width, out, low=-scale, high=scale)
        if kind == "matmul" or kind == "sum":
            y = self.net.op("MatMul", name, weight)
            return self.net.op("Add", y, self.net.random(out)) if kind == "sum" else y
        bias = self.net.random(*self.pick((out,), (1, out), (1,), (1, 1)))  # type: ignore[misc]
        if kind == "transposed":
            turned = self.net.random(out, width, low=-scale, high=scale)
            return self.net.op("Gemm", name, turned, bias, transB=1)
        if kind == "scaled":
            return self.net.op("Gemm", name, weight, bias, alpha=0.5, beta=self.pick(1.0, 2.0))
        return self.net.op("Gemm", name, weight, bias)


Step = Callable[[Drawing, Feature, list[Feature]], Feature]


def random_net(seed: int) -> onnx.ModelProto:
    """Draw a network; the same seed gives the same one.  Its inputs are fixed, its outputs finite."""
    rng = np.random.default_rng(seed)
    dtype = np.float16 if rng.random() < 0.05 else np.float32
    draw = Drawing(Net(seed, dtype), int(rng.choice(OPSETS)))
    rank = int(rng.choice([1, 2, 2, 2, 3]))
    channels = int(draw.pick(2, 3, 4))  # type: ignore[call-overload]
    x = Feature(draw.net.input(shape=(1, channels, *[6] * rank)), channels, (6,) * rank)
    features = [_activated(draw, draw.layer(x, int(draw.pick(4, 8)), 3))]  # type: ignore[call-overload]
    if draw.chance(0.15):
        features.append(_looked_up(draw, x))
    for _ in range(int(rng.integers(2, 8))):
        current = features[-1] if draw.chance(0.8) else features[int(rng.integers(len(features)))]
        step = STEPS[int(rng.integers(len(STEPS)))]
        features.append(step(draw, current, features))
    outputs = [_head(draw, features[-1], features)]
    if draw.chance(0.25):
        outputs.append(features[int(rng.integers(len(features)))].name)
    if draw.chance(0.1):
        outputs.append(draw.net.op("ArgMax", features[-1].name, axis=1, keepdims=0))
    return draw.net.model(*dict.fromkeys(outputs), opset=draw.opset, ir=8 if draw.opset < 21 else None)


def _looked_up(draw: Drawing, x: Feature) -> Feature:
    """Embeddings by ids that are another input, as channels of the feature's rank."""
    name = draw.net.input("ids", (1, 1), np.int64)
    table = draw.net.random(8, 4)
    y = draw.net.op("Gather", table, draw.net.op("Mod", name, np.array(8)) if draw.opset > 9 else name)
    y = draw.net.op("Reshape", y, ints(1, 4, *[1] * x.rank))
    return Feature(y, 4, (1,) * x.rank)


def _activated(draw: Drawing, x: Feature) -> Feature:
    net, name = draw.net, x.name
    match int(net.rng.integers(9)):
        case 0 | 1 | 2:
            name = net.op("Relu", name)
        case 3:
            name = draw.clip(name)
        case 4:
            name = net.op("LeakyRelu", name, alpha=0.1)
        case 5:
            name = net.op("Mul", name, net.op("Sigmoid", name))
        case 6:
            name = net.op("Mul", name, net.op("HardSigmoid", name))
        case 7:
            name = net.op("PRelu", name, net.random(x.channels, *[1] * x.rank, low=0.0, high=0.5))
    return replace(x, name=name)


def _conv(draw: Drawing, x: Feature, others: list[Feature]) -> Feature:
    channels = int(draw.pick(*CHANNELS))  # type: ignore[call-overload]
    groups = [g for g in (1, 1, 2) if x.channels % g == 0 and channels % g == 0]
    return _activated(draw, draw.layer(x, channels, int(draw.pick(1, 3)), int(draw.pick(*groups))))  # type: ignore[call-overload]


def _depthwise(draw: Drawing, x: Feature, others: list[Feature]) -> Feature:
    times = 2 if 2 * x.channels <= MOST and draw.chance(0.3) else 1
    return _activated(draw, draw.layer(x, times * x.channels, 3, x.channels))


def _strided(draw: Drawing, x: Feature, others: list[Feature]) -> Feature:
    if min(x.sizes) < 2:
        return _conv(draw, x, others)
    y = draw.layer(x, 8, 3, strides=[2] * x.rank)
    return replace(_activated(draw, y), sizes=tuple((s + 1) // 2 for s in x.sizes))


def _transposed(draw: Drawing, x: Feature, others: list[Feature]) -> Feature:
    group = int(draw.pick(*[g for g in (1, 2, x.channels) if x.channels % g == 0]))  # type: ignore[call-overload]
    out = int(draw.pick(1, 2, 3))  # type: ignore[call-overload]
    weight = draw.net.random(x.channels, out, *[3] * x.rank, low=-0.4, high=0.4)
    bias = [draw.net.random(out * group)] if draw.chance(0.6) else []
    y = draw.net.op("ConvTranspose", x.name, weight, *bias, group=group, pads=[1] * (2 * x.rank))
    return _activated(draw, Feature(y, out * group, x.sizes))


def _residual(draw: Drawing, x: Feature, others: list[Feature]) -> Feature:
    y = _activated(draw, draw.layer(x, x.channels, 3))
    y = draw.layer(y, x.channels, 1) if draw.chance(0.5) else y
    order = (x.name, y.name) if draw.chance(0.5) else (y.name, x.name)
    return _activated(draw, replace(x, name=draw.net.op(str(draw.pick("Add", "Add", "Sub")), *order)))


def _silu_chain(draw: Drawing, x: Feature, others: list[Feature]) -> Feature:
    for _ in range(3):
        y = draw.layer(x, x.channels, 1).name
        x = replace(x, name=draw.net.op("Add", x.name, draw.net.op("Mul", y, draw.net.op("Sigmoid", y))))
    return x


def _excited(draw: Drawing, x: Feature, others: list[Feature]) -> Feature:
    pooled = draw.net.op("GlobalAveragePool", x.name)
    gate = draw.layer(draw.layer(Feature(pooled, x.channels, (1,) * x.rank), 4), x.channels)
    op = str(draw.pick("Sigmoid", "HardSigmoid"))
    return replace(x, name=draw.net.op("Mul", x.name, draw.net.op(op, gate.name)))


def _pool(draw: Drawing, x: Feature, others: list[Feature]) -> Feature:
    op = str(draw.pick("MaxPool", "AveragePool"))
    y = draw.net.op(op, x.name, kernel_shape=[3] * x.rank, strides=[1] * x.rank, pads=[1] * (2 * x.rank))
    return replace(x, name=y)


def _joined(draw: Drawing, x: Feature, others: list[Feature]) -> Feature:
    """Nested Concat: of what fits, with itself else."""
    fitting = [f for f in others if f.sizes == x.sizes] or [x]
    other = fitting[int(draw.net.rng.integers(len(fitting)))]
    if x.channels + 2 * other.channels > MOST:
        return _conv(draw, x, others)
    y = draw.net.op("Concat", other.name, draw.layer(x, x.channels).name, axis=1)
    if draw.chance(0.5):
        y = draw.net.op("Concat", y, other.name, axis=1)
        return Feature(y, x.channels + 2 * other.channels, x.sizes)
    return Feature(y, x.channels + other.channels, x.sizes)


def _split(draw: Drawing, x: Feature, others: list[Feature]) -> Feature:
    if x.channels % 2:
        return _conv(draw, x, others)
    half = x.channels // 2
    if draw.opset < 13:
        parts = draw.net.many(2, "Split", x.name, axis=1, split=[half, half])
    else:
        parts = draw.net.many(2, "Split", x.name, ints(half, half), axis=1)
    worked = _activated(draw, draw.layer(Feature(parts[1], half, x.sizes), half))
    return replace(x, name=draw.net.op("Concat", worked.name, parts[0], axis=1))


def _mixed(draw: Drawing, x: Feature, others: list[Feature]) -> Feature:
    """A matrix product over the last axis, which counts no channels."""
    size = x.sizes[-1]
    y = draw.net.op("MatMul", x.name, draw.net.random(size, size, low=-0.6, high=0.6))
    y = draw.net.op("Add", y, draw.net.random(size)) if draw.chance(0.5) else y
    return _activated(draw, replace(x, name=y))


def _attention(draw: Drawing, x: Feature, others: list[Feature]) -> Feature:
    """Products of activations over flattened positions."""
    count = int(np.prod(x.sizes))
    rows = draw.net.op(
        "Transpose", draw.net.op("Reshape", x.name, ints(1, x.channels, count)), perm=[0, 2, 1]
    )
    names = []
    for _ in range(3):
        weight = draw.net.random(x.channels, x.channels, low=-0.5, high=0.5)
        names.append(draw.net.op("MatMul", rows, weight))
    scores = draw.net.op("MatMul", names[0], draw.net.op("Transpose", names[1], perm=[0, 2, 1]))
    scores = draw.net.op("Softmax", scores, axis=2)
    y = draw.net.op("Transpose", draw.net.op("MatMul", scores, names[2]), perm=[0, 2, 1])
    return replace(x, name=draw.net.op("Reshape", y, ints(1, x.channels, *x.sizes)))


def _arithmetic(draw: Drawing, x: Feature, others: list[Feature]) -> Feature:
    net, name = draw.net, x.name
    by_channel = net.random(x.channels, *[1] * x.rank, low=0.3, high=1.5)
    match int(net.rng.integers(7)):
        case 0:
            name = net.op("Mul", name, by_channel)
        case 1:
            name = net.op("Add", net.array(0.7), name)
        case 2:
            name = net.op("Div", name, by_channel)
        case 3:
            name = net.op("Sub", name, by_channel)
        case 4:
            name = net.op("Mul", name, net.array(-0.5))
        case 5:
            name = net.op("Sub", net.array(1.0), name)
        case 6:
            name = net.op("Mul", net.const(np.full((1,), 0.5, net.dtype)), name)
    return _activated(draw, replace(x, name=name))


def _padded(draw: Drawing, x: Feature, others: list[Feature]) -> Feature:
    widths = [0, 0, *[1] * x.rank, 0, 0, *[1] * x.rank]
    mode = str(draw.pick("constant", "edge"))
    if draw.opset < 11:
        y = draw.net.op("Pad", x.name, pads=widths, mode=mode)
    else:
        y = draw.net.op("Pad", x.name, ints(*widths), mode=mode)
    wide = Feature(y, x.channels, tuple(s + 2 for s in x.sizes))
    return replace(draw.layer(wide, 4, 3, pads=[0] * (2 * x.rank)), sizes=x.sizes)


def _normalised(draw: Drawing, x: Feature, others: list[Feature]) -> Feature:
    if draw.chance(0.5):
        return replace(x, name=draw.net.bn(draw.layer(x, x.channels).name, x.channels))
    scale, shift = draw.net.random(x.channels), draw.net.random(x.channels)
    return replace(x, name=draw.net.op("InstanceNormalization", x.name, scale, shift))


STEPS: tuple[Step, ...] = (
    _conv, _conv, _depthwise, _strided, _transposed, _residual, _silu_chain, _excited, _pool, _joined,
    _joined, _split, _mixed, _attention, _arithmetic, _arithmetic, _padded, _normalised,
)  # fmt: skip


def _head(draw: Drawing, x: Feature, features: list[Feature]) -> str:
    """Scores, a map, classes, or what two branches say together."""
    match int(draw.net.rng.integers(6)):
        case 0:
            return draw.layer(x, 3).name
        case 1:
            return draw.net.op("ArgMax", draw.layer(x, 3).name, axis=1, keepdims=0)
        case 2:
            other = features[int(draw.net.rng.integers(len(features)))]
            (one, width), (two, more) = draw.flatten(x), draw.flatten(draw.layer(other, 4))
            return draw.dense(draw.net.op("Concat", one, two, axis=1), width + more, 5)
        case 3:
            return draw.dense(draw.mean(x.name, list(range(2, 2 + x.rank)), 0), x.channels, 5)
        case 4:
            y, width = draw.flatten(x)
            weight, bias = draw.net.random(1, 4), draw.net.random(4)
            y = draw.net.op("Gemm", y, weight, bias, transA=1)  # (width, 4)
            return draw.mean(y, [0], 0)
    y = draw.net.op("Flatten", draw.net.op("GlobalAveragePool", x.name))
    return draw.dense(y, x.channels, 5)
