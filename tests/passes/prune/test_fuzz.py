"""A thousand random networks over the whole table of operators: the masked twin holds for every one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest

from graphopt import ir
from graphopt.errors import GraphoptError
from graphopt.passes.prune.coupling.coupling import Coupling, couple
from graphopt.passes.prune.coupling.facts import Facts, gather_facts
from graphopt.passes.prune.coupling.groups import find_cells
from graphopt.passes.prune.coupling.parameter_axes import ParameterAxis
from graphopt.passes.prune.selection.predict import Keep
from graphopt.passes.prune.surgery.cut import remove_channels
from tests.corpus._net import Net, ints
from tests.corpus.networks.random_topology import random_topology
from tests.passes.prune.oracle import context, copy, largest_difference, load

BLOCKS, GRAPHS = 25, 42  # every one with its own seed
TOLERANCE = 1e-4
WRONG = 1e-3


@dataclass
class Draw:
    """A random network, and channels of it drawn to go."""

    model: ir.Model
    facts: Facts
    coupling: Coupling
    keep: Keep
    feeds: dict[str, np.ndarray]


def draw(seed: int) -> Draw:
    model = load(random_topology(seed))
    facts = gather_facts(model, context(model))
    coupling = couple(model, facts)
    rng = np.random.default_rng(seed)
    keep = coupling.keep_all()
    for cell in find_cells(coupling, 1):
        keep[rng.permutation(cell.classes)[: len(cell.classes) // 2]] = False
    return Draw(model, facts, coupling, keep, {"x": rng.standard_normal((1, 3, 6, 6)).astype(np.float32)})


def twin(drawn: Draw) -> ir.Model:
    """The original with zeros wherever a weight reads a removed channel."""
    model = copy(drawn.model)
    for slot in couple(model, drawn.facts).slots:
        removed = ~drawn.coupling.kept(slot.ids, drawn.keep)
        if slot.role == "in" and removed.any():
            values = slot.zeroed(slot.values, removed)
            slot.node.inputs[slot.index] = model.graph.add_constant("masked", values)
    return model


def pruned(drawn: Draw, coupling: Coupling | None = None) -> ir.Model:
    """Cut the drawn network by its coupling, or by one that is wrong."""
    model = copy(drawn.model)
    remove_channels(model, coupling or couple(model, drawn.facts), drawn.keep)
    return model


@pytest.mark.parametrize("block", range(BLOCKS))
def test_masked_twin(block: int) -> None:
    narrowed = 0
    for seed in range(block * GRAPHS, (block + 1) * GRAPHS):
        drawn = draw(seed)
        if drawn.keep.all():
            continue
        narrowed += 1
        after = pruned(drawn)
        after.check()
        level = ("disabled", "all")[seed % 2]
        assert largest_difference(twin(drawn), after, drawn.feeds, level) <= TOLERANCE, seed
    assert narrowed >= 0.7 * GRAPHS


# -- the oracle notices what is wrong -----------------------------------------------------------------------

Spoil = Callable[[Coupling], Coupling]


def is_noticed(drawn: Draw, spoil: Spoil) -> bool:
    """Whether a cut by a spoilt coupling gives a model that does not run, or other numbers than the twin."""
    model = copy(drawn.model)
    remove_channels(model, spoil(couple(model, drawn.facts)), drawn.keep)
    try:
        return largest_difference(twin(drawn), model, drawn.feeds, "disabled") > WRONG
    except (GraphoptError, AssertionError):
        return True


def small(build: Callable[[Net, str], str], gone: int = 0) -> Draw:
    """A linear network of 8 channels around one operator, so that nothing hides an error."""
    net = Net(5)
    y = build(net, net.conv(net.input(shape=(1, 3, 6, 6)), (8, 3, 3, 3), name="first"))
    model = load(net.model(net.conv(y, (4, 6, 1, 1), name="last")))
    facts = gather_facts(model, context(model))
    coupling = couple(model, facts)
    keep = coupling.keep_all()
    keep[coupling.on(coupling.slots[-1].ids)[gone]] = False
    feeds = {"x": np.random.default_rng(0).standard_normal((1, 3, 6, 6)).astype(np.float32)}
    return Draw(model, facts, coupling, keep, feeds)


def gather(net: Net, x: str) -> str:
    return net.op("Gather", x, ints(3, 1, 5, 2, 6, 4), axis=1)


def window(net: Net, x: str) -> str:
    return net.op("Slice", x, ints(1), ints(7), ints(1))


def every_other(net: Net, x: str) -> str:
    return net.op("Slice", net.op("Tile", x, ints(1, 2, 1, 1)), ints(1), ints(13), ints(1), ints(2))


def padded(net: Net, x: str) -> str:
    y = net.op("Slice", x, ints(0), ints(4), ints(1))
    return net.op("Pad", y, ints(0, 1, 0, 0, 0, 1, 0, 0), net.array(0.5))


def shuffled(net: Net, x: str) -> str:
    y = net.op("Transpose", net.op("Reshape", x, ints(1, 2, 4, 4, 4)), perm=[0, 2, 1, 3, 4])
    return window(net, net.op("Reshape", y, ints(1, 8, 4, 4)))


def without(kind: str) -> Spoil:
    """Leave out the edits of one kind."""
    return lambda coupling: replace(
        coupling, edits=tuple(edit for edit in coupling.edits if edit.kind != kind)
    )


def with_swapped_ends(coupling: Coupling) -> Coupling:
    """Take the padding away at the wrong end."""
    edits = [
        replace(edit, after=tuple(replace(end, ids=end.ids[::-1].copy()) for end in edit.after))
        if edit.kind == "pad"
        else edit
        for edit in coupling.edits
    ]
    return replace(coupling, edits=tuple(edits))


def with_one_wrong_column(coupling: Coupling) -> Coupling:
    """Let the last layer keep its columns one place further."""
    last = coupling.slots[-1]
    assert last.role == "in"
    return replace(coupling, slots=(*coupling.slots[:-1], replace(last, ids=np.roll(last.ids, 1))))


PLANTED: list[tuple[Callable[[Net, str], str], Spoil]] = [
    (gather, without("gather")),
    (window, without("slice")),
    (every_other, without("route")),
    (shuffled, without("route")),
    (padded, without("pad")),
    (padded, with_swapped_ends),
    *((build, with_one_wrong_column) for build in (gather, window, every_other, padded, shuffled)),
]


@pytest.mark.parametrize(("build", "spoil"), PLANTED)
def test_a_planted_error_is_noticed(build: Callable[[Net, str], str], spoil: Spoil) -> None:
    """An unremapped Gather, an unshifted Slice or Pad, one wrong column: shapes may fit, numbers do not."""
    drawn = small(build)
    assert not is_noticed(drawn, lambda coupling: coupling)
    assert is_noticed(drawn, spoil)


@pytest.mark.parametrize("seed", range(40))
def test_a_wrong_column_in_a_random_network_is_noticed(seed: int) -> None:
    drawn = draw(seed)
    reading = [slot for slot in drawn.coupling.slots if slot.role == "in" and _rolls(drawn, slot)]
    if not reading or not _matters(drawn, reading[-1]):
        pytest.skip("nothing was pruned in front of a layer that the output depends on")
    place = drawn.coupling.slots.index(reading[-1])

    def spoil(coupling: Coupling) -> Coupling:
        slots = list(coupling.slots)
        slots[place] = replace(slots[place], ids=_rolled(slots[place], slots[place].ids))
        return replace(coupling, slots=tuple(slots))

    assert is_noticed(drawn, spoil)


def _rolled(slot: ParameterAxis, entries: np.ndarray) -> np.ndarray:
    """Shift by one channel within each group."""
    return np.roll(entries.reshape(slot.groups, -1), 1, axis=1).ravel()


def _rolls(drawn: Draw, slot: ParameterAxis) -> bool:
    kept = drawn.coupling.kept(slot.ids, drawn.keep)
    return bool((kept != _rolled(slot, kept)).any())


def _matters(drawn: Draw, slot: ParameterAxis) -> bool:
    """Whether doubling the layer's weights is seen in the output."""
    model = copy(drawn.model)
    node = next(node for node in model.graph.nodes if node.name == slot.node.name)
    model.graph.set_constant(node, 1, np.array(node.inputs[1].constant) * 2)
    return largest_difference(drawn.model, model, drawn.feeds, "disabled") > 0.1
