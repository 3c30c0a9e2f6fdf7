"""Layer normalisation spelled out: recognised, so that it stays fusible, and written as the operator."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graphopt.ir import Array, Node, Tensor
from graphopt.ir.analysis.constants import axes_of
from graphopt.ir.declared import Shape, static_shape
from graphopt.passes.clean.rules.base import Rule, View
from graphopt.passes.clean.rules.products import scalar

LAYER_NORM_SINCE = 17  # fixed: the opset that brought the operator


@dataclass(frozen=True)
class WrittenOutNorm:
    """(x - mean) / sqrt(variance + epsilon), or the same without the mean, times a scale, plus a bias."""

    source: Tensor
    axes: tuple[int, ...]
    epsilon: float
    centred: bool
    scale: Tensor | None = None
    bias: Tensor | None = None


def written_out_norm(node: Node, view: View) -> WrittenOutNorm | None:
    """The normalisation that ``node``, a Div, Mul or Add, ends; None when it ends none."""
    if node.op == "Div":
        return _quotient(node, view)
    if node.op not in ("Mul", "Add"):
        return None
    for place in (0, 1):
        tensor, parameter = node.inputs[place], node.inputs[1 - place]
        if view.constant(parameter) is None or tensor.producer is None or not tensor.is_private:
            continue
        inner = written_out_norm(tensor.producer, view) if _is_step(tensor.producer, node) else None
        if inner is not None and inner.bias is None:
            return _with_parameter(inner, node.op, parameter)
    return None


def _is_step(before: Node, node: Node) -> bool:
    """Whether ``before`` may come before ``node`` in a normalisation: Div, Mul, Add."""
    return before.is_standard and before.op in {"Mul": ("Div",), "Add": ("Div", "Mul")}[node.op]


def _with_parameter(inner: WrittenOutNorm, op: str, parameter: Tensor) -> WrittenOutNorm:
    scale, bias = (parameter, None) if op == "Mul" else (inner.scale, parameter)
    return WrittenOutNorm(inner.source, inner.axes, inner.epsilon, inner.centred, scale, bias)


def _quotient(node: Node, view: View) -> WrittenOutNorm | None:
    """Match d / sqrt(mean(d^2) + epsilon), d being x - mean(x) or x itself."""
    centred, root = node.inputs[0], node.inputs[1].producer
    if root is None or root.op != "Sqrt" or not root.is_standard:
        return None
    shifted = root.inputs[0].producer
    if shifted is None or shifted.op != "Add" or not shifted.is_standard:
        return None
    for place in (0, 1):
        epsilon, mean = scalar(shifted.inputs[place], view), shifted.inputs[1 - place].producer
        axes = _mean_axes(mean, view)
        if epsilon is None or mean is None or axes is None:
            continue
        base = _squared(mean.inputs[0], view)
        if base is None:
            return None
        source = _centred(centred, axes, view)
        if source is not None and (base is centred or _centred(base, axes, view) is source):
            return WrittenOutNorm(source, axes, epsilon, True)
        if base is centred:
            return WrittenOutNorm(base, axes, epsilon, False)
    return None


def _squared(tensor: Tensor, view: View) -> Tensor | None:
    """Match d^2 or d * d and return d."""
    node = tensor.producer
    if node is None or not node.is_standard:
        return None
    if node.op == "Pow" and scalar(node.inputs[1], view) == 2:
        return node.inputs[0]
    return node.inputs[0] if node.op == "Mul" and node.inputs[0] is node.inputs[1] else None


def _centred(tensor: Tensor, axes: tuple[int, ...], view: View) -> Tensor | None:
    """Match x - mean(x) over the same axes and return x."""
    node = tensor.producer
    if node is None or node.op != "Sub" or not node.is_standard:
        return None
    source, mean = node.inputs[0], node.inputs[1].producer
    if _mean_axes(mean, view) != axes or mean is None or mean.inputs[0] is not source:
        return None
    return source


def _mean_axes(node: Node | None, view: View) -> tuple[int, ...] | None:
    """The axes of a ReduceMean that keeps them; None for anything else."""
    if node is None or node.op != "ReduceMean" or not node.is_standard or not node.attr("keepdims", 1):
        return None
    axes = axes_of(node, [None, view.constant(node.input(1))])
    return None if not axes else tuple(axes)


def _layer_norm(node: Node, view: View) -> str | None:
    """Write a normalisation with scale over the last axes as LayerNormalization."""
    norm = written_out_norm(node, view)
    if norm is None or norm.scale is None or not norm.centred or view.model.opset < LAYER_NORM_SINCE:
        return None
    if node.op == "Mul" and _goes_on(node, view):
        return None  # the Add after it, which is visited next, ends the normalisation
    axis = _first_axis(norm, view)
    shape = view.facts.shape(norm.source)
    if axis is None or shape is None or view.facts.dtype(norm.source) != np.float32:
        return None
    sizes = shape[axis:]
    parameters = [_over(view.constant(t), sizes) for t in (norm.scale, norm.bias) if t is not None]
    if any(parameter is None for parameter in parameters):
        return None
    _write(node, norm, axis, [parameter for parameter in parameters if parameter is not None])
    return "a spelled-out LayerNormalization is one node"


def _goes_on(node: Node, view: View) -> bool:
    if not node.output.is_private:
        return False
    after = written_out_norm(node.output.consumers[0], view) if node.output.consumers[0].op == "Add" else None
    return after is not None and after.bias is not None


def _first_axis(norm: WrittenOutNorm, view: View) -> int | None:
    """The first of the axes, counted from the end, when they are the last ones."""
    rank = view.facts.rank(norm.source)
    if rank is None:
        return None
    axes = sorted(axis % rank for axis in norm.axes)
    return axes[0] - rank if axes == list(range(axes[0], rank)) else None


def _over(value: Array | None, sizes: Shape) -> Array | None:
    """A parameter in the shape of the normalised axes; None when it is not one number for each element."""
    if value is None or value.dtype != np.float32 or static_shape(sizes) is None:
        return None
    surplus = value.ndim - len(sizes)
    if surplus < 0 or value.shape[surplus:] != sizes or any(size != 1 for size in value.shape[:surplus]):
        return None
    return value.reshape(value.shape[surplus:])


def _write(node: Node, norm: WrittenOutNorm, axis: int, parameters: list[Array]) -> None:
    graph, result = node.graph, node.output
    title = node.name or "LayerNormalization"
    tensors: list[Tensor] = []
    for role, tensor, value in zip(("scale", "bias"), (norm.scale, norm.bias), parameters, strict=False):
        is_same = tensor is not None and tensor.constant is not None and tensor.constant.shape == value.shape
        tensors.append(
            tensor if tensor is not None and is_same else graph.add_constant(f"{title}.{role}", value)
        )
    node.outputs.clear()
    attrs = {"axis": axis, "epsilon": norm.epsilon}
    graph.add_node(
        "LayerNormalization",
        [norm.source, *tensors],
        attrs,
        outputs=[result],
        name=node.name or None,
        like=node,
    )
    graph.remove(node)


NORM_RULES: dict[str, list[Rule]] = {"Mul": [_layer_norm], "Add": [_layer_norm]}
