"""What can be asked of ``quant``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graphopt.ir import Node
from graphopt.ir.transform.linear import LAYERS
from graphopt.pipeline import Context, Contract, PlannedPass, option
from graphopt.pipeline.contract.selection import Selection
from graphopt.targets.host import host_sums

from .calibration.ranges import CALIBRATORS, Calibrator
from .combinations import refuse_unheard
from .items import TuneItem
from .scheme import Scheme, resolve

REFIT_BELOW = 5  # measured (constants): bits of a weight; with more, fitting anew loses more than it gains
FULL, REDUCED = 127, 63  # fixed: largest stored weight in 8 and in 7 bits


@dataclass(frozen=True)
class Options(PlannedPass):
    """The options of ``quant``, and what follows from them alone."""

    name: ClassVar[str] = "quant"
    contract: ClassVar[Contract] = Contract.APPROXIMATE
    needs: ClassVar[tuple[str, ...]] = ("clean", "fold-bn:lone=true")

    calibrator: str = option(
        "minmax", "how the range of an activation follows from its values", choices=CALIBRATORS
    )
    percentile: float = option(
        99.999, "calibrator=percentile: how many percent of the values a range holds", minimum=50, maximum=100
    )
    mode: str = option(
        "static",
        "static: integers end to end; dynamic: ranges while the model runs; weights: only these are stored",
        choices=("static", "dynamic", "weights"),
    )
    bits: int = option(8, "bits of weights, with mode=weights", choices=(4, 8))
    block: int = option(
        32, "inputs that share a scale in matrices, with mode=weights", choices=(16, 32, 64, 128, 256)
    )
    activations: str | None = option(
        None,
        "integer type of activations; none: the default of the target",
        choices=("uint8", "int8", "uint16", "int16"),
    )
    symmetric: bool | None = option(
        None, "activations with their zero point in the middle; none: the default of the target"
    )
    per_channel: bool = option(True, "one weight scale for each output channel instead of one for all")
    include: tuple[str, ...] = option((), "the only layers to store: names with * and ?, or operator types")
    exclude: tuple[str, ...] = option((), "nodes that stay float: names with * and ?, or operator types")
    reduce_range: str = option(
        "auto",
        "smaller integers for weights whose sums saturate on CPUs without VNNI: none, the output channels "
        "where that can happen, or all in 7 bits; auto: channels where the CPU of this machine needs it",
        choices=("auto", "none", "channels", "all"),
    )

    weight_bits: int = option(8, "bits of a weight; fewer than 8 are stored in int8", minimum=2, maximum=8)
    rounding: str = option(
        "second-order",
        "nearest, or second-order: so that the outputs of a layer move least",
        choices=("nearest", "second-order"),
    )
    bias_correction: bool = option(True, "correct biases for mean errors, layer by layer")
    refit: bool | None = option(
        None,
        "refit weights before they are rounded; none: with fewer than 5 bits and rounding=second-order",
    )
    equalise: str = option(
        "auto",
        "give channels similar sizes by weights or activations; auto: what brings the outputs closer, if any",
        choices=("auto", "none", "activations", "weights"),
    )
    absorb: bool = option(
        True, "move what channels always hold into the biases behind them, if that brings the outputs closer"
    )
    keep_noisy_float: bool = option(
        True,
        "with weights of 8 bits: keep layers in float that alone make nearly a third of the outputs' noise",
        aliases=("spare",),
    )
    ranges: str | None = option(None, "file of ranges: read when it exists, else written")
    tensorrt_cache: str | None = option(None, "file for the ranges as TensorRT's calibration cache")
    max_drop: float | None = option(
        None,
        "points of accuracy (without labels: changed answers) that may be lost on held-out calibration "
        "samples; layers stay float as far as that needs",
        minimum=0,
    )
    measure: bool = option(
        True,
        "time both here, and leave float what 8 bits would slow down, or enlarge without making it faster "
        "(mode=static, onnxruntime targets)",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_unheard(self.options, {option.name: option.default for option in self.describe()})

    @property
    def has_goal(self) -> bool:
        """Whether it says itself how far to go; weights alone and ranges at run time are all or nothing."""
        return self.max_drop is not None or self.mode != "static" or bool(self.ranges or self.tensorrt_cache)

    def scheme_of(self, ctx: Context) -> Scheme:
        """The grids that are asked for; UsageError names what the target allows."""
        return resolve(ctx.target, self.activations, self.symmetric, self.per_channel)

    def calibrator_of(self, scheme: Scheme) -> Calibrator:
        """How ranges follow from values on the grid of a scheme."""
        levels = 2 ** np.iinfo(scheme.activation.dtype).bits - 1
        return Calibrator(self.calibrator, self.percentile, levels, scheme.activation.symmetric)

    @property
    def tuning(self) -> list[TuneItem]:
        """What is done to integers once they are stored."""
        rounding = self.rounding == "second-order"
        tune = TuneItem(rounding, self.bias_correction, self.refits)
        return [tune] if rounding or self.bias_correction or self.refits else []

    @property
    def refits(self) -> bool:
        """Whether weights are fitted anew before they are rounded."""
        if self.refit is None:
            return self.weight_bits < REFIT_BELOW and self.rounding == "second-order"
        return self.refit

    def weight_limit(self, bits: int, ctx: Context) -> int:
        """The largest integer of a weight of so many bits."""
        is_reduced = self.reduce_range == "all" or (self.mode == "dynamic" and self.sums(ctx) == "int16")
        return min(REDUCED if is_reduced else FULL, 2 ** (bits - 1) - 1)

    def sums(self, ctx: Context) -> str:
        """The integers in which products are added in pairs, so far as weights heed it."""
        if self.reduce_range == "auto":
            return host_sums(ctx.target)
        return "int16" if self.reduce_range == "channels" else "int32"

    @property
    def selection(self) -> Selection:
        """What the user wants stored and what not."""
        return Selection(self.include, self.exclude)

    def refusal(self, node: Node) -> str | None:
        """The user's reason against storing a node, or None; ``include`` is about layers alone."""
        return self.selection.refusal(node, is_layer=node.op in LAYERS)
