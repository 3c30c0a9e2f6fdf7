"""The layers that can be split, and why others cannot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from graphopt import ir
from graphopt.calibration import Patches
from graphopt.ir.analysis.operators import same_padding
from graphopt.ir.declared import static_shape
from graphopt.solve import has_affordable_gram

from .stage import Stage


@dataclass(frozen=True)
class Layer:
    """A Conv, Gemm or MatMul that can be split.

    ``stage`` describes it as it is, with explicit padding where the file fixes the sizes; ``source`` are the
    dims of what it reads in this run, ``output`` names the tensor it makes.
    """

    node: ir.Node
    patches: Patches
    stage: Stage
    source: tuple[int, ...]
    name: str
    output: str

    @property
    def inputs(self) -> int:
        """Input channels of one group."""
        return self.stage.inputs // self.stage.group

    @property
    def outputs(self) -> int:
        """Output channels of one group."""
        return self.stage.outputs // self.stage.group

    @property
    def axes(self) -> tuple[int, ...]:
        """The sizes of the axes that a row of inputs has: channels, then the kernel's."""
        return (self.inputs, *self.stage.kernel)

    @property
    def rows(self) -> int:
        """How many inputs of one group an output reads."""
        return int(np.prod(self.axes))

    @property
    def has_affordable_gram(self) -> bool:
        """Whether the covariance of what it reads is worth its memory."""
        return has_affordable_gram(self.stage.group, self.rows)

    @property
    def macs(self) -> int:
        """Its multiply-accumulates in this run."""
        return self.stage.macs(self.source)

    @property
    def biased(self) -> bool:
        """Whether it can have a bias of its own."""
        return self.node.op != "MatMul"

    @property
    def dtype(self) -> np.dtype:
        """The type of its weights."""
        weight = self.node.inputs[1].constant
        assert weight is not None
        return weight.dtype


def label(node: ir.Node) -> str:
    """The name a user knows a node by."""
    return str(node.name or (node.outputs[0].name if node.outputs else node.op))


def read_layer(
    node: ir.Node, shapes: Mapping[str, ir.Shape], declared: Mapping[str, ir.Shape]
) -> Layer | str:
    """Return a layer ready to be split, or the sentence that says why it cannot be.

    ``shapes`` are the sizes of this run, ``declared`` those that hold for every run.
    """
    if node.op == "ConvTranspose":
        return "transposed convolutions are not split"
    patches = Patches.of(node)
    if isinstance(patches, str):
        return patches
    refusal = _refusal(node)
    if refusal:
        return refusal
    source = static_shape(shapes.get(node.inputs[0].name))
    if source is None:
        return "the size of its input is not known"
    stage = _stage(node, patches, static_shape(declared.get(node.inputs[0].name)))
    return _shape_refusal(stage) or Layer(node, patches, stage, source, label(node), str(node.output.name))


def narrow(layer: Layer, least: int) -> str:
    """Return why a layer has too few channels to be worth splitting; an empty text when it has enough."""
    if min(layer.inputs, layer.outputs) >= least:
        return ""
    return (
        f"it is narrow: {layer.inputs} input and {layer.outputs} output channels"
        f"{' in each group' if layer.stage.group > 1 else ''}, min_channels is {least}"
    )


def _refusal(node: ir.Node) -> str:
    weight, bias = node.inputs[1].constant, node.input(2)
    assert weight is not None
    if weight.dtype.kind != "f":
        return f"its weights are {weight.dtype.name}"
    if len(node.inputs[1].consumers) > 1:
        return "another layer shares its weights"
    if bias is not None and (bias.constant is None or bias.constant.ndim > 1):
        return "its bias is computed or a matrix"
    return ""


def _shape_refusal(stage: Stage) -> str:
    if stage.group > 1 and stage.inputs == stage.group:
        return "it is depthwise: each output reads a single channel, so there is no rank to lower"
    return ""


def _written_out(patches: Patches, sizes: Sequence[int]) -> tuple[int, ...]:
    return same_padding(sizes, patches.kernel, patches.strides, patches.dilations, patches.auto_pad)


def _stage(node: ir.Node, patches: Patches, declared: tuple[int, ...] | None) -> Stage:
    weight = node.inputs[1].constant
    assert weight is not None
    groups, _, outputs = patches.shape(weight.shape)
    if node.op != "Conv":
        return Stage(node.op, weight.shape[1 if patches.flipped else 0], outputs, flipped=patches.flipped)
    pads, auto_pad = patches.pads, patches.auto_pad
    if auto_pad == "VALID":
        auto_pad = "NOTSET"
    elif auto_pad != "NOTSET" and declared is not None:
        pads, auto_pad = _written_out(patches, declared[2:]), "NOTSET"
    return Stage(
        "Conv",
        int(weight.shape[1]) * groups,
        int(weight.shape[0]),
        groups,
        patches.kernel,
        patches.strides,
        patches.dilations,
        pads,
        auto_pad,
    )
