"""Blocks with attention as exporters write them, small: heads of a few channels over a few tokens, an MLP."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx

from tests.corpus._net import Net, ints

BATCH, TOKENS, WIDTH, HEADS, SIZE, HIDDEN = 2, 6, 20, 4, 5, 24
Heads = tuple[str, str, str]  # queries, keys, values
Step = Callable[[Net, str], str]


def linear(net: Net, x: str, inputs: int, outputs: int, name: str) -> str:
    """A MatMul and the Add of its bias."""
    y = net.op("MatMul", x, net.random(inputs, outputs, name=f"{name}.weight"), name=name)
    return net.op("Add", net.random(outputs, name=f"{name}.bias"), y)


def layer_norm(net: Net, x: str, width: int = WIDTH) -> str:
    scale, shift = net.random(width, low=0.5, high=1.5), net.random(width)
    return net.op("LayerNormalization", x, scale, shift, axis=-1)


def fused(net: Net, x: str, how: str = "split") -> Heads:
    """One projection for all three, cut apart behind one Reshape and one Transpose (timm)."""
    y = linear(net, x, WIDTH, 3 * HEADS * SIZE, "qkv")
    y = net.op("Reshape", y, ints(0, -1, 3, HEADS, SIZE))
    y = net.op("Transpose", y, perm=[2, 0, 3, 1, 4])
    if how == "split":
        parts = net.many(3, "Split", y, ints(1, 1, 1), axis=0)
    elif how == "slice":
        parts = [net.op("Slice", y, ints(i), ints(i + 1), ints(0)) for i in range(3)]
    else:
        q, k, v = (net.op("Gather", y, np.asarray(i), axis=0) for i in range(3))
        return q, k, v
    q, k, v = (net.op("Squeeze", part, ints(0)) for part in parts)
    return q, k, v


def separate(net: Net, x: str) -> Heads:
    """Three projections, each sorted into heads by itself (Hugging Face)."""
    parts = []
    for name in ("query", "key", "value"):
        y = linear(net, x, WIDTH, HEADS * SIZE, name)
        y = net.op("Reshape", y, ints(BATCH, -1, HEADS, SIZE))
        parts.append(net.op("Transpose", y, perm=[0, 2, 1, 3]))
    return parts[0], parts[1], parts[2]


def scores(net: Net, q: str, k: str, flat: bool = False) -> str:
    """The product of queries and keys; ``flat`` is how the newer exporter of PyTorch transposes keys."""
    if not flat:
        return net.op("MatMul", q, net.op("Transpose", k, perm=[0, 1, 3, 2]), name="scores")
    k = net.op("Reshape", k, ints(-1, TOKENS, SIZE))
    k = net.op("Reshape", net.op("Transpose", k, perm=[0, 2, 1]), ints(BATCH, HEADS, SIZE, TOKENS))
    return net.op("MatMul", q, k, name="scores")


def scaled(net: Net, x: str, factor: float = SIZE**-0.5) -> str:
    return net.op("Mul", x, net.array(factor))


def merged(net: Net, weights: str, v: str) -> str:
    """What heads make of their values, side by side, and the layer behind."""
    z = net.op("MatMul", weights, v, name="mix")
    z = net.op("Reshape", net.op("Transpose", z, perm=[0, 2, 1, 3]), ints(BATCH, TOKENS, HEADS * SIZE))
    return linear(net, z, HEADS * SIZE, WIDTH, "proj")


def softmax(net: Net, x: str) -> str:
    return net.op("Softmax", x, axis=-1)


def timm(net: Net, x: str) -> str:
    q, k, v = fused(net, x)
    factor = SIZE**-0.25
    return merged(net, softmax(net, scores(net, scaled(net, q, factor), scaled(net, k, factor))), v)


def dynamo(net: Net, x: str) -> str:
    q, k, v = fused(net, x, "slice")
    return merged(net, softmax(net, scores(net, scaled(net, q), k, flat=True)), v)


def gathered(net: Net, x: str) -> str:
    q, k, v = fused(net, x, "gather")
    return merged(net, softmax(net, scores(net, scaled(net, q), k)), v)


def hugging_face(net: Net, x: str) -> str:
    q, k, v = separate(net, x)
    return merged(net, softmax(net, scaled(net, scores(net, q, k))), v)


def biased(net: Net, x: str) -> str:
    """A bias for each head, as in Swin, and a mask for every window."""
    q, k, v = fused(net, x, "gather")
    y = net.op("Add", scores(net, scaled(net, q), k), net.random(1, HEADS, TOKENS, TOKENS))
    y = net.op("Reshape", y, ints(1, BATCH, HEADS, TOKENS, TOKENS))
    mask = np.where(net.rng.random((1, BATCH, 1, TOKENS, TOKENS)) < 0.3, -100.0, 0.0).astype(np.float32)
    y = net.op("Reshape", net.op("Add", y, mask), ints(BATCH, HEADS, TOKENS, TOKENS))
    return merged(net, softmax(net, y), v)


def talking_heads(net: Net, x: str) -> str:
    """Heads are mixed before and behind the Softmax."""
    q, k, v = separate(net, x)
    y = net.conv(scores(net, scaled(net, q), k), (HEADS, HEADS, 1, 1), bias=True, name="before")
    y = net.conv(softmax(net, y), (HEADS, HEADS, 1, 1), bias=True, name="behind")
    return merged(net, y, v)


def cross_covariance(net: Net, x: str) -> str:
    """Channels attend to channels, normalised over the tokens (XCiT)."""
    y = linear(net, x, WIDTH, 3 * HEADS * SIZE, "qkv")
    y = net.op("Transpose", net.op("Reshape", y, ints(0, -1, 3, HEADS, SIZE)), perm=[2, 0, 3, 4, 1])
    q, k, v = (net.op("Gather", y, np.asarray(i), axis=0) for i in range(3))
    q, k = (net.op("Div", t, net.op("ReduceL2", t, axes=[-1], keepdims=1)) for t in (q, k))
    y = net.op("Mul", scores(net, q, k), net.random(HEADS, 1, 1, low=0.5, high=2.0))
    z = net.op("MatMul", softmax(net, y), v, name="mix")
    z = net.op("Reshape", net.op("Transpose", z, perm=[0, 3, 1, 2]), ints(BATCH, TOKENS, HEADS * SIZE))
    return linear(net, z, HEADS * SIZE, WIDTH, "proj")


def rotary(net: Net, x: str) -> str:
    """Queries and keys are turned by their places: x * cos + (-x2, x1) * sin, over heads of four channels."""
    size = 4
    parts = []
    for name in ("query", "key", "value"):
        y = net.op("Reshape", linear(net, x, WIDTH, HEADS * size, name), ints(BATCH, -1, HEADS, size))
        parts.append(net.op("Transpose", y, perm=[0, 2, 1, 3]))
    angles = np.outer(np.arange(TOKENS), np.tile(1.0 / 10.0 ** np.arange(size // 2), 2)).astype(np.float32)
    for i in (0, 1):
        first = net.op("Slice", parts[i], ints(0), ints(size // 2), ints(3))
        second = net.op("Slice", parts[i], ints(size // 2), ints(size), ints(3))
        turned = net.op("Concat", net.op("Neg", second), first, axis=-1)
        parts[i] = net.op(
            "Add", net.op("Mul", parts[i], np.cos(angles)), net.op("Mul", turned, np.sin(angles))
        )
    z = net.op("MatMul", softmax(net, scores(net, parts[0], parts[1])), parts[2], name="mix")
    z = net.op("Reshape", net.op("Transpose", z, perm=[0, 2, 1, 3]), ints(BATCH, TOKENS, HEADS * size))
    return linear(net, z, HEADS * size, WIDTH, "proj")


def normalised(net: Net, x: str) -> str:
    """Queries and keys are normalised within each head."""
    q, k, v = separate(net, x)
    return merged(net, softmax(net, scores(net, layer_norm(net, q, SIZE), layer_norm(net, k, SIZE))), v)


def one_head(net: Net, x: str) -> str:
    q, k, v = (linear(net, x, WIDTH, 8, name) for name in ("query", "key", "value"))
    y = net.op("MatMul", scaled(net, q), net.op("Transpose", k, perm=[0, 2, 1]), name="scores")
    return linear(net, net.op("MatMul", softmax(net, y), v, name="mix"), 8, WIDTH, "proj")


def convolved(net: Net, x: str) -> str:
    """Projections by 1x1 convolutions; heads lie before positions, and values are read twice."""
    image = net.op("Reshape", net.op("Transpose", x, perm=[0, 2, 1]), ints(BATCH, WIDTH, 2, 3))
    parts = [
        net.conv(image, (HEADS * SIZE, WIDTH, 1, 1), bias=True, name=name)
        for name in ("query", "key", "value")
    ]
    q, k, v = (net.op("Reshape", y, ints(BATCH, HEADS, SIZE, -1)) for y in parts)
    y = net.op("MatMul", net.op("Transpose", q, perm=[0, 1, 3, 2]), k, name="scores")
    z = net.op("MatMul", softmax(net, scaled(net, y)), net.op("Transpose", v, perm=[0, 1, 3, 2]), name="mix")
    z = net.op("Reshape", net.op("Transpose", z, perm=[0, 1, 3, 2]), ints(BATCH, HEADS * SIZE, 2, 3))
    local = net.conv(parts[2], (HEADS * SIZE, 1, 3, 3), group=HEADS * SIZE, pads=[1, 1, 1, 1], name="local")
    z = net.conv(net.op("Add", z, local), (WIDTH, HEADS * SIZE, 1, 1), bias=True, name="proj")
    return net.op("Transpose", net.op("Reshape", z, ints(BATCH, WIDTH, TOKENS)), perm=[0, 2, 1])


ATTENTIONS: dict[str, Step] = {
    step.__name__: step
    for step in (
        timm,
        dynamo,
        gathered,
        hugging_face,
        biased,
        talking_heads,
        cross_covariance,
        rotary,
        normalised,
        one_head,
        convolved,
    )
}


def block(attention: Step, opset: int = 17, seed: int = 0) -> onnx.ModelProto:
    """Tokens (2, 6, 20), attention and an MLP with residual sums, and a classifier on the first token."""
    net = Net(seed)
    x = net.input(shape=(BATCH, TOKENS, WIDTH))
    x = linear(net, x, WIDTH, WIDTH, "embed")
    x = net.op("Add", x, attention(net, layer_norm(net, x)))
    y = net.op("Relu", linear(net, layer_norm(net, x), WIDTH, HIDDEN, "fc1"))
    x = net.op("Add", x, linear(net, y, HIDDEN, WIDTH, "fc2"))
    first = net.op("Gather", layer_norm(net, x), np.asarray(0), axis=1)
    y = net.tell(net.gemm(first, (WIDTH, 10), bias=(10,), name="classifier"), (BATCH, 10))
    return net.model(y, opset=opset, domains=("com.microsoft",))


def one_operator(net: Net, x: str, scale: float | None = None, mask: bool = False) -> str:
    """ONNX's Attention, since opset 23."""
    parts = [linear(net, x, WIDTH, HEADS * SIZE, name) for name in ("query", "key", "value")]
    masks = [net.random(1, HEADS, TOKENS, TOKENS)] if mask else []
    attrs = {} if scale is None else {"scale": scale}
    z = net.op("Attention", *parts, *masks, q_num_heads=HEADS, kv_num_heads=HEADS, name="scores", **attrs)
    return linear(net, z, HEADS * SIZE, WIDTH, "proj")


def multi_head(net: Net, x: str) -> str:
    """onnxruntime's MultiHeadAttention, which adds the biases itself."""
    parts = [
        net.op("MatMul", x, net.random(WIDTH, HEADS * SIZE, name=f"{name}.weight"), name=name)
        for name in ("query", "key", "value")
    ]
    bias = net.random(3 * HEADS * SIZE, name="bias")
    z = net.op("MultiHeadAttention", *parts, bias, domain="com.microsoft", num_heads=HEADS, name="scores")
    return linear(net, z, HEADS * SIZE, WIDTH, "proj")
