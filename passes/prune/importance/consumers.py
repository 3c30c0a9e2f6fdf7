"""The layers that read channels, and the statistics that say what they lose without some of them."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from graphopt import ir
from graphopt.calibration import ChannelMoments, Gram, Patches, StatisticSpec
from graphopt.ir.transform.concatenation import concatenated_in
from graphopt.ir.transform.layer_bias import biased_output, vector_bias
from graphopt.ir.transform.residual import goes_into
from graphopt.solve import gram_bytes, has_affordable_gram
from graphopt.solve.limits import TINY

from ..coupling.builder import ParameterAxis
from ..coupling.coupling import Coupling
from ..coupling.groups import Group

if TYPE_CHECKING:
    from graphopt.data import Samples
    from graphopt.pipeline import Context

GRAM_BYTES = 2**30  # memory: of all Gram matrices together; layers beyond are judged input by input


@dataclass(frozen=True)
class Reader:
    """A layer that reads channels: its weights as a matrix, its statistics, and the scale of its error."""

    slot: ParameterAxis
    patches: Patches
    weights: np.ndarray  # (groups, n, outputs); with a Gram matrix a last row for the bias, zero
    gram: np.ndarray  # (groups, n, n), or mean squares (groups, n) where a Gram matrix is too much
    scale: float  # turns squared errors into shares of the variance of what the layer goes into
    biased: bool = False
    rows: int = 0  # that the Gram matrix sums up
    goes_into: str = ""  # the concatenation that its output is a part of, or that output

    def places(self, coupling: Coupling, cell: Group) -> list[tuple[int, np.ndarray]]:
        """Where the channels of a cell are read, as (group, rows of the matrix (channels, size))."""
        classes, groups = coupling.on(self.slot.ids), self.patches.groups
        own = np.flatnonzero(np.isin(classes, cell.classes))
        if not len(own):
            return []
        rank = {one: number for number, one in enumerate(cell.classes.tolist())}
        order = np.argsort([rank[one] for one in classes[own].tolist()], kind="stable")
        channels = own[order].reshape(len(cell.classes), -1)  # each class lies here equally often
        inside = len(classes) // groups
        return [
            (group, self._rows(channels[channels // inside == group].reshape(len(channels), -1) % inside))
            for group in range(groups)
        ]

    def _rows(self, channels: np.ndarray) -> np.ndarray:
        taps = math.prod(self.patches.kernel)
        return (channels[:, :, None] * taps + np.arange(taps)).reshape(len(channels), -1)


def find_readers(model: ir.Model, coupling: Coupling, samples: Samples, ctx: Context) -> list[Reader]:
    """Collect the statistics of every layer that reads removable channels, in one pass over the samples."""
    slots = [slot for slot in coupling.slots if slot.role == "in" and slot.index == 1]
    small = _affordable(slots)
    requests: dict[str, list[StatisticSpec]] = defaultdict(list)
    asked = []
    for slot in slots:
        axis, patches = -1 if slot.node.op == "MatMul" else 1, small.get(slot.node)
        moments = _moments_spec(axis)
        reads = moments if patches is None else _gram_spec(patches, _biased(slot.node), ctx.seed)
        after = goes_into(slot.node)
        tensors = [(slot.node.inputs[0].name, reads)]
        if patches is None or after is not biased_output(slot.node):
            tensors.append((after.name, moments))
        asked.append([(name, len(requests[name])) for name, _ in tensors])
        for name, spec in tensors:
            requests[name].append(spec)
    statistics = ctx.collect(model, requests, samples, allow_nonfinite=True)
    return side_by_side(
        [
            _reader(slot, small.get(slot.node), *(statistics[name][place] for name, place in places))
            for slot, places in zip(slots, asked, strict=True)
        ]
    )


def _biased(node: ir.Node) -> bool:
    """Whether a layer has a bias, or can be given one."""
    return node.op != "MatMul" or vector_bias(node) is not None


def side_by_side(readers: Sequence[Reader]) -> list[Reader]:
    """Weigh layers whose outputs are concatenated as the parts of one: each by its share of the channels."""
    targets = [_target(reader.slot.node) for reader in readers]
    outputs = [reader.weights.shape[0] * reader.weights.shape[2] for reader in readers]
    totals: Counter[str] = Counter()
    for target, count in zip(targets, outputs, strict=True):
        totals[target] += count
    return [
        replace(reader, scale=reader.scale * (count / totals[target]), goes_into=target)
        for reader, target, count in zip(readers, targets, outputs, strict=True)
    ]


def _target(node: ir.Node) -> str:
    """The concatenation that a layer goes into, or else itself."""
    concatenation = concatenated_in(node)
    return node.output.name if concatenation is None else concatenation.output.name


def _affordable(slots: Sequence[ParameterAxis]) -> dict[ir.Node, Patches]:
    """The layers that get a Gram matrix, the small ones first."""
    sizes = []
    for place, slot in enumerate(slots):
        patches, weight = Patches.of(slot.node), slot.node.inputs[1].constant
        if isinstance(patches, Patches) and weight is not None:
            groups, unknowns, _ = patches.shape(weight.shape)
            if has_affordable_gram(groups, unknowns):
                sizes.append((gram_bytes(groups, unknowns), place, patches))
    free, small = GRAM_BYTES, {}
    for size, place, patches in sorted(sizes, key=lambda entry: entry[:2]):
        free -= size
        if free >= 0:
            small[slots[place].node] = patches
    return small


def _reader(
    slot: ParameterAxis,
    patches: Patches | None,
    reads: Gram | ChannelMoments,
    moments: ChannelMoments | None = None,
) -> Reader:
    node = slot.node
    weight = node.inputs[1].constant
    assert weight is not None
    variance = 0.0 if moments is None else float(moments.variance.sum())
    alpha = float(node.attr("alpha", 1.0))  # of a Gemm
    if patches is not None and isinstance(reads, Gram):
        matrix = patches.matrix(weight) * alpha
        if reads.bias:
            matrix = np.concatenate([matrix, np.zeros((len(matrix), 1, matrix.shape[2]))], axis=1)
        rows = max(reads.count, 1)
        if moments is None:
            variance = _output_variance(reads.gram / rows, matrix, reads.bias)
        return Reader(slot, patches, matrix, reads.gram, 1.0 / (rows * (variance + TINY)), reads.bias, rows)
    geometry = _geometry(node)
    assert isinstance(reads, ChannelMoments)
    squares = np.repeat(reads.sum_of_squares / np.maximum(reads.count, 1), math.prod(geometry.kernel))
    matrix = geometry.matrix(weight) * alpha
    return Reader(slot, geometry, matrix, squares.reshape(geometry.groups, -1), 1.0 / (variance + TINY))


def _output_variance(products: np.ndarray, matrix: np.ndarray, biased: bool) -> float:
    """The variance of a layer's output, summed over its channels, from mean products of its inputs."""
    if biased:
        mean = products[:, -1]
        products = products - mean[:, :, None] * mean[:, None, :]
    return float(np.einsum("gnm,gnm->", matrix, products @ matrix))


def _geometry(node: ir.Node) -> Patches:
    """How a layer's weights become a matrix; enough where no rows are wanted."""
    if not node.op.startswith("Conv"):
        return Patches(node.op, flipped=bool(node.attr("transB", 0)))
    return Patches(node.op, node.inputs[1].constant.shape[2:], groups=int(node.attr("group", 1)))


def _gram_spec(patches: Patches, bias: bool, seed: int) -> StatisticSpec:
    return StatisticSpec.of("gram", patches=patches, bias=bias, seed=seed)


def _moments_spec(axis: int) -> StatisticSpec:
    return StatisticSpec.of("channel-moments", axis=axis)
