"""What a backend can do with a quantized or pruned model: plain data.

``profile`` reads it from TOML files; to add a backend, write its file beside the others, or name one from
anywhere with ``--target FILE.toml``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Grid:
    """How numbers are quantized.

    ``symmetric`` grids have their zero point in the middle (0 for signed types); ``narrow`` ones leave out
    the lowest integer, so that the grid is the same on both sides.
    """

    dtype: str
    symmetric: bool
    narrow: bool = False


@dataclass(frozen=True)
class WeightGrid(Grid):
    """A grid for weights; ``channel_axis`` is the axis that may have a scale of its own, by operator."""

    channel_axis: Mapping[str, int] | None = None

    def axis(self, op: str) -> int | None:
        """The channel axis of an operator's weight, None when it takes one scale for the whole weight."""
        return (self.channel_axis or {}).get(op)


@dataclass(frozen=True)
class Operators:
    """How the backend treats quantized operators; what stands in no list stays float.

    ``integer`` run on integers with scales of their own; ``pass_through`` need the same scale before and
    after; ``shared_scale`` want equal scales on all inputs; ``absorbed`` melt into their producer when the
    output range proves it; ``structural`` have a fixed output range [low, high] whatever the data.
    """

    integer: tuple[str, ...] = ()
    pass_through: tuple[str, ...] = ()
    shared_scale: tuple[str, ...] = ()
    absorbed: tuple[str, ...] = ()
    structural: Mapping[str, tuple[float, float]] | None = None
    fixed_16: Mapping[str, tuple[float, int]] | None = None  # scale and zero point of 16-bit results

    @property
    def known(self) -> frozenset[str]:
        """All operators that can run on integers."""
        return frozenset((*self.integer, *self.pass_through, *self.absorbed))


@dataclass(frozen=True)
class Allowed:
    """What a user may choose for a backend: integer types, zero points in the middle or anywhere, modes."""

    activations: tuple[str, ...]
    weights: tuple[str, ...]
    symmetric: tuple[bool, ...]
    modes: tuple[str, ...] = ("static",)
    dynamic: tuple[str, ...] = ()  # operators that mode=dynamic makes faster, or at least not much slower


@dataclass(frozen=True)
class Target:
    """One backend.

    ``placement`` says where quantization nodes stand: at the inputs of integer operators, or at both inputs
    and outputs.  ``bias`` is the type of biases in integer layers.  ``min_range`` is the smallest width of a
    range.  ``channel_block`` is the number of channels the kernels work on at a time, by instruction set.

    ``runtime`` is what messages call the backend; ``checked`` says whether its results are run here or only
    held against its rules.  ``whole``: every tensor is stored, graph outputs too.  ``tails``: what stays
    ``float`` before an output.  ``residual``: ``skip`` stores only the operand of an Add that no layer makes.
    ``walls``: the runtime quantizes float layers between integers unless the file prevents it.
    ``zero_point`` is the only one allowed.
    ``attributes`` and ``weight_rank`` are what operators need to be integer.  ``rewrites`` are tried on the
    graph first.

    ``form`` is what is deployed: ``qdq``, a file with the pairs; ``float+table``, a float file with rounded
    weights and the ``companions`` that the backend's converter reads; ``float``, a float file, which is all
    that it runs.  ``converter`` are the commands from the file to the device, with ``{stem}`` for its name.
    ``backends`` are those in which results are run when installed (``graphopt.backends``).

    ``opset_min`` is of files with pairs; ``opset_floor``, ``opset_max``, ``ir_min`` and ``ir_max`` are of any
    file.  ``avoid`` are operators that it does not run at all, ``stays_float`` those that it runs in float
    alone, ``not_between_pairs`` those that it gets wrong between a DequantizeLinear and a QuantizeLinear;
    ``half`` is whether it runs float16, ``slice_steps`` whether a Slice with steps other than 1: where
    not, shortcuts made of one are written as Convs.  ``layout`` is how it keeps images, ``sums`` the integers
    in which it adds products in pairs: those of this machine where results run here, else int32 or int16.
    ``absorbed_nodes``: ``drop`` takes out a Relu or Clip whose work storing does.  ``provider`` is that of
    onnxruntime by which it runs files.  ``auto`` are the passes of ``--passes auto``, in order.
    """

    name: str
    summary: str
    runtime: str
    checked: str
    opset_min: int
    placement: str
    bias: str
    min_range: float
    allowed: Allowed
    activation: Grid
    weight: WeightGrid
    operators: Operators
    channel_block: Mapping[str, int]
    rewrites: tuple[str, ...] = ()
    whole: bool = False
    tails: str = "integer"
    residual: str = "both"
    walls: bool = False
    static_shapes: bool = False
    least_channels: int = 1
    depthwise_block: int = 1
    zero_point: int | None = None
    attributes: Mapping[str, Mapping[str, tuple[Any, ...]]] | None = None
    weight_rank: Mapping[str, tuple[int, ...]] | None = None
    form: str = "qdq"
    companions: tuple[str, ...] = ()
    converter: tuple[str, ...] = ()
    backends: tuple[str, ...] = ()
    opset_floor: int = 0
    opset_max: int | None = None
    ir_min: int = 0
    ir_max: int | None = None
    avoid: tuple[str, ...] = ()
    stays_float: tuple[str, ...] = ()
    not_between_pairs: tuple[str, ...] = ()
    half: bool = True
    slice_steps: bool = True
    layout: str = "nchw"
    sums: str = "int32"
    absorbed_nodes: str = "keep"
    provider: str = "CPUExecutionProvider"
    auto: tuple[str, ...] = ("prune", "quant")

    def block(self, isa: str) -> int:
        """Channels per block on a machine; ``isa`` as ``runtime.machine()`` names it."""
        fitting = [name for name in self.channel_block if isa.startswith(name)]
        return self.channel_block[max(fitting, key=len) if fitting else "default"]
