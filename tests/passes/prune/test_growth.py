"""What planning takes grows with the number of layers, not with its square."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest

from graphopt import ir
from graphopt.cost import LatencySurface, LayerShape
from graphopt.passes.prune.coupling.coupling import Coupling, couple
from graphopt.passes.prune.coupling.facts import Facts
from graphopt.passes.prune.coupling.groups import Group, find_cells
from graphopt.passes.prune.coupling.rules.tables import table_of
from graphopt.passes.prune.importance.obs import readers_by_cell
from graphopt.passes.prune.selection.cost_model import CostModel
from graphopt.passes.prune.selection.latency_model import Stairs, Step
from tests.corpus._net import Net
from tests.passes.prune.oracle import load

FEW, MANY = 60, 600
LINEAR = 25.0  # times the CPU time for ten times the layers; a square would be a hundred


def chain(layers: int) -> tuple[ir.Model, Facts]:
    """Conv, Relu, depthwise Conv and now and then a sum, again and again, with shapes known beforehand."""
    net = Net()
    x, before = net.input(shape=(1, 8, 4, 4)), ""
    for number in range(layers):
        y = net.op("Relu", net.conv(x, (8, 8, 1, 1), name=f"conv{number}"))
        x = net.conv(y, (8, 1, 1, 1), group=8)
        if number % 4 == 3:
            x = net.op("Add", x, before)
        before = x
    model = load(net.model(net.tell(x, (1, 8, 4, 4))))
    shapes = {tensor.name: (1, 8, 4, 4) for node in model.graph.nodes for tensor in node.outputs}
    return model, Facts({**shapes, "x": (1, 8, 4, 4)}, {})


def growth(work: Callable[[int], Callable[[], object]]) -> float:
    """CPU time at many layers over that at few, the least of three each; ``work`` prepares what is timed."""

    def least(layers: int) -> float:
        run, times = work(layers), []
        for _ in range(3):
            start = time.process_time()
            run()
            times.append(time.process_time() - start)
        return min(times)

    return least(MANY) / max(least(FEW), 1e-6)


def test_coupling() -> None:
    def work(layers: int) -> Callable[[], object]:
        model, facts = chain(layers)
        return lambda: couple(model, facts)

    assert growth(work) < LINEAR


def coupled(layers: int) -> tuple[Coupling, list[Group]]:
    coupling = couple(*chain(layers))
    return coupling, find_cells(coupling, 1)


def every_cell(of: CostModel | Stairs, cells: list[Group]) -> None:
    """One sweep as the budget is spent: each cell is asked about, then moved."""
    widths = np.asarray([len(cell.classes) for cell in cells], np.int64)
    for number, cell in enumerate(cells):
        of.along(widths, number, np.arange(len(cell.classes), 0, -1))
        widths[number] -= 1


def test_usage() -> None:
    def work(layers: int) -> Callable[[], object]:
        coupling, cells = coupled(layers)
        usage = CostModel(coupling, cells, "macs", 1.0)
        return lambda: every_cell(usage, cells)

    assert growth(work) < LINEAR


def test_stairs() -> None:
    def work(layers: int) -> Callable[[], object]:
        cells = [Group(np.arange(8 * number, 8 * number + 8), (number,), 1) for number in range(layers)]
        stairs = Stairs([step(number) for number in range(layers - 1)], cells, 0.0)
        return lambda: every_cell(stairs, cells)

    assert growth(work) < LINEAR


@cache
def layer_shape() -> LayerShape:
    net = Net()
    net.conv(net.input(shape=(1, 8, 4, 4)), (8, 8, 1, 1), name="c")
    model = load(net.model("c.out"))
    shape = LayerShape.of(next(iter(model.graph.nodes)), {"x": (1, 8, 4, 4), "c.out": (1, 8, 4, 4)})
    assert shape is not None
    return shape


def step(number: int) -> Step:
    """A layer that reads one cell and makes the next."""
    steps = np.asarray([1, 8])
    times = np.asarray([[1.0, 2.0], [2.0, 4.0]])
    return Step(
        LatencySurface(layer_shape(), 1, steps, steps, times),
        np.asarray([8.0, 8.0]),
        np.asarray([number, number + 1]),
        np.asarray([[8.0, 0.0], [0.0, 8.0]]),
    )


def test_moving_one_cell_after_another_gives_what_counting_anew_gives() -> None:
    cells = [Group(np.arange(8 * number, 8 * number + 8), (number,), 1) for number in range(12)]
    steps = [step(number) for number in range(11)]
    stairs, rng = Stairs(steps, cells, 3.0), np.random.default_rng(0)
    for _ in range(20):
        widths = rng.integers(1, 9, 12)
        fresh = Stairs(steps, cells, 3.0)
        assert stairs.of(widths) == pytest.approx(fresh.of(widths), abs=1e-12)
        along = stairs.along(widths, 5, np.arange(8, 0, -1))
        moved = [np.where(np.arange(12) == 5, width, widths) for width in range(8, 0, -1)]
        np.testing.assert_allclose(along, [Stairs(steps, cells, 3.0).of(one) for one in moved], atol=1e-12)


def test_readers_of_a_cell_are_looked_up() -> None:
    """Each reader is met once for each cell that it reads, not once for each cell."""
    coupling, cells = coupled(40)
    slots = [slot for slot in coupling.slots if slot.role == "in"]
    readers = [_Reads(slot) for slot in slots]
    reading = readers_by_cell(coupling, cells, readers)  # type: ignore[arg-type]
    for cell, found in zip(cells, reading, strict=True):
        expected = [reader for reader in readers if np.isin(coupling.on(reader.slot.ids), cell.classes).any()]
        assert found == expected
    assert sum(map(len, reading)) <= len(readers)


class _Reads:
    def __init__(self, slot: object) -> None:
        self.slot = slot


# -- memory --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "axis", "new"),
    [
        ((64, 32, 128, 128), 1, (64, 32, 16384)),
        ((64, 32, 128, 128), 1, (64, 4, 8, 128, 128)),
        ((64, 32, 128, 128), 1, (2048, 128, 128)),
        ((64, 32, 128, 128), 1, (64, 4, 131072)),
        ((64, 32, 128, 128), 1, (64, 32, 64, 2, 64, 2)),
    ],
)
def test_a_reshape_needs_no_id_for_every_element(
    old: tuple[int, ...], axis: int, new: tuple[int, ...]
) -> None:
    ids = np.arange(1, old[axis] + 1)
    tracemalloc.start()
    table = table_of(ids, axis, old, new)
    kept = max(table.varying, key=table.width)
    table.along(kept, table.rows(kept)[0])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4_000_000  # the tensor has 33.5 million elements


@pytest.mark.parametrize("seed", range(200))
def test_the_table_is_that_of_every_element(seed: int) -> None:
    """Against ids written out for every element and reshaped."""
    rng = np.random.default_rng(seed)
    factors = [int(rng.choice([1, 2, 2, 3, 4])) for _ in range(int(rng.integers(3, 6)))]
    old, new = (_grouped(rng, factors) for _ in range(2))
    axis = int(rng.integers(len(old)))
    ids = rng.integers(0, 5, old[axis])  # some alike, some fixed
    shape = [-1 if at == axis else 1 for at in range(len(old))]
    whole = np.broadcast_to(ids.reshape(shape), old).reshape(new)
    varying = [at for at in range(len(new)) if np.any(whole != whole.take([0], at))]
    table = table_of(ids, axis, old, new)
    assert table.varying == varying
    for kept in varying:
        rows = np.moveaxis(whole, kept, -1).reshape(-1, new[kept])
        assert table.width(kept) == new[kept]
        expected = {row.tobytes() for row in rows}
        assert {table.along(kept, row).astype(rows.dtype).tobytes() for row in table.rows(kept)} == expected


def _grouped(rng: np.random.Generator, factors: list[int]) -> tuple[int, ...]:
    """A shape whose sizes are products of neighbouring factors."""
    cuts = np.sort(rng.choice(len(factors) + 1, int(rng.integers(0, len(factors))), replace=False))
    return tuple(int(np.prod(part)) if len(part) else 1 for part in np.split(np.asarray(factors), cuts))
