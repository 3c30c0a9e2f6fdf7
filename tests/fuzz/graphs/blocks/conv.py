"""Convolutions of one to three spatial axes, transposed ones, pooling, residual and squeeze blocks."""

from __future__ import annotations

from typing import Any

from tests.fuzz.graphs.blocks.norms import batch_norm
from tests.fuzz.graphs.blocks.registry import block
from tests.fuzz.graphs.draft import FEW, MOST, Draft, Feature, UnfitError


def convolve(
    d: Draft, x: Feature, out: int, kernel: int = 1, group: int = 1, bias: bool | None = None, **attrs: Any
) -> Feature:
    """Add a Conv that keeps the sizes unless its attributes say otherwise."""
    spatial = x.rank - 2
    inside = x.shape[1] // group
    weight = d.weight(out, inside, *[kernel] * spatial, fan=inside * kernel**spatial)
    biases = [d.vector(out)] if (d.flip(0.6) if bias is None else bias) else []
    attrs.setdefault("pads", [kernel // 2] * 2 * spatial)
    y = d.op("Conv", x.name, weight, *biases, group=group, **attrs)
    return Feature(y, (x.shape[0], out, *x.shape[2:]))


def _fits(x: Feature, out: int) -> None:
    if out * x.row // x.shape[1] > MOST * 4:
        raise UnfitError("too large")


@block(3, 4, 5, odds=4)
def conv(d: Draft, x: Feature) -> Feature:
    """Kernels of different sizes an axis, groups, dilations, strides, uneven pads or auto_pad."""
    spatial, sizes = x.rank - 2, x.shape[2:]
    out = d.channels()
    _fits(x, out)
    group = d.divisor(x.shape[1], 1, 1, 2, 4)
    out = -(-out // group) * group
    kernel = [int(d.pick(1, 2, 3, 3)) for _ in range(spatial)]
    dilations = [int(d.pick(1, 1, 1, 2)) for _ in range(spatial)]
    strides = [int(d.pick(1, 1, 1, 2)) for _ in range(spatial)]
    span = [(k - 1) * dilation + 1 for k, dilation in zip(kernel, dilations, strict=True)]
    attrs: dict[str, Any] = {"group": group, "strides": strides}
    if max(dilations) > 1:
        attrs["dilations"] = dilations
    auto = d.pick("", "", "", "SAME_UPPER", "SAME_LOWER", "VALID")
    if auto:
        attrs["auto_pad"] = auto
        before = after = [0] * spatial
    else:
        before = [int(d.rng.integers(0, s)) for s in span]
        after = [int(d.rng.integers(0, s)) for s in span]
        attrs["pads"] = [*before, *after]
    if auto.startswith("SAME"):
        size = [-(-n // s) for n, s in zip(sizes, strides, strict=True)]
    else:
        size = [
            (n + a + b - s) // step + 1
            for n, a, b, s, step in zip(sizes, before, after, span, strides, strict=True)
        ]
    if min(size) < 1:
        raise UnfitError("the kernel is larger than the image")
    weight = d.weight(out, x.shape[1] // group, *kernel, fan=x.shape[1] // group * max(kernel))
    biases = [d.vector(out)] if d.flip(0.6) else []
    if d.flip(0.7):
        attrs["kernel_shape"] = kernel
    return Feature(d.op("Conv", x.name, weight, *biases, **attrs), (x.shape[0], out, *size))


@block(3, 4, 5)
def depthwise(d: Draft, x: Feature) -> Feature:
    """One filter or two for each channel, and a pointwise layer behind."""
    times = 2 if x.shape[1] * 2 <= FEW and d.flip(0.3) else 1
    y = convolve(d, x, x.shape[1] * times, 3, group=x.shape[1])
    y = Feature(d.op(d.pick("Relu", "HardSigmoid", "Identity"), y.name), y.shape)
    return convolve(d, y, d.channels())


@block(3, 4, 5)
def conv_transpose(d: Draft, x: Feature) -> Feature:
    """Groups, output_padding, or output_shape with an odd surplus."""
    spatial = x.rank - 2
    if x.row * 2**spatial > MOST * 6:
        raise UnfitError("too large")
    group = d.divisor(x.shape[1], 1, 1, 2, x.shape[1])
    out = int(d.pick(1, 2, 3, 4))
    kernel, stride = int(d.pick(2, 3)), int(d.pick(1, 2))
    weight = d.weight(x.shape[1], out, *[kernel] * spatial, fan=x.shape[1] // group * kernel)
    biases = [d.vector(out * group)] if d.flip() else []
    size = [(n - 1) * stride + kernel for n in x.shape[2:]]
    attrs: dict[str, Any] = {"group": group, "strides": [stride] * spatial}
    form = d.pick("plain", "pads", "padding", "shape", "same")
    if form == "pads":
        attrs["pads"] = [1] * spatial + [0] * spatial
        size = [n - 1 for n in size]
    if form == "padding" and stride == 2:
        attrs["output_padding"] = [1] * spatial
        size = [n + 1 for n in size]
    if form == "shape":
        size = [n - 1 for n in size]
        attrs["output_shape"] = size
    if form == "same":
        attrs["auto_pad"] = d.pick("SAME_UPPER", "SAME_LOWER")
        size = [n * stride for n in x.shape[2:]]
    if min(size) < 1:
        raise UnfitError("nothing is left")
    y = d.op("ConvTranspose", x.name, weight, *biases, **attrs)
    return Feature(y, (x.shape[0], out * group, *size))


@block(3, 4, 5, odds=2)
def residual(d: Draft, x: Feature) -> Feature:
    """Two layers around an activation, added to what came in, with normalisations or without."""
    y = convolve(d, x, int(d.pick(4, 8)), int(d.pick(1, 3)))
    y = batch_norm(d, y) if d.flip() else y
    y = Feature(d.op(d.pick("Relu", "LeakyRelu", "Elu"), y.name), y.shape)
    y = convolve(d, y, x.shape[1], int(d.pick(1, 3)))
    y = batch_norm(d, y) if d.flip(0.3) else y
    added = d.op("Add", *((x.name, y.name) if d.flip() else (y.name, x.name)))
    return Feature(d.op("Relu", added) if d.flip() else added, x.shape)


@block(3, 4, 5)
def squeeze_excite(d: Draft, x: Feature) -> Feature:
    """Channels weighed by what they hold on average."""
    inner = int(d.pick(2, 4))
    axes = list(range(2, x.rank))
    pooled = d.op("GlobalAveragePool", x.name) if d.flip() else d.reduce("ReduceMean", x.name, axes)
    y = convolve(d, Feature(pooled, (*x.shape[:2], *[1] * len(axes))), inner)
    y = convolve(d, Feature(d.op("Relu", y.name), y.shape), x.shape[1])
    return Feature(d.op("Mul", x.name, d.op(d.pick("Sigmoid", "HardSigmoid"), y.name)), x.shape)


@block(3, 4, 5)
def pool(d: Draft, x: Feature) -> Feature:
    """Max, average or Lp pooling, with pads, ceil_mode or count_include_pad."""
    if min(x.shape[2:]) < 2:
        raise UnfitError("too small")
    spatial = x.rank - 2
    op, stride = d.pick("MaxPool", "AveragePool", "LpPool"), int(d.pick(1, 2))
    pad = int(d.pick(0, 1)) if d.flip() else 0
    attrs: dict[str, Any] = {"kernel_shape": [2] * spatial, "strides": [stride] * spatial}
    ceil = op != "LpPool" and d.opset >= 10 and d.flip(0.3)
    if ceil:
        attrs["ceil_mode"] = 1
    if pad:
        attrs["pads"] = [pad] * spatial + [0] * spatial
    if op == "AveragePool" and d.flip():
        attrs["count_include_pad"] = 1
    size = [((n + pad - 2 + (stride - 1 if ceil else 0)) // stride) + 1 for n in x.shape[2:]]
    return Feature(d.op(op, x.name, **attrs), (*x.shape[:2], *size))


@block(3, 4, 5)
def pad_and_pool(d: Draft, x: Feature) -> Feature:
    """A Pad of its own before a pool or a Conv."""
    spatial, wide = x.rank - 2, int(d.pick(1, 1, 2))
    value = float(d.pick(0.0, 0.0, 1.5))
    mode = d.pick("constant", "constant", "edge", "reflect") if min(x.shape[2:]) > wide else "constant"
    pads = [0, 0, *[wide] * spatial] * 2
    y = d.pad(x.name, pads, mode, value if mode == "constant" else 0.0)
    size = [n + 2 * wide for n in x.shape[2:]]
    after = Feature(y, (*x.shape[:2], *size))
    if d.flip():
        y = d.op("AveragePool", y, kernel_shape=[2] * spatial, strides=[1] * spatial)
        return Feature(y, (*x.shape[:2], *[n - 1 for n in size]))
    y3 = convolve(d, after, d.channels(), 3, pads=[0] * 2 * spatial)
    return Feature(y3.name, (*y3.shape[:2], *[n - 2 for n in size]))


@block(3, 4, 5)
def branches(d: Draft, x: Feature) -> Feature:
    """Layers side by side, joined by Concats, one inside the other; one branch may be the input itself."""
    parts = [convolve(d, x, int(d.pick(2, 3, 4)), int(d.pick(1, 3))) for _ in range(3)]
    names = [d.op("Relu", part.name) if d.flip() else part.name for part in parts]
    inner = d.op("Concat", *names[:2], axis=1)
    outer = [inner, names[2], *([x.name] if x.shape[1] <= 8 and d.flip() else [])]
    width = sum(part.shape[1] for part in parts) + (x.shape[1] if len(outer) == 3 else 0)
    joined = Feature(
        d.op("Concat", *outer, axis=1 if d.flip(0.7) else 1 - x.rank), (x.shape[0], width, *x.shape[2:])
    )
    return convolve(d, joined, d.channels()) if d.flip(0.7) else joined


@block(3, 4, 5)
def shared_conv(d: Draft, x: Feature) -> Feature:
    """One weight, read by two layers."""
    width = x.shape[1]
    weight = d.weight(width, width, *[1] * (x.rank - 2), fan=width)
    bias = d.vector(width)
    first = d.op("Relu", d.op("Conv", x.name, weight, bias))
    return Feature(d.op("Conv", first, weight, *([bias] if d.flip() else [])), x.shape)


@block(3, 4, 5)
def computed_kernel(d: Draft, x: Feature) -> Feature:
    """A Conv whose weight or bias is computed from constants or from the data."""
    out = int(d.pick(2, 4, 6))
    weight = d.weight(out, x.shape[1], *[1] * (x.rank - 2), fan=x.shape[1])
    bias = d.vector(out)
    if d.flip():
        weight = d.op("Mul", weight, d.vector(out, *[1] * (x.rank - 1), middle=1.0))
    elif x.shape[0] >= 1:
        mean = d.reduce("ReduceMean", x.name, list(range(x.rank)), keepdims=False)
        bias = d.op("Add", bias, mean)
    return Feature(d.op("Conv", x.name, weight, bias), (x.shape[0], out, *x.shape[2:]))
