"""Attention in the forms that exporters write, and fused."""

from __future__ import annotations

import numpy as np

from tests.fuzz.graphs.blocks.registry import block
from tests.fuzz.graphs.draft import MOST, Draft, Feature, UnfitError


def _heads(d: Draft, x: Feature) -> tuple[int, int]:
    """Draw heads and their size for tokens (batch, length, width)."""
    if x.row > MOST:
        raise UnfitError("too large")
    return int(d.pick(1, 2, 2)), int(d.pick(2, 3, 4))


def _weights_of(d: Draft, q: str, k: str, size: int, mask: str = "") -> str:
    """Softmax of the scaled product, the scale before or behind it."""
    place = d.pick("both", "q", "behind")
    scale = d.number(size**-0.25 if place == "both" else size**-0.5)
    q = d.op("Mul", q, scale) if place != "behind" else q
    k = d.op("Mul", k, scale) if place == "both" else k
    scores = d.op("MatMul", q, k)
    if place == "behind":
        scores = d.op("Mul", scores, scale) if d.flip() else d.op("Div", scores, d.number(size**0.5))
    scores = d.op("Add", scores, mask) if mask else scores
    return d.softmax(scores, 4, 3 if d.opset < 13 else -1)


def _close(d: Draft, x: Feature, z: str, inner: int) -> Feature:
    """Merge the heads, project, and add the trunk or not."""
    merged = d.reshape(d.op("Transpose", z, perm=[0, 2, 1, 3]), 0, x.shape[1], inner)
    y = d.dense(merged, inner, x.shape[2])
    return Feature(d.op("Add", x.name, y) if d.flip(0.7) else y, x.shape)


@block(3, odds=2)
def attention_fused_layer(d: Draft, x: Feature) -> Feature:
    """One layer for q, k and v: Reshape to five axes, Transpose, Split or Slice, Squeeze."""
    heads, size = _heads(d, x)
    y = d.dense(x.name, x.shape[2], 3 * heads * size)
    y = d.op("Transpose", d.reshape(y, 0, x.shape[1], 3, heads, size), perm=[2, 0, 3, 1, 4])
    if d.flip():
        parts = d.split(y, 0, 1, 1, 1)
    elif d.flip():
        parts = [d.slice(y, 0, index, index + 1) for index in range(3)]
    else:
        parts = []
    if parts:
        q, k, v = (d.squeeze(part, 0) for part in parts)
    else:
        q, k, v = (d.op("Gather", y, np.array(index, np.int64), axis=0) for index in range(3))
    weights = _weights_of(d, q, d.op("Transpose", k, perm=[0, 1, 3, 2]), size)
    return _close(d, x, d.op("MatMul", weights, v), heads * size)


@block(3, odds=2)
def attention_three_layers(d: Draft, x: Feature) -> Feature:
    """Three layers, each followed by Reshape and Transpose, a constant bias on the scores or not."""
    heads, size = _heads(d, x)
    inner = heads * size

    def project(perm: list[int]) -> str:
        y = d.dense(x.name, x.shape[2], inner, bias=d.flip(0.8))
        return d.op("Transpose", d.reshape(y, 0, -1, heads, size), perm=perm)

    q, k, v = project([0, 2, 1, 3]), project([0, 2, 3, 1]), project([0, 2, 1, 3])
    mask = d.vector(1, heads, x.shape[1], x.shape[1]) if d.flip(0.4) else ""
    return _close(d, x, d.op("MatMul", _weights_of(d, q, k, size, mask), v), inner)


@block(3, since=12)
def attention_by_einsum(d: Draft, x: Feature) -> Feature:
    """Products by Einsum on heads that stay behind the tokens."""
    heads, size = _heads(d, x)
    inner = heads * size
    q, k, v = (d.reshape(d.dense(x.name, x.shape[2], inner), 0, x.shape[1], heads, size) for _ in range(3))
    scores = d.op("Einsum", q, k, equation="nqhd,nkhd->nhqk")
    weights = d.softmax(d.op("Mul", scores, d.number(size**-0.5)), 4, 3)
    z = d.op("Einsum", weights, v, equation="nhqk,nkhd->nqhd")
    y = d.dense(d.reshape(z, 0, x.shape[1], inner), inner, x.shape[2])
    return Feature(d.op("Add", y, x.name), x.shape)


@block(3)
def attention_over_channels(d: Draft, x: Feature) -> Feature:
    """Scores between channels of unit length, with a temperature for each head."""
    heads, size = _heads(d, x)
    y = d.dense(x.name, x.shape[2], 3 * heads * size)
    y = d.op("Transpose", d.reshape(y, 0, x.shape[1], 3, heads, size), perm=[2, 0, 3, 4, 1])
    q, k, v = (d.squeeze(part, 0) for part in d.split(y, 0, 1, 1, 1))

    def unit(name: str) -> str:
        length = d.op("Add", d.reduce("ReduceL2", name, [3]), d.number(0.1))
        return d.op("Div", name, length)

    scores = d.op("MatMul", unit(q), d.op("Transpose", unit(k), perm=[0, 1, 3, 2]))
    weights = d.softmax(d.op("Mul", scores, d.vector(heads, 1, 1, middle=1.0)), 4, 3)
    z = d.op("Transpose", d.op("MatMul", weights, v), perm=[0, 3, 1, 2])
    y = d.dense(d.reshape(z, 0, x.shape[1], heads * size), heads * size, x.shape[2])
    return Feature(d.op("Add", x.name, y), x.shape)


@block(4)
def attention_by_conv(d: Draft, x: Feature) -> Feature:
    """Pointwise convolutions as layers and heads before the tokens."""
    length = x.row // x.shape[1]
    if length > 40:
        raise UnfitError("too large")
    heads, size = int(d.pick(1, 2)), int(d.pick(2, 4))
    inner = heads * size

    def project() -> str:
        y = d.op("Conv", x.name, d.weight(inner, x.shape[1], 1, 1, fan=x.shape[1]), d.vector(inner))
        return d.reshape(y, 0, heads, size, length)

    q, k, v = project(), project(), project()
    weights = _weights_of(d, d.op("Transpose", q, perm=[0, 1, 3, 2]), k, size)
    z = d.op("MatMul", v, d.op("Transpose", weights, perm=[0, 1, 3, 2]))
    z = d.reshape(z, 0, inner, *x.shape[2:])
    y = d.op("Conv", z, d.weight(x.shape[1], inner, 1, 1, fan=inner))
    return Feature(d.op("Add", x.name, y), x.shape)


@block(3, since=23, odds=3)
def attention_operator(d: Draft, x: Feature) -> Feature:
    """The operator of opset 23, with grouped keys or without."""
    heads, size = _heads(d, x)
    keys = d.divisor(heads, 1, heads)
    q = d.dense(x.name, x.shape[2], heads * size)
    k, v = (d.dense(x.name, x.shape[2], keys * size) for _ in range(2))
    attrs = {"scale": 0.5} if d.flip(0.3) else {}
    y = d.op("Attention", q, k, v, q_num_heads=heads, kv_num_heads=keys, **attrs)
    y = d.dense(y, heads * size, x.shape[2])
    return Feature(d.op("Add", x.name, y), x.shape)


@block(3)
def class_token(d: Draft, x: Feature) -> Feature:
    """A constant token before the others, positions added, and sometimes only that token read."""
    width = x.shape[2]
    token = d.op("Expand", d.vector(1, 1, width), _token_shape(d, x, width))
    y = d.op("Concat", token, x.name, axis=1)
    y = d.op("Add", y, d.vector(1, x.shape[1] + 1, width))
    if d.flip(0.3):
        return Feature(d.op("Gather", y, np.array(0, np.int64), axis=1), (x.shape[0], width))
    return Feature(y, (x.shape[0], x.shape[1] + 1, width))


def _token_shape(d: Draft, x: Feature, width: int) -> str:
    batch = d.op("Gather", d.op("Shape", x.name), np.array([0], np.int64), axis=0)
    return d.op("Concat", batch, np.array([1, width], np.int64), axis=0)
