"""Set single weights to zero."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from graphopt import ir
from graphopt.errors import PassError, UsageError
from graphopt.pipeline import Contract, Plan, PlannedPass, option
from graphopt.pipeline.contract.selection import Selection

from .layerwise import sparsify_fitted, zero
from .pattern import Below, Blocks, Pattern, Share
from .size import compressed_bytes
from .weights import Layer, find_layers

if TYPE_CHECKING:
    from graphopt.pipeline import Context

RATIO = 0.5  # fixed: where nothing is asked for; as many zeros as pattern=2of4, which hardware reads, leaves


@dataclass(frozen=True)
class Sparsify(PlannedPass):
    """Set single weights to zero, the least important first, for compression and for N:M hardware.

    Sparse weights compress well, and some hardware multiplies N:M sparse matrices faster.  Runtimes with
    dense kernels, onnxruntime among them, do not get faster: ``prune`` is for that.

    With samples each layer is fitted to what the original computed while its weights go, in the order of the
    graph; without, the smallest weights go.  Later passes see the mask as zeros, nothing else.
    """

    name: ClassVar[str] = "sparsify"
    contract: ClassVar[Contract] = Contract.APPROXIMATE
    needs: ClassVar[tuple[str, ...]] = ("clean", "fold-bn:lone=true")

    ratio: float | None = option(
        None, f"fraction of the weights to set to zero; {RATIO:g} when nothing is given", minimum=0, maximum=1
    )
    threshold: float | None = option(None, "set weights below this size to zero", minimum=0)
    pattern: str | None = option(None, "keep N of every M weights along the inputs, as in 2of4 for TensorRT")
    ranking: str = option(
        "layer",
        "where weights compete for a ratio: layer, every layer loses as many; global, the smallest of all "
        "go, in units of their layer's mean",
        choices=("layer", "global"),
    )
    repair: bool = option(True, "fit the remaining weights to the calibration samples, layer by layer")
    exclude: tuple[str, ...] = option((), "layers to leave alone: names with * and ?, or operator types")
    include: tuple[str, ...] = option((), "the only layers to touch: names with * and ?, or operator types")

    def __post_init__(self) -> None:
        super().__post_init__()
        given = [name for name in ("ratio", "threshold", "pattern") if getattr(self, name) is not None]
        if len(given) > 1:
            raise UsageError(f"sparsify takes one of ratio, threshold and pattern, not {' and '.join(given)}")
        if self.pattern is not None:
            Blocks.parse(self.pattern)
        if self.ranking == "global" and (self.pattern or self.threshold) is not None:
            raise UsageError(
                f"sparsify: ranking=global distributes a ratio, and with {given[0]} there is none",
                hint="leave ranking out, or give ratio",
            )

    def plan(self, model: ir.Model, ctx: Context) -> Plan:
        """Decide how sparse each layer becomes; an item is one weight."""
        layers = self._layers(model, ctx)
        pairs = zip(layers, self._patterns(layers), strict=True)
        items = [_item(layer, pattern) for layer, pattern in pairs if _fits(layer, pattern)]
        kept = tuple(item for item in items if item["zeros"])
        if not kept:
            ctx.warn("sparsify set nothing to zero")
        return Plan(kept)

    def apply(self, model: ir.Model, plan: Plan, ctx: Context) -> None:
        """Set weights to zero as ``plan`` says, and fit the others."""
        model.sort()
        layers = {layer.node.output.name: layer for layer in self._layers(model, ctx, quiet=False)}
        wanted = {}
        for item in plan.items:
            layer = layers.get(str(item["tensor"]))
            if layer is None:
                raise PassError(
                    f"the plan names '{item['layer']}', which this model does not have or cannot change",
                    pass_name=self.name,
                    hint="make a new plan for this model",
                )
            wanted[str(item["tensor"])] = _pattern(item)
        self._say_misfits([layer for name, layer in layers.items() if name not in wanted], ctx)
        chosen = [layer for name, layer in layers.items() if name in wanted]
        before = compressed_bytes(layer.values for layer in chosen)
        if self.repair and not ctx.calibration_is_synthetic:
            done = list(sparsify_fitted(model, wanted, chosen, ctx.calibration, ctx))
            notes = {one.layer.node.output.name: f", output error {one.fitted:.1%}" for one in done}
        else:
            notes = {}
            for layer in chosen:
                zero(layer, wanted[layer.node.output.name])
        model.graph.remove_unused_initializers()
        self._report(chosen, wanted, notes, before, ctx)

    def _report(
        self,
        layers: Sequence[Layer],
        wanted: dict[str, Pattern],
        notes: dict[str, str],
        before: int,
        ctx: Context,
    ) -> None:
        zeros = total = 0
        for layer in layers:
            values, name = layer.values, layer.node.output.name
            gone = int(values.size - np.count_nonzero(values))
            zeros, total = zeros + gone, total + values.size
            share = gone / values.size
            ctx.changed(
                layer.node,
                f"{share:.1%} of {values.size} weights are zero ({wanted[name]}){notes.get(name, '')}",
            )
        after = compressed_bytes(layer.values for layer in layers)
        ctx.reported(
            f"{zeros / max(total, 1):.1%} of the weights are zero; compressed they take {after:,} "
            f"bytes instead of {before:,}. Runtimes with dense kernels do not get faster by zeros.",
            sparsity=zeros / max(total, 1),
            compressed_before=before,
            compressed_after=after,
        )

    def _say_misfits(self, layers: Sequence[Layer], ctx: Context) -> None:
        """Name the layers that the pattern does not fit."""
        pattern = None if self.pattern is None else Blocks.parse(self.pattern)
        for layer in layers:
            if pattern is not None and not _fits(layer, pattern):
                ctx.skipped(
                    layer.node,
                    f"each output reads {layer.channels} channels, not a multiple of {pattern.of}",
                )

    # -- which layers, and how sparse -----------------------------------------------------------------------

    def _layers(self, model: ir.Model, ctx: Context, quiet: bool = True) -> list[Layer]:
        layers: list[Layer] = []
        nodes: list[ir.Node] = []
        selection = Selection(self.include, self.exclude)
        for one in find_layers(model):
            if isinstance(one, Layer):
                nodes += one.nodes
                reason = next(filter(None, map(selection.refusal, one.nodes)), None)
                if reason is None:
                    layers.append(one)
                elif not quiet:
                    ctx.skipped(one.node, reason)
            else:
                nodes.append(one[0])
                if not quiet:
                    ctx.skipped(*one)
        selection.check("sparsify", nodes)
        return layers

    def _patterns(self, layers: Sequence[Layer]) -> list[Pattern]:
        if self.pattern is not None:
            return [Blocks.parse(self.pattern) for _ in layers]
        if self.threshold is not None:
            return [Below(self.threshold) for _ in layers]
        ratio = RATIO if self.ratio is None else self.ratio
        if self.ranking == "layer" or not layers:
            return [Share(ratio) for _ in layers]
        sizes = [_relative(layer.values) for layer in layers]
        limit = np.quantile(np.concatenate(sizes), ratio)
        return [Share(float(np.mean(size <= limit))) for size in sizes]


def _relative(values: np.ndarray) -> np.ndarray:
    """The sizes of weights in units of their root mean square."""
    wide = np.abs(values.astype(np.float64)).ravel()
    return np.asarray(wide / (np.sqrt(np.mean(np.square(wide))) or 1.0))


def _fits(layer: Layer, pattern: Pattern) -> bool:
    """Whether the inputs of every group fall into whole blocks."""
    return not isinstance(pattern, Blocks) or layer.channels % pattern.of == 0


def _item(layer: Layer, pattern: Pattern) -> dict[str, Any]:
    which: dict[str, Any]
    if isinstance(pattern, Below):
        zeros, which = int(pattern.gone(layer.sizes()).sum()), {"threshold": pattern.threshold}
    elif isinstance(pattern, Blocks):
        zeros, which = _count(pattern, layer), {"pattern": f"{pattern.keep}of{pattern.of}"}
    else:
        zeros, which = _count(pattern, layer), {"ratio": pattern.ratio}
    return {
        "layer": layer.name,
        "tensor": layer.node.output.name,
        "weights": int(layer.values.size),
        "zeros": zeros,
        **which,
    }


def _count(pattern: Share | Blocks, layer: Layer) -> int:
    return round(pattern.ratio * layer.values.size)


def _pattern(item: Any) -> Pattern:
    if "threshold" in item:
        return Below(float(item["threshold"]))
    return Blocks.parse(str(item["pattern"])) if "pattern" in item else Share(float(item["ratio"]))
