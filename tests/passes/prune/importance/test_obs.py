"""Ranking by what readers lose: how layers that read the same channels weigh together."""

from __future__ import annotations

import numpy as np

from graphopt import ir
from graphopt.passes.prune.coupling.coupling import couple
from graphopt.passes.prune.coupling.facts import gather_facts
from graphopt.passes.prune.coupling.groups import find_cells
from graphopt.passes.prune.importance.dead_channels import dead_classes
from graphopt.passes.prune.importance.obs import obs_rankings
from graphopt.passes.prune.importance.ranking import Ranking
from tests.corpus._net import Net
from tests.passes.prune.oracle import context, load
from tests.passes.prune.repair.test_layerwise import samples_of


def fire(branches: int) -> ir.Model:
    """A narrow layer read by ``branches`` layers of the same weights, whose outputs are concatenated."""
    net = Net(0)
    x = net.op("Relu", net.conv(net.input(), (6, 3, 1, 1), name="squeeze"))
    kernel = net.random(8, 6, 3, 3)
    wide = [net.op("Relu", net.op("Conv", x, kernel, pads=[1] * 4)) for _ in range(branches)]
    joined = wide[0] if branches == 1 else net.op("Concat", *wide, axis=1)
    reader = net.rng.uniform(-1, 1, (4, 8, 1, 1)).astype(np.float32)
    return load(net.model(net.op("Conv", joined, np.concatenate([reader] * branches, axis=1))))


def squeezed(model: ir.Model) -> Ranking:
    """The ranking of the channels of the narrow layer."""
    ctx = context(model)
    coupling = couple(model, gather_facts(model, ctx))
    cells = [cell for cell in find_cells(coupling, 1) if len(cell.classes) == 6]
    (ranking,) = obs_rankings(model, coupling, cells, dead_classes(coupling), samples_of(model, 16), ctx)
    return ranking


def test_layers_side_by_side_weigh_as_the_one_layer_they_are_parts_of() -> None:
    """Half of a concatenation missing a tenth of its variance is a twentieth of the whole."""
    once, twice = squeezed(fire(1)), squeezed(fire(2))
    np.testing.assert_array_equal(once.order, twice.order)
    np.testing.assert_allclose(once.costs, twice.costs, rtol=1e-6)
    assert once.costs[-1] > 0.5
