"""Matrix products of every kind, Einsum, computed biases."""

from __future__ import annotations

from typing import Any

from tests.fuzz.graphs.blocks.registry import block
from tests.fuzz.graphs.draft import MOST, Draft, Feature, UnfitError


@block(2, odds=4)
def gemm(d: Draft, x: Feature) -> Feature:
    """Weights either way round, alpha and beta, biases of every shape or none."""
    out = d.channels()
    turned = d.flip()
    shape = (out, x.shape[1]) if turned else (x.shape[1], out)
    weight = d.weight(*shape, fan=x.shape[1])
    attrs: dict[str, Any] = {"transB": int(turned)}
    if d.flip(0.2):
        attrs["alpha"] = float(d.pick(0.5, 2.0))
    if d.flip(0.2):
        attrs["beta"] = float(d.pick(0.0, 0.5, 3.0))
    form = d.pick((out,), (out,), (1, out), (), (1,), None)
    bias = [] if form is None and d.opset >= 11 else [d.vector(*(form or ()))]
    return Feature(d.op("Gemm", x.name, weight, *bias, **attrs), (x.shape[0], out))


@block(2)
def computed_bias(d: Draft, x: Feature) -> Feature:
    """A Gemm whose bias is what another layer computes."""
    out = int(d.pick(3, 4, 8))
    bias = d.op("Relu", d.op("Gemm", x.name, d.weight(x.shape[1], out, fan=x.shape[1]), d.vector(out)))
    other = d.like(x)
    y = d.op("Gemm", other.name, d.weight(x.shape[1], out, fan=x.shape[1]), bias)
    return Feature(y, (x.shape[0], out))


@block(2)
def gemm_turned(d: Draft, x: Feature) -> Feature:
    """The data as the transposed or the second operand of a Gemm."""
    out = int(d.pick(3, 4))
    if d.flip():
        turned = d.op("Transpose", x.name, perm=[1, 0])
        y = d.op("Gemm", turned, d.weight(x.shape[1], out, fan=x.shape[1]), d.vector(out), transA=1)
        return Feature(y, (x.shape[0], out))
    y = d.op("Gemm", d.weight(out, x.shape[1], fan=x.shape[1]), x.name, d.number(0.0), transB=1)
    return Feature(d.op("Transpose", y, perm=[1, 0]), (x.shape[0], out))


@block(odds=3)
def matmul(d: Draft, x: Feature) -> Feature:
    """A constant matrix on the last axis, with an Add behind it or without."""
    out = d.channels()
    if x.row // x.shape[-1] * out > MOST * 4:
        raise UnfitError("too large")
    y = d.dense(x.name, x.shape[-1], out, bias=d.flip(0.7))
    return Feature(y, (*x.shape[:-1], out))


@block(3, 4, 5)
def matmul_left(d: Draft, x: Feature) -> Feature:
    """A constant matrix from the left, on the last axis but one; sometimes one for each batch entry."""
    out = int(d.pick(2, 3, 4, 5))
    stack = (x.shape[1],) if x.rank == 4 and d.flip(0.3) else ()
    y = d.op("MatMul", d.weight(*stack, out, x.shape[-2], fan=x.shape[-2]), x.name)
    return Feature(y, (*x.shape[:-2], out, x.shape[-1]))


@block(3, 4)
def matmul_of_data(d: Draft, x: Feature) -> Feature:
    """A product of two computed tensors: the data with its transpose, and that with the data."""
    perm = [*range(x.rank - 2), x.rank - 1, x.rank - 2]
    left = d.op("Tanh", x.name)
    gram = d.op("MatMul", left, d.op("Transpose", d.like(x).name, perm=perm))
    scaled = d.op("Mul", gram, d.number(1.0 / x.shape[-1]))
    if d.flip():
        return Feature(scaled, (*x.shape[:-1], x.shape[-2]))
    return Feature(d.op("MatMul", scaled, x.name), x.shape)


@block(2, 3, 4, 5, odds=2)
def perceptron(d: Draft, x: Feature) -> Feature:
    """Two dense layers around an activation, with a residual connection or without."""
    inner = int(d.pick(4, 8, 12))
    hidden = d.op(d.pick("Relu", "Tanh", "Sigmoid"), d.dense(x.name, x.shape[-1], inner))
    y = d.dense(hidden, inner, x.shape[-1])
    return Feature(d.op("Add", x.name, y) if d.flip(0.7) else y, x.shape)


@block(3, 4, 5, odds=2)
def flatten_concat_gemm(d: Draft, x: Feature) -> Feature:
    """Several tensors made flat, joined, and read by one layer."""
    others = [d.features[int(d.rng.integers(len(d.features)))] for _ in range(int(d.pick(1, 2)))]
    parts = [x, *(other for other in others if other.shape[0] == x.shape[0])]
    flat = [
        d.op("Flatten", part.name, axis=1) if d.flip(0.7) else d.reshape(part.name, 0, -1) for part in parts
    ]
    width = sum(part.row for part in parts)
    if width > MOST * 4:
        raise UnfitError("too large")
    joined = Feature(d.op("Concat", *flat, axis=1), (x.shape[0], width))
    return gemm(d, joined)


@block(2, 3, 4, since=12)
def einsum(d: Draft, x: Feature) -> Feature:
    """Constants and data by Einsum."""
    letters, out = "nabc"[: x.rank], int(d.pick(2, 4, 6))
    axis = int(d.rng.integers(1, x.rank))
    read = letters[axis]
    result = letters.replace(read, "z") if d.flip(0.7) else letters.replace(read, "") + "z"
    y = d.op(
        "Einsum",
        x.name,
        d.weight(x.shape[axis], out, fan=x.shape[axis]),
        equation=f"{letters},{read}z->{result}",
    )
    sizes = {**dict(zip(letters, x.shape, strict=True)), "z": out}
    return Feature(y, tuple(sizes[letter] for letter in result))


@block(2, 3, since=12)
def einsum_of_data(d: Draft, x: Feature) -> Feature:
    """Two computed tensors by Einsum: an outer product, or scores."""
    left, right = d.op("Tanh", x.name), d.like(x).name
    if x.rank == 2:
        if x.shape[1] ** 2 > MOST:
            raise UnfitError("too large")
        return Feature(
            d.op("Einsum", left, right, equation="na,nb->nab"), (x.shape[0], x.shape[1], x.shape[1])
        )
    y = d.op("Einsum", left, right, equation="nac,nbc->nab")
    return Feature(d.op("Mul", y, d.number(1.0 / x.shape[2])), (x.shape[0], x.shape[1], x.shape[1]))


@block(2)
def wide_and_deep(d: Draft, x: Feature) -> Feature:
    """Two layers whose outputs are multiplied and subtracted, and a third that reads both."""
    inner, out = int(d.pick(4, 6)), int(d.pick(3, 5))
    first, second = (d.op("Relu", d.dense(x.name, x.shape[1], inner)) for _ in range(2))
    joined = d.op("Concat", d.op("Mul", first, second), d.op("Sub", first, second), axis=1)
    return Feature(d.dense(joined, 2 * inner, out), (x.shape[0], out))
