"""Bundles: whatever class goes, all blocks that must stay equally wide lose equally many channels."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.passes.prune.coupling.coupling import couple, with_bundles
from graphopt.passes.prune.coupling.facts import gather_facts
from graphopt.passes.prune.coupling.group_balance import bundle, carry_out
from graphopt.passes.prune.coupling.ids import FIXED, Balance, ChannelIds, Ids
from tests.corpus._net import Net
from tests.passes.prune.oracle import context, load


def balanced(ledger: ChannelIds, tables: list[Ids]) -> int:
    """How many classes may go; each takes equally many from every block of each table."""
    classes = {one for table in tables for one in ledger.canonical(table).ravel().tolist()}
    free = classes - set(ledger.walls()) - {FIXED}
    for table in tables:
        rows = ledger.canonical(table)
        for one in free:
            assert len({int((row == one).sum()) for row in rows}) == 1
    return len(free)


def bundled(ledger: ChannelIds, *tables: Ids) -> int:
    carry_out(ledger, bundle(ledger, [Balance(table, "a layer has groups") for table in tables], ()))
    return balanced(ledger, list(tables))


def test_each_group_gives_one() -> None:
    ledger = ChannelIds()
    assert bundled(ledger, ledger.fresh(12).reshape(3, 4)) == 4


def test_what_stays_in_one_group_keeps_partners_in_the_others() -> None:
    ledger = ChannelIds()
    table = ledger.fresh(12).reshape(3, 4)
    ledger.pin(table[1, :3], "somebody needs them")
    assert bundled(ledger, table) == 1
    reasons = [ledger.walls().get(ledger.find(one), "") for one in table[0].tolist()]
    assert sum("none to spare" in reason for reason in reasons) == 3


@pytest.mark.parametrize(("groups", "width"), [(2, 4), (3, 3), (3, 20), (4, 8), (8, 17)])
def test_groups_on_both_sides_of_a_shuffle(groups: int, width: int) -> None:
    """Koenig: blocks of equal width always fall into perfect matchings, so nothing has to stay."""
    ledger = ChannelIds()
    made = ledger.fresh(groups * width).reshape(groups, width)
    assert bundled(ledger, made, made.T.reshape(groups, width)) == width


def test_blocks_that_double_at_the_next_layer_are_covered_twice() -> None:
    """Two streams of four groups are joined and read by four groups, each twice as wide."""
    ledger = ChannelIds()
    first, second = ledger.fresh(16).reshape(4, 4), ledger.fresh(16).reshape(4, 4)
    joined = np.concatenate([first, second]).reshape(4, 8)
    assert bundled(ledger, first, second, joined) == 4


def test_a_group_without_anything_to_give_keeps_all_whole() -> None:
    ledger = ChannelIds()
    table = np.concatenate([ledger.fresh(4), np.full(4, FIXED)]).reshape(2, 4)
    assert bundled(ledger, table) == 0
    assert all("a layer has groups" in reason for reason in ledger.walls().values())


@pytest.mark.parametrize("seed", range(60))
def test_random_blocks(seed: int) -> None:
    """Balances over random parts of random channels, some tied, some walled."""
    rng = np.random.default_rng(seed)
    ledger = ChannelIds()
    ids = ledger.fresh(int(rng.choice([12, 24, 36])))
    ledger.pin(ids[rng.random(len(ids)) < 0.1], "walled at random")
    ties = rng.permutation(ids)[: int(rng.integers(0, 6)) * 2].reshape(2, -1)
    ledger.tie(ties[0], ties[1], "tied at random")
    tables = []
    for _ in range(int(rng.integers(1, 4))):
        groups = int(rng.choice([2, 3, 4]))
        part = rng.permutation(ids) if rng.random() < 0.5 else ids
        tables.append(part[: len(part) // groups * groups].reshape(groups, -1))
    bundled(ledger, *tables)


def test_bundles_stay_the_same_while_a_network_is_planned() -> None:
    """Weights that a plan has changed meanwhile lead to the bundles of the first ones."""
    net = Net(3)
    x = net.op("Relu", net.conv(net.input(), (12, 3, 3, 3), name="first"))
    model = load(net.model(net.conv(x, (4, 6, 1, 1), group=2, name="last")))
    facts = with_bundles(model, gather_facts(model, context(model)))
    before = couple(model, facts)
    first = next(node for node in model.graph.nodes if node.name == "first")
    model.graph.set_constant(first, 1, np.array(first.inputs[1].constant)[::-1].copy())
    assert np.array_equal(couple(model, facts).classes, before.classes)
    assert not np.array_equal(couple(model, gather_facts(model, context(model))).classes, before.classes)
