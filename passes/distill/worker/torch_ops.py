"""The operators of a training graph in PyTorch: what preparing leaves, with sizes fixed and constants lifted.

Each function takes the node's attributes and its inputs (None for one that is left out).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 (everybody calls it so)

Op = Callable[..., Any]
OPS: dict[str, Op] = {}


def _op(function: Op) -> Op:
    OPS["".join(part.capitalize() for part in function.__name__.strip("_").split("_"))] = function
    return function


def _ints(tensor: Any) -> list[int]:
    return [int(value) for value in tensor.reshape(-1).tolist()]


for _name, _function in {
    "Abs": torch.abs, "Cos": torch.cos, "Erf": torch.erf, "Exp": torch.exp, "Log": torch.log,
    "Neg": torch.neg, "Reciprocal": torch.reciprocal, "Sigmoid": torch.sigmoid, "Sin": torch.sin,
    "Sqrt": torch.sqrt, "Tanh": torch.tanh, "Relu": torch.relu, "Add": torch.add, "Sub": torch.sub,
    "Mul": torch.mul, "Div": torch.div, "Pow": torch.pow, "Greater": torch.gt, "Where": torch.where,
    "MatMul": torch.matmul, "Identity": lambda x: x, "Dropout": lambda x, *_: x,
}.items():  # fmt: skip
    OPS[_name] = lambda attrs, *inputs, call=_function: call(*inputs)


@_op
def _max(attrs: dict[str, Any], first: Any, *others: Any) -> Any:
    for other in others:
        first = torch.maximum(first, other)
    return first


@_op
def _min(attrs: dict[str, Any], first: Any, *others: Any) -> Any:
    for other in others:
        first = torch.minimum(first, other)
    return first


@_op
def _clip(attrs: dict[str, Any], x: Any, low: Any = None, high: Any = None) -> Any:
    return x.clamp(None if low is None else float(low), None if high is None else float(high))


@_op
def _leaky_relu(attrs: dict[str, Any], x: Any) -> Any:
    return F.leaky_relu(x, attrs.get("alpha", 0.01))


@_op
def _softmax(attrs: dict[str, Any], x: Any) -> Any:
    return torch.softmax(x, attrs.get("axis", -1))


@_op
def _log_softmax(attrs: dict[str, Any], x: Any) -> Any:
    return torch.log_softmax(x, attrs.get("axis", -1))


@_op
def _cast(attrs: dict[str, Any], x: Any) -> Any:
    kinds = {1: torch.float32, 6: torch.int32, 7: torch.int64, 9: torch.bool, 11: torch.float64}
    return x.to(kinds[attrs["to"]])


@_op
def _concat(attrs: dict[str, Any], *inputs: Any) -> Any:
    return torch.cat(inputs, attrs["axis"])


@_op
def _split(attrs: dict[str, Any], x: Any, sizes: Any = None) -> Any:
    axis = attrs.get("axis", 0)
    if sizes is not None:
        return torch.split(x, _ints(sizes), axis)
    count = attrs.get("num_outputs", attrs["outputs"])
    return torch.split(x, -(-x.shape[axis] // count), axis)


@_op
def _slice(attrs: dict[str, Any], x: Any, starts: Any, ends: Any, axes: Any = None, steps: Any = None) -> Any:
    begin, end = _ints(starts), _ints(ends)
    where = list(range(len(begin))) if axes is None else _ints(axes)
    by = [1] * len(begin) if steps is None else _ints(steps)
    for axis, first, last, step in zip(where, begin, end, by, strict=True):
        rows = range(x.shape[axis])[first:last:step]
        x = x.index_select(axis, torch.tensor(rows, device=x.device)) if step != 1 else _cut(x, axis, rows)
    return x


def _cut(x: Any, axis: int, rows: range) -> Any:
    return x.narrow(axis, rows.start, len(rows))


@_op
def _reshape(attrs: dict[str, Any], x: Any, sizes: Any) -> Any:
    wanted = _ints(sizes)
    if not attrs.get("allowzero", 0):
        wanted = [x.shape[i] if size == 0 else size for i, size in enumerate(wanted)]
    return x.reshape(wanted)


@_op
def _flatten(attrs: dict[str, Any], x: Any) -> Any:
    axis = attrs.get("axis", 1) % (x.ndim + 1)
    rows = 1
    for size in x.shape[:axis]:
        rows *= size
    return x.reshape(rows, -1)


@_op
def _transpose(attrs: dict[str, Any], x: Any) -> Any:
    return x.permute(attrs.get("perm") or list(range(x.ndim))[::-1])


@_op
def _squeeze(attrs: dict[str, Any], x: Any, axes: Any = None) -> Any:
    wanted = attrs.get("axes") if axes is None else _ints(axes)
    wanted = [i for i, size in enumerate(x.shape) if size == 1] if wanted is None else wanted
    return x.squeeze(tuple(axis % x.ndim for axis in wanted))


@_op
def _unsqueeze(attrs: dict[str, Any], x: Any, axes: Any = None) -> Any:
    wanted = attrs["axes"] if axes is None else _ints(axes)
    ndim = x.ndim + len(wanted)
    for axis in sorted(axis % ndim for axis in wanted):
        x = x.unsqueeze(axis)
    return x


@_op
def _gather(attrs: dict[str, Any], x: Any, indices: Any) -> Any:
    axis = attrs.get("axis", 0) % x.ndim
    flat = indices.reshape(-1).long() % x.shape[axis]
    taken = x.index_select(axis, flat)
    return taken.reshape(*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])


@_op
def _expand(attrs: dict[str, Any], x: Any, sizes: Any) -> Any:
    return x.expand(torch.broadcast_shapes(tuple(x.shape), tuple(_ints(sizes))))


@_op
def _tile(attrs: dict[str, Any], x: Any, repeats: Any) -> Any:
    return x.repeat(_ints(repeats))


@_op
def _pad(attrs: dict[str, Any], x: Any, pads: Any, value: Any = None, axes: Any = None) -> Any:
    given = _ints(pads)
    where = list(range(x.ndim)) if axes is None else [axis % x.ndim for axis in _ints(axes)]
    both = dict(zip(where, zip(given[: len(where)], given[len(where) :], strict=True), strict=False))
    flat = [size for axis in reversed(range(x.ndim)) for size in both.get(axis, (0, 0))]
    return F.pad(x, flat, value=0.0 if value is None else float(value))


def _axes(attrs: dict[str, Any], x: Any, axes: Any) -> tuple[int, ...]:
    given = attrs.get("axes") if axes is None else _ints(axes)
    return tuple(given) if given else tuple(range(x.ndim))


def _reduction(call: Callable[[Any, tuple[int, ...], bool], Any]) -> Op:
    def reduce(attrs: dict[str, Any], x: Any, axes: Any = None) -> Any:
        return call(x, _axes(attrs, x, axes), bool(attrs.get("keepdims", 1)))

    return reduce


OPS["ReduceMean"] = _reduction(lambda x, axes, keep: x.mean(axes, keep))
OPS["ReduceSum"] = _reduction(lambda x, axes, keep: x.sum(axes, keep))
OPS["ReduceL2"] = _reduction(lambda x, axes, keep: x.square().sum(axes, keep).sqrt())
OPS["ReduceLogSumExp"] = _reduction(lambda x, axes, keep: torch.logsumexp(x, axes, keep))


@_op
def _gemm(attrs: dict[str, Any], a: Any, b: Any, c: Any = None) -> Any:
    a = a.T if attrs.get("transA") else a
    b = b.T if attrs.get("transB") else b
    product = attrs.get("alpha", 1.0) * (a @ b) if attrs.get("alpha", 1.0) != 1.0 else a @ b
    return product if c is None else product + attrs.get("beta", 1.0) * c


@_op
def _conv(attrs: dict[str, Any], x: Any, weight: Any, bias: Any = None) -> Any:
    ndim = weight.ndim - 2
    x, pads = _even_pads(x, attrs.get("pads") or [0] * 2 * ndim, 0.0)
    call = (F.conv1d, F.conv2d, F.conv3d)[ndim - 1]
    strides, dilations = attrs.get("strides") or [1] * ndim, attrs.get("dilations") or [1] * ndim
    return call(x, weight, bias, strides, pads, dilations, attrs.get("group", 1))


def _even_pads(x: Any, pads: Sequence[int], value: float) -> tuple[Any, list[int]]:
    """Pads as PyTorch takes them: equal on both sides; what is not is padded beforehand."""
    ndim = len(pads) // 2
    before, after = list(pads[:ndim]), list(pads[ndim:])
    if before == after and min(before, default=0) >= 0:
        return x, before
    flat = [size for axis in reversed(range(ndim)) for size in (before[axis], after[axis])]
    return F.pad(x, flat, value=value), [0] * ndim


@_op
def _max_pool(attrs: dict[str, Any], x: Any) -> Any:
    kernel = attrs["kernel_shape"]
    ndim = len(kernel)
    x, pads = _even_pads(x, attrs.get("pads") or [0] * 2 * ndim, float("-inf"))
    if any(2 * pad > size for pad, size in zip(pads, kernel, strict=True)):  # more than PyTorch pads itself
        x = F.pad(x, [pad for pad in reversed(pads) for _ in "ab"], value=float("-inf"))
        pads = [0] * ndim
    call = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[ndim - 1]
    strides, dilations = attrs.get("strides") or [1] * ndim, attrs.get("dilations") or [1] * ndim
    return call(x, kernel, strides, pads, dilations, bool(attrs.get("ceil_mode", 0)))


@_op
def _average_pool(attrs: dict[str, Any], x: Any) -> Any:
    kernel = attrs["kernel_shape"]
    ndim = len(kernel)
    pads = list(attrs.get("pads") or [0] * 2 * ndim)
    strides, ceil = attrs.get("strides") or [1] * ndim, bool(attrs.get("ceil_mode", 0))
    call = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[ndim - 1]
    counted = bool(attrs.get("count_include_pad", 0))
    if pads[:ndim] == pads[ndim:]:
        return call(x, kernel, strides, pads[:ndim], ceil, counted)
    if counted:
        return call(_even_pads(x, pads, 0.0)[0], kernel, strides, 0, ceil)
    total, _ = _even_pads(x, pads, 0.0)
    ones, _ = _even_pads(torch.ones_like(x), pads, 0.0)
    return call(total, kernel, strides, 0, ceil) / call(ones, kernel, strides, 0, ceil)


@_op
def _global_average_pool(attrs: dict[str, Any], x: Any) -> Any:
    return x.mean(tuple(range(2, x.ndim)), True)


@_op
def _batch_normalization(
    attrs: dict[str, Any], x: Any, scale: Any, shift: Any, mean: Any, variance: Any
) -> Any:
    momentum = 1.0 - attrs.get("momentum", 0.9)
    return F.batch_norm(
        x, mean, variance, scale, shift, attrs["training"], momentum, attrs.get("epsilon", 1e-5)
    )


@_op
def _top_k(attrs: dict[str, Any], x: Any, count: Any) -> Any:
    axis, largest = attrs.get("axis", -1), bool(attrs.get("largest", 1))
    return torch.topk(x, int(count), axis, largest, bool(attrs.get("sorted", 1)))


@_op
def _fake_quant(attrs: dict[str, Any], x: Any, scale: Any, zero: Any) -> Any:
    """Round between two bounds; the gradient passes where nothing is clipped."""
    low, high = attrs["quant_min"], attrs["quant_max"]
    clipped = (x / scale + zero).clamp(low, high)
    rounded = clipped + (torch.round(x / scale).add(zero).clamp(low, high) - clipped).detach()
    return (rounded - zero) * scale
