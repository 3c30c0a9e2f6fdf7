"""The pass: decide what to store in 8 bits, measure ranges, put the pairs in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import ClassVar

from graphopt import ir, runtime
from graphopt.errors import ModelError, UsageError
from graphopt.ir import Model, Node
from graphopt.pipeline import Context, Contract, Plan, PlannedPass, option

from .decisions import tensor_items
from .insertion import insert
from .items import (
    GateItem,
    Item,
    PadItem,
    RescaleItem,
    RewriteItem,
    ScalarItem,
    WallItem,
    WeightItem,
    from_plan,
    node_id,
    to_plan,
)
from .placement import Placement, place
from .ranges import measure_ranges, widen_pools
from .rewrites import carry_out, find_rewrites
from .rules import LAYERS, weight_shape
from .scheme import OPSET, Scheme, opset_of, raise_opset, resolve
from .validation import refuse_violations

ISLANDS = 4  # more than one island for so many layers is worth a warning
FULL, REDUCED = 127, 63  # largest stored weight in 8 and in 7 bits
# Without these dot products, pairs of u8 * s8 are summed in 16 bits, which saturates on 8-bit weights.
SATURATING = frozenset({"avx512", "avx2", "avx", "sse4_1"})
QUANTIZED_OPS = frozenset(
    {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "ConvInteger", "MatMulInteger"}
)


@dataclass(frozen=True)
class Quant(PlannedPass):
    """Store activations and weights in 8 bits, and compute on integers where the runtime can.

    Activations become uint8 with one scale and zero point for each tensor, weights int8 with one scale for
    each output channel, biases int32.  What the runtime cannot compute on integers stays float, and so do
    the model's inputs and outputs.
    """

    name: ClassVar[str] = "quant"
    contract: ClassVar[Contract] = Contract.APPROXIMATE
    needs: ClassVar[tuple[str, ...]] = ("clean", "fold-bn")

    calibrator: str = option(
        "minmax", "how the range of an activation follows from its values", choices=("minmax",)
    )
    activations: str | None = option(
        None,
        "integers that activations become; none: what the target likes best",
        choices=("uint8", "int8", "uint16", "int16"),
    )
    symmetric: bool | None = option(
        None, "activations with their zero point in the middle; none: as the target likes it"
    )
    per_channel: bool = option(True, "one weight scale for each output channel instead of one for all")
    include: tuple[str, ...] = option((), "only these layers: names, * and ? stand for any characters")
    exclude: tuple[str, ...] = option((), "nodes that stay float: names, * and ? stand for any characters")
    reduce_range: bool | None = option(
        None, "7-bit weights, for CPUs without VNNI; none: as the CPU of this machine needs it"
    )

    def plan(self, model: Model, ctx: Context) -> Plan:
        """Decide which tensors and weights to store, and measure the ranges of the tensors."""
        if reason := _refusal(model):
            ctx.skipped("model", reason)
            return Plan()
        self._refuse_unmatched(model)
        scheme = resolve(ctx.target, self.activations, self.symmetric, self.per_channel)
        before = model.snapshot()
        try:
            scheme = raise_opset(model, scheme, ctx.warn)
            return self._plan(model, scheme, ctx)
        except ModelError as error:
            ctx.skipped("model", str(error))
            return Plan()
        finally:
            model.restore(before)

    def apply(self, model: Model, plan: Plan, ctx: Context) -> None:
        """Put the pairs of a plan into the model, at the opset that they need."""
        if not plan.items:
            return
        items = from_plan(plan)
        ir.convert_opset(model, opset_of(items))
        carry_out(model, items, ctx.target)
        labels = {node_id(node): node for node in model.graph.nodes if node.op in LAYERS}
        for item in items:
            if isinstance(item, WeightItem) and item.node in labels:
                ctx.changed(labels[item.node], "int8")
        insert(model.graph, items)
        refuse_violations(model, ctx.target)

    def _plan(self, model: Model, scheme: Scheme, ctx: Context) -> Plan:
        rewrites = self._rewrites(model, scheme)
        placement = place(model, self._exclusion, scheme.target)
        for node, reason in placement.skips:
            ctx.skipped(node, reason)
        if not placement.layers:
            ctx.skipped("model", "it has no layer that can run on integers")
            return Plan()
        _warn(placement, ctx)
        return to_plan([*rewrites, *self._items(model, placement, scheme, ctx)])

    def _rewrites(self, model: Model, scheme: Scheme) -> list[RewriteItem]:
        """Rewrite what then runs on integers, and leave the rest as it was."""
        before = model.snapshot()
        found = find_rewrites(model, scheme.target, self._exclusion)
        if not found:
            return []
        placement = place(model, self._exclusion, scheme.target)
        useful = {node_id(n) for n in placement.integer} | {node_id(n) for n in placement.absorbed}
        kept = [item for item in found if item.node in useful]
        if len(kept) < len(found):
            model.restore(before)
            carry_out(model, list(kept), scheme.target)
        return kept

    def _items(self, model: Model, placement: Placement, scheme: Scheme, ctx: Context) -> Iterator[Item]:
        ranges = measure_ranges(model, dict.fromkeys(s.source.name for s in placement.stored), ctx)
        widen_pools(ranges, (stored.source for stored in placement.stored))
        yield from tensor_items(placement, ranges, scheme)
        limit = self._weight_limit()
        for node in placement.layers:
            name = node_id(node)
            yield WeightItem(name, node.inputs[1].name, scheme.axis(node), limit, scheme.target.bias)
        yield from (RescaleItem(node_id(node)) for node in placement.rescaled)
        yield from (PadItem(node_id(node)) for node in placement.pads)
        yield from (ScalarItem(node_id(node)) for node in placement.scalars)
        yield from (GateItem(node_id(node)) for node in placement.gates)
        if scheme.opset >= OPSET:
            yield from (WallItem(node_id(node), _input_channels(node)) for node in placement.walls)

    def _weight_limit(self) -> int:
        reduce = self.reduce_range
        if reduce is None:
            reduce = runtime.machine()["isa"] in SATURATING
        return REDUCED if reduce else FULL

    def _exclusion(self, node: Node) -> str | None:
        """The user's reason against a node, or None."""
        for pattern in self.exclude:
            if _matches(node, pattern):
                return f"exclude={pattern}"
        if self.include and node.op in LAYERS and not any(_matches(node, p) for p in self.include):
            return "include does not name it"
        return None

    def _refuse_unmatched(self, model: Model) -> None:
        """Refuse patterns that name nothing: they are typing errors."""
        for option_name, patterns in (("include", self.include), ("exclude", self.exclude)):
            for pattern in patterns:
                if not any(_matches(node, pattern) for node in model.graph.nodes):
                    raise UsageError(
                        f"quant: {option_name}={pattern} matches no node of the model",
                        hint="graphopt inspect MODEL --layers lists the names",
                    )


def _warn(placement: Placement, ctx: Context) -> None:
    """Say what makes the result less than it could be."""
    if ctx.calibration_is_synthetic:
        ctx.warn("quant: ranges come from synthetic samples; give real ones with --calibration")
    islands = sum(node.op not in LAYERS for node, _ in placement.skips)
    if islands * ISLANDS > len(placement.layers):
        ctx.warn(
            f"quant: {islands} operators run in float between {len(placement.layers)} integer layers, "
            "which may cost more than it gains: compare the latency"
        )
    if ctx.target.checked == "rules":
        ctx.warn(f"quant: the result is checked against the rules of {ctx.target.name}, not run there")


def _matches(node: Node, pattern: str) -> bool:
    """Whether a pattern means a node, by its name or its first output's."""
    outputs = [tensor.name for tensor in node.outputs[:1]]
    return any(fnmatchcase(name, pattern) for name in (node.name, *outputs) if name)


def _refusal(model: Model) -> str | None:
    """Why the whole model is left alone, or None."""
    found = Counter(
        node.op
        for graph in model.graphs()
        for node in graph.nodes
        if node.op in QUANTIZED_OPS or node.op.startswith(("QLinear", "QGemm"))
    )
    if not found:
        return None
    ops = ", ".join(f"{count} {op}" for op, count in found.most_common(3))
    return f"it is quantized already ({ops}); give the float model"


def _input_channels(node: Node) -> int:
    """How many channels a float layer reads (axis 1 of its input)."""
    shape = weight_shape(node)
    assert shape is not None  # placement asks
    if node.op == "Conv":  # (out, in / group, *kernel)
        return shape[1] * int(node.attr("group", 1))
    if node.op == "ConvTranspose":  # (in, out / group, *kernel)
        return shape[0]
    return shape[1 if node.attr("transB", 0) else 0]
