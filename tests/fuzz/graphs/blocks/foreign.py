"""com.microsoft, a domain that no one knows, networks that are quantized already, random numbers."""

from __future__ import annotations

import numpy as np

from tests.fuzz.graphs.blocks.registry import block
from tests.fuzz.graphs.draft import Draft, Feature, UnfitError

MICROSOFT = "com.microsoft"


@block(odds=1.5)
def microsoft_activation(d: Draft, x: Feature) -> Feature:
    """FastGelu, BiasGelu, QuickGelu or Gelu of onnxruntime."""
    d.side.domains.add(MICROSOFT)
    op = d.pick("FastGelu", "BiasGelu", "QuickGelu", "Gelu")
    bias = [d.vector(x.shape[-1])] if op == "BiasGelu" or (op == "FastGelu" and d.flip()) else []
    return Feature(d.op(op, x.name, *bias, domain=MICROSOFT), x.shape)


@block(3, odds=1.5)
def microsoft_norm(d: Draft, x: Feature) -> Feature:
    """SkipLayerNormalization between layers."""
    if x.shape[-1] < 3:
        raise UnfitError("too few values")
    d.side.domains.add(MICROSOFT)
    width = x.shape[-1]
    skip = d.dense(x.name, width, width)
    y = d.op(
        "SkipLayerNormalization", x.name, skip, d.vector(width, middle=1.0), d.vector(width), domain=MICROSOFT
    )
    return Feature(y, x.shape)


@block(3)
def microsoft_attention(d: Draft, x: Feature) -> Feature:
    """Attention with its weights inside, or MultiHeadAttention behind three layers."""
    d.side.domains.add(MICROSOFT)
    heads, size = 2, int(d.pick(2, 4))
    inner, width = heads * size, x.shape[-1]
    if d.flip():
        weight = d.weight(width, 3 * inner, fan=width)
        y = d.op("Attention", x.name, weight, d.vector(3 * inner), domain=MICROSOFT, num_heads=heads)
    else:
        q, k, v = (d.dense(x.name, width, inner) for _ in range(3))
        y = d.op("MultiHeadAttention", q, k, v, domain=MICROSOFT, num_heads=heads)
    return Feature(d.dense(y, inner, width), x.shape)


@block(2, 3, 4)
def microsoft_product(d: Draft, x: Feature) -> Feature:
    """FusedMatMul with a factor and transposed operands."""
    d.side.domains.add(MICROSOFT)
    out = int(d.pick(2, 4))
    turned = d.flip()
    shape = (out, x.shape[-1]) if turned else (x.shape[-1], out)
    weight = d.weight(*shape, fan=x.shape[-1])
    y = d.op("FusedMatMul", x.name, weight, domain=MICROSOFT, alpha=0.5, transB=int(turned))
    return Feature(y, (*x.shape[:-1], out))


@block(since=13)
def stored_in_8_bits(d: Draft, x: Feature) -> Feature:
    """A pair of QuantizeLinear and DequantizeLinear, before a layer with 8-bit weights or alone."""
    if d.dtype != np.float32:
        raise UnfitError("scales are float32")
    kind = d.pick(np.uint8, np.int8)
    zero = np.array(128 if kind == np.uint8 else 0, kind)
    scale = np.array(0.05, np.float32)
    y = d.op("DequantizeLinear", d.op("QuantizeLinear", x.name, scale, zero), scale, zero)
    if d.flip():
        return Feature(y, x.shape)
    out = int(d.pick(2, 4))
    stored = d.rng.integers(-100, 101, (x.shape[-1], out)).astype(np.int8)
    scales = np.full(out, 0.01, np.float32)
    weight = d.op("DequantizeLinear", stored, scales, np.zeros(out, np.int8), axis=1)
    return Feature(d.op("MatMul", y, weight), (*x.shape[:-1], out))


@block(2, since=11)
def integer_product(d: Draft, x: Feature) -> Feature:
    """DynamicQuantizeLinear and MatMulInteger."""
    if d.dtype != np.float32:
        raise UnfitError("float32 alone")
    out = int(d.pick(3, 4))
    stored = d.const(d.rng.integers(-100, 101, (x.shape[1], out)).astype(np.int8))
    y, scale, zero = d.many(3, "DynamicQuantizeLinear", x.name)
    total = d.op("Cast", d.op("MatMulInteger", y, stored, zero), to=1)
    return Feature(d.op("Mul", total, d.op("Mul", scale, d.number(0.01))), (x.shape[0], out))


@block(odds=0.5)
def random_numbers(d: Draft, x: Feature) -> Feature:
    """Noise that differs from run to run, added or drawn into an output of its own."""
    noise = d.op(d.pick("RandomNormalLike", "RandomUniformLike"), x.name)
    if d.flip(0.7):
        d.output(noise, x.shape)
        return Feature(d.op("Relu", x.name), x.shape)
    return Feature(d.op("Add", x.name, noise), x.shape)


@block(odds=0.5)
def nothing_defined(d: Draft, x: Feature) -> Feature:
    """NaN or infinity that does not come through."""
    bad = d.op("Div", x.name, d.number(0.0))
    keep = d.op("IsNaN", bad) if d.flip() or d.opset < 10 else d.op("IsInf", bad)
    y = d.op("Where", keep, d.number(0.0), bad)
    return Feature(d.op("Add", x.name, d.clip(y, -1.0, 1.0)), x.shape)
