"""The guard: what a rule forgets is pinned by the builder, and zeros break unless an operator keeps them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from graphopt import ir
from graphopt.errors import GraphoptError
from graphopt.passes.prune import Prune
from graphopt.passes.prune.coupling import operators, step
from graphopt.passes.prune.coupling.builder import DATA, CouplingBuilder, Settled, Travel
from graphopt.passes.prune.coupling.facts import gather_facts
from graphopt.passes.prune.coupling.step import Operator
from graphopt.runtime import Session
from tests.corpus._net import Net, ints
from tests.passes.prune.oracle import (
    assert_twin,
    context,
    copy,
    feeds_of,
    largest_difference,
    load,
    masked_twin,
    prune,
)

HALF = Prune(ratio=0.5, round_to=1)


def two_branches(op: str = "Mul") -> ir.Model:
    """Two layers of 8 channels whose maps meet in one operator."""
    net = Net()
    x = net.input(shape=(1, 3, 6, 6))
    y = net.op(op, net.conv(x, (8, 3, 1, 1), name="first"), net.conv(x, (8, 3, 1, 1), name="second"))
    return load(net.model(net.conv(y, (2, 8, 1, 1), name="last")))


def holds(model: ir.Model) -> bool:
    """Whether the pruned model is valid and gives what its twin gives."""
    try:
        pruned = prune(model, HALF)
        return largest_difference(masked_twin(pruned), pruned.after, feeds_of(pruned), "disabled") <= 1e-4
    except (GraphoptError, AssertionError):
        return False


def forgets_an_operand(walk: CouplingBuilder, node: ir.Node) -> Settled:
    """Carries the first operand on and says nothing of the second."""
    found = walk.channels(node.input(0))
    if found is not None:
        walk.carry(node.output, found.axis, found.ids)
    return DATA


def names_an_operand_and_does_nothing(walk: CouplingBuilder, node: ir.Node) -> Settled:
    forgets_an_operand(walk, node)
    return 0, 1


def forgets_half_of_the_channels(walk: CouplingBuilder, node: ir.Node) -> Settled:
    """Pins the first half of the second operand only."""
    forgets_an_operand(walk, node)
    found = walk.channels(node.input(1))
    if found is not None:
        walk.pin(found.ids[: len(found.ids) // 2], "the first half stays")
    return 0, 1


def forgets_the_output(walk: CouplingBuilder, node: ir.Node) -> Settled:
    return 0, 1


PLANTED: list[Callable[[CouplingBuilder, ir.Node], Settled]] = [
    *(forgets_an_operand, names_an_operand_and_does_nothing, forgets_half_of_the_channels),
    *(forgets_the_output, lambda walk, node: ()),
]


@pytest.mark.parametrize("rule", PLANTED)
def test_what_a_rule_forgets_is_pinned(
    rule: Callable[[CouplingBuilder, ir.Node], Settled], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(operators.OPERATORS, "Mul", Operator(rule, Travel.KEEPS, inputs=2))
    pruned = prune(two_branches(), HALF)
    assert any(step.UNHANDLED in reason for reason in pruned.coupling.walls.values())
    assert_twin(pruned)
    monkeypatch.setattr(step, "_pin_forgotten", lambda *_: None)
    assert not holds(two_branches())  # without the guard the same rule breaks the model


def test_the_operands_of_the_planted_rule_stay_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(operators.OPERATORS, "Mul", Operator(lambda walk, node: (), Travel.KEEPS, inputs=2))
    pruned = prune(two_branches(), HALF)
    assert {"first", "second"} <= set(pruned.skipped)
    assert_twin(pruned)


@pytest.mark.parametrize("other", ["constant", "whole"])
def test_an_input_that_no_rule_knows_is_not_followed(other: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule for one operand meets a node with two, the second a constant or a tensor that stays whole."""
    net = Net()
    x = net.conv(net.input(shape=(1, 8, 6, 6)), (8, 8, 1, 1), name="first")
    y = net.op("Mul", x, net.random(8, 1, 1) if other == "constant" else net.op("Abs", "x"))
    model = load(net.model(net.conv(y, (2, 8, 1, 1), name="last")))
    assert holds(model)
    monkeypatch.setitem(operators.OPERATORS, "Mul", Operator(forgets_an_operand, Travel.KEEPS))
    assert "may mix" in prune(model, HALF).skipped["first"]
    monkeypatch.setattr(Operator, "knows", lambda *_: True)
    assert not holds(model)


def test_an_output_that_no_rule_knows_is_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule for one output meets a node that has two: here the mask of a Dropout."""
    net = Net()
    y, mask = net.many(2, "Dropout", net.conv(net.input(shape=(1, 3, 6, 6)), (8, 3, 1, 1), name="first"))
    y = net.op("Mul", y, net.op("Cast", mask, to=1))
    model = load(net.model(net.conv(y, (2, 8, 1, 1), name="last")))
    assert holds(model)
    monkeypatch.setitem(operators.OPERATORS, "Dropout", Operator(forgets_an_operand, Travel.KEEPS))
    assert "may mix" in prune(model, HALF).skipped["first"]


def test_counts_that_a_rule_does_not_check_are_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    """An Expand whose sizes are a count of channels, by a rule that does not look at its sizes."""
    net = Net()
    x = net.conv(net.input(shape=(1, 3, 6, 6)), (8, 3, 1, 1), name="first")
    size = net.op("Gather", net.op("Shape", x), ints(1))
    total = net.op("ReduceSum", net.op("Expand", net.array(1.0), size), keepdims=0)
    model = load(net.model(net.op("Mul", net.conv(x, (2, 8, 1, 1), name="last"), total)))
    monkeypatch.setitem(operators.OPERATORS, "Expand", Operator(forgets_an_operand, Travel.KEEPS, inputs=2))
    assert step.COUNTED in prune(model, HALF).skipped["first"]
    monkeypatch.setattr(step, "_pin_counted", lambda *_: None)
    assert not holds(model)


# -- zeros -----------------------------------------------------------------------------------------------


def shut_and_opened() -> ir.Model:
    """Channels of zeros that an operator turns into ones; the reader pads, so it can take nothing over."""
    net = Net()
    weights = net.rng.standard_normal((8, 3, 1, 1)).astype(np.float32)
    weights[[1, 4]] = 0
    y = net.op("Exp", net.op("Conv", net.input(shape=(1, 3, 6, 6)), weights, name="first"))
    return load(net.model(net.conv(y, (4, 8, 3, 3), name="last", pads=[1] * 4)))


def moved() -> float:
    """How far pruning dead channels moves the output."""
    before = shut_and_opened()
    after = copy(before)
    Prune(round_to=1).run(after, context(after))
    feeds = {"x": np.random.default_rng(1).standard_normal((1, 3, 6, 6)).astype(np.float32)}
    return largest_difference(before, after, feeds, "disabled")


def test_zeros_break_where_nothing_is_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(operators.OPERATORS, "Exp", Operator(operators.OPERATORS["Exp"].rule))
    assert moved() <= 1e-5
    monkeypatch.setattr(step, "_break_zeros", lambda *_: None)
    assert moved() > 1e-3


def test_a_false_declaration_is_caught_by_running_the_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    assert false_declarations() == []
    planted = Operator(operators.OPERATORS["Exp"].rule, Travel.KEEPS)
    monkeypatch.setitem(operators.OPERATORS, "Exp", planted)
    assert false_declarations() == ["Exp keeps zeros"]
    planted = Operator(operators.OPERATORS["InstanceNormalization"].rule, Travel.KEEPS)
    monkeypatch.setitem(operators.OPERATORS, "GroupNormalization", planted)
    assert "GroupNormalization keeps constants" in false_declarations()


Build = Callable[[Net, str], str]


def with_parameters(op: str, *shapes: tuple[int, ...], **attrs: object) -> Build:
    """An operator with positive parameters; those that shift are zero."""
    return lambda net, x: net.op(op, x, *(net.random(*shape, low=0.5, high=1.5) for shape in shapes), **attrs)


def batch_norm(net: Net, x: str) -> str:
    ones, zeros = np.ones(4, np.float32), np.zeros(4, np.float32)
    return net.op("BatchNormalization", x, ones, zeros, zeros, ones)


def group_norm(net: Net, x: str) -> str:
    y = net.op("GroupNormalization", x, net.random(4), np.zeros(4, np.float32), num_groups=2)
    return net.tell(y, (1, 4, 6, 6))


SPECIAL: dict[str, Build] = {
    "BatchNormalization": batch_norm,
    "InstanceNormalization": lambda net, x: net.op(
        "InstanceNormalization", x, net.random(4), np.zeros(4, np.float32)
    ),
    "GroupNormalization": group_norm,
    "LayerNormalization": with_parameters("LayerNormalization", (6,), axis=-1),
    "Cast": with_parameters("Cast", to=6),
    "Not": lambda net, x: net.op("Not", net.op("Cast", x, to=9)),
    "Clip": lambda net, x: net.op("Clip", x, net.array(-0.5), net.array(0.5)),
    "CumSum": lambda net, x: net.op("CumSum", x, np.array(3)),
    "Concat": lambda net, x: net.op("Concat", x, x, axis=2),
    "Expand": lambda net, x: net.op("Expand", x, ints(2, 4, 6, 6)),
    "Flatten": lambda net, x: net.op("Flatten", x, axis=2),
    "Gather": lambda net, x: net.op("Gather", x, ints(2, 0), axis=2),
    "Pad": lambda net, x: net.op("Pad", x, ints(0, 0, 1, 1, 0, 0, 1, 1), mode="reflect"),
    "Reshape": lambda net, x: net.op("Reshape", x, ints(1, 4, 36)),
    "Resize": lambda net, x: net.op("Resize", x, None, net.array(1, 1, 2, 2), mode="cubic"),
    "Slice": lambda net, x: net.op("Slice", x, ints(1), ints(5), ints(3)),
    "Split": lambda net, x: net.many(2, "Split", x, axis=2, num_outputs=2)[0],
    "Squeeze": lambda net, x: net.op("Squeeze", x, ints(0)),
    "Unsqueeze": lambda net, x: net.op("Unsqueeze", x, ints(0)),
    "Tile": lambda net, x: net.op("Tile", x, ints(1, 1, 2, 1)),
    "Transpose": lambda net, x: net.op("Transpose", x, perm=[0, 1, 3, 2]),
    "AveragePool": with_parameters("AveragePool", kernel_shape=[2, 2]),
    "MaxPool": with_parameters("MaxPool", kernel_shape=[2, 2], pads=[1, 1, 1, 1]),
    "LpPool": with_parameters("LpPool", kernel_shape=[2, 2]),
    "GridSample": with_parameters("GridSample", (1, 3, 3, 2), padding_mode="zeros"),
    **{op: with_parameters(op, (4, 1, 1)) for op in ("Mul", "Div", "PRelu")},
}
REDUCING = ("ReduceL1", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum")
for name in (*REDUCING, "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp"):
    SPECIAL[name] = lambda net, x, op=name: net.op(op, x, ints(3))  # type: ignore[misc]
for name in ("ArgMax", "ArgMin", "Softmax", "LogSoftmax", "Hardmax", "LpNormalization"):
    SPECIAL[name] = with_parameters(name, axis=3)
# Operators whose data are no map of floats, that move channels, or of which the runtime has no kernel.
LEFT = {
    *("Conv", "ConvTranspose", "Gemm", "MatMul", "DepthToSpace", "SpaceToDepth", "Shape", "Upsample"),
    *("MaxRoiPool", "RoiAlign", "And", "Or", "Xor", "Equal", "Greater", "GreaterOrEqual", "Less"),
    *("LessOrEqual", "Where", "Pow", "Mod", "Add", "Sub", "Sum", "Mean", "Max", "Min"),
}


def false_declarations() -> list[str]:
    """What operators are said to do with zero or constant channels and do not, by running each of them."""
    false = []
    for op, operator in operators.OPERATORS.items():
        if op in LEFT:
            continue
        net = Net(3)
        x = net.input(shape=(1, 4, 6, 6))
        build = SPECIAL.get(op, lambda net, x, op=op: net.op(op, x))
        y = net.tell(net.op("Cast", build(net, x), to=1), None)
        model = load(net.model(y, opset=22))
        travel = travel_of(model, op, operator)
        try:
            kept, constant = behaviour(model)
        except GraphoptError:
            continue  # no kernel
        if travel is Travel.KEEPS and not kept:
            false.append(f"{op} keeps zeros")
        if travel is not Travel.MIXES and not constant:
            false.append(f"{op} keeps constants")
    return false


def travel_of(model: ir.Model, op: str, operator: Operator) -> Travel:
    """The declaration for this very node, channels on axis 1 of its data."""
    walk = CouplingBuilder(model.graph, gather_facts(model, context(model)))
    walk.carry(model.graph.inputs[0], 1, walk.ledger.fresh(4))
    node = next(node for node in model.graph.nodes if node.op == op)
    return operator.travel if isinstance(operator.travel, Travel) else operator.travel(walk, node)


def behaviour(model: ir.Model) -> tuple[bool, bool]:
    """Whether channel 1 stays zero, and whether it is the same whatever the other channels hold."""
    session = Session(model, optimization="disabled")
    rng = np.random.default_rng(0)
    results = []
    for _ in range(2):
        x = rng.uniform(0.1, 0.9, (1, 4, 6, 6)).astype(np.float32)
        x[:, 1] = 0
        (result,) = session.run({"x": x}).values()
        axis = next(axis for axis, size in enumerate(result.shape) if size == 4)
        results.append(result.take(1, axis))
    return not np.any(results[0]), np.array_equal(results[0], results[1], equal_nan=True)
