"""The table of layer times, with a timer that computes times in place of measuring them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graphopt import cost
from graphopt.cost import LatencyTable, LayerShape, latency_surfaces
from graphopt.cost.latency import timing
from graphopt.cost.latency.surface import monotone, steps
from graphopt.cost.latency.table import REFERENCE_LAYER
from graphopt.errors import OutputError
from graphopt.runtime import Machine

HOST = Machine(cpu="A", isa="avx512", threads=2, onnxruntime="1.0")


class Timer:
    """Times layers by formula: blocks of 16 channels, off the blocks twice as long; `slowness` scales all."""

    def __init__(self, slowness: float = 1.0) -> None:
        self.slowness = slowness
        self.asked: list[list[LayerShape]] = []

    def __call__(self, layers: Sequence[LayerShape], threads: int, **_: Any) -> list[float]:
        assert threads == HOST["threads"]
        self.asked.append(list(layers))
        return [self.slowness * formula(layer) for layer in layers]

    @property
    def measured(self) -> list[LayerShape]:
        return [layer for sitting in self.asked for layer in sitting if layer != REFERENCE_LAYER]


def formula(layer: LayerShape) -> float:
    blocks = -(-layer.inputs // 16) * (1 if layer.is_tied else -(-layer.outputs // 16))
    return (0.1 + 0.01 * blocks) * (2.0 if layer.inputs % 4 or layer.outputs % 4 else 1.0)


def table(path: Path | None, timer: Timer, host: Machine = HOST) -> LatencyTable:
    return LatencyTable(path, host, timer=timer)


def conv(inputs: int, outputs: int, group: int = 1) -> LayerShape:
    attrs = (("group", group),) if group > 1 else ()
    return LayerShape("Conv", (1, inputs, 8, 8), (outputs, inputs // group, 3, 3), attrs)


def test_each_layer_is_measured_once_and_replayed(tmp_path: Path) -> None:
    timer, path = Timer(), tmp_path / "deep" / "table.json"
    first = table(path, timer)
    times = first.milliseconds([conv(16, 32), conv(16, 16), conv(16, 32)])
    np.testing.assert_allclose(times, [0.12, 0.11, 0.12])
    assert timer.measured == [conv(16, 32), conv(16, 16)]
    again = table(path, Timer(slowness=9.0))
    assert again.milliseconds([conv(16, 16), conv(16, 32)]).tolist() == times[[1, 0]].tolist()
    assert [f.name for f in path.parent.iterdir()] == ["table.json"]


def test_the_yardstick_makes_busy_days_comparable(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    table(path, Timer()).milliseconds([conv(16, 16)])
    busy = Timer(slowness=3.0)
    np.testing.assert_allclose(table(path, busy).milliseconds([conv(16, 64)]), [0.14])
    assert busy.asked == [[REFERENCE_LAYER, conv(16, 64)]]


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "{}", '{"schema": 1, "machine": {}, "milliseconds": {}}', "\x00\xff", "[" * 5000],
)
def test_a_broken_file_is_measured_anew(tmp_path: Path, content: str) -> None:
    path = tmp_path / "table.json"
    path.write_bytes(content.encode("latin-1"))
    timer = Timer()
    assert table(path, timer).milliseconds([conv(16, 16)]).tolist() == [0.11]
    assert timer.measured == [conv(16, 16)]
    assert json.loads(path.read_text())["milliseconds"][conv(16, 16).key()] == 0.11


def test_entries_that_are_no_times_are_left_out(tmp_path: Path) -> None:
    path, layer = tmp_path / "table.json", conv(16, 16)
    entries = {layer.key(): float("nan"), conv(16, 32).key(): -1.0}
    path.write_text(json.dumps({"schema": 1, "machine": HOST, "milliseconds": entries}))
    assert len(table(path, Timer())) == 0


def test_another_machine_has_another_table(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    table(path, Timer()).milliseconds([conv(16, 16)])
    other: Machine = {**HOST, "onnxruntime": "2.0"}
    assert conv(16, 16) in table(path, Timer())
    assert conv(16, 16) not in table(path, Timer(), other)
    one, two = (LatencyTable.open(tmp_path, threads) for threads in (1, 2))
    assert one.path != two.path
    assert LatencyTable.open(None, 1).path is None


def test_two_processes_keep_what_both_measured(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    one, two = table(path, Timer()), table(path, Timer(slowness=2.0))
    one.milliseconds([conv(16, 16), conv(16, 32)])
    two.milliseconds([conv(16, 16), conv(16, 48)])
    fresh = table(path, Timer())
    assert all(conv(16, outputs) in fresh for outputs in (16, 32, 48))
    assert fresh.milliseconds([conv(16, 16)]) == one.milliseconds([conv(16, 16)])


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="layer times"):
        table(tmp_path / "file" / "table.json", Timer()).milliseconds([conv(16, 16)])


# -- staircases ---------------------------------------------------------------------------------------------


def test_a_staircase_tells_every_width() -> None:
    timer, layer = Timer(), conv(160, 96)
    [stairs] = latency_surfaces(table(None, timer), [layer])
    rng = np.random.default_rng(0)
    inputs, outputs = 4 * rng.integers(1, 41, 500), 4 * rng.integers(1, 25, 500)
    exact = [formula(layer.with_widths(int(i), int(o))) for i, o in zip(inputs, outputs, strict=True)]
    np.testing.assert_allclose(stairs(inputs, outputs), exact, rtol=1e-9)
    assert len(timer.measured) <= 25


def test_layers_that_share_a_shape_are_measured_together_once() -> None:
    timer, layers = Timer(), [conv(64, 64), conv(64, 64), conv(64, 32)]
    stairs = latency_surfaces(table(None, timer), layers)
    assert len(timer.asked) == 1
    assert len(timer.measured) == len(set(timer.measured))
    assert [s.layer for s in stairs] == layers


def test_off_the_blocks_costs_what_was_measured_there() -> None:
    [careless] = latency_surfaces(table(None, Timer()), [conv(64, 64)])
    [stairs] = latency_surfaces(table(None, Timer()), [conv(64, 64)], unaligned=True)
    assert stairs(63, 64) == pytest.approx(2 * stairs(64, 64)) == pytest.approx(2 * careless(63, 64))
    assert stairs(60, 64) == stairs(64, 64)


def test_depthwise_has_one_axis() -> None:
    timer, layer = Timer(), conv(96, 96, group=96)
    [stairs] = latency_surfaces(table(None, timer), [layer])
    assert len(timer.measured) == 5
    widths = np.arange(4, 97, 4)
    exact = [formula(layer.with_widths(int(w))) for w in widths]
    np.testing.assert_allclose(stairs(widths), exact)
    np.testing.assert_allclose(stairs(widths, widths), exact)


def test_grouped_convolutions_and_narrow_layers() -> None:
    layers = [conv(96, 96, group=6), conv(3, 24), conv(8, 8), conv(5, 7)]
    for stairs in latency_surfaces(table(None, Timer()), layers, unaligned=True):
        full = stairs(stairs.layer.inputs, stairs.layer.outputs)
        assert full == pytest.approx(formula(stairs.layer))
        assert stairs(1, 1) <= full * stairs.unaligned


def test_noise_never_makes_a_wider_layer_cheaper() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        grid = rng.random(tuple(rng.integers(1, 6, 2)))
        smooth = monotone(grid)
        assert (np.diff(smooth, axis=0) >= 0).all()
        assert (np.diff(smooth, axis=1) >= 0).all()
        np.testing.assert_array_equal(monotone(smooth), smooth)
        assert np.abs(smooth - grid).max() <= np.ptp(grid)


@pytest.mark.parametrize(
    ("full", "expected"),
    [(3, [3]), (16, [16]), (24, [16, 24]), (40, [16, 32, 40]), (96, [16, 32, 48, 64, 96])],
)
def test_measured_widths_are_whole_blocks(full: int, expected: list[int]) -> None:
    assert steps(full, 16) == expected


# -- the stopwatch ------------------------------------------------------------------------------------------


def test_chunks_are_scaled_to_the_quickest_yardstick(monkeypatch: pytest.MonkeyPatch) -> None:
    class Sitting:
        count = 0

        def __init__(self, layers: Sequence[LayerShape], threads: int, seconds: float) -> None:
            Sitting.count += 1
            self.layers, self.slowness = layers, float(Sitting.count)

        def run_once(self, number: int) -> None:
            assert 0 <= number < timing.MOST_ROUNDS

        def finish(self) -> list[float]:
            return [self.slowness * formula(layer) for layer in self.layers]

    monkeypatch.setattr(timing, "_Sitting", Sitting)
    layers = [REFERENCE_LAYER, *(conv(16, 16 * (1 + n)) for n in range(2 * timing.SESSIONS))]
    times = timing.time_layers(layers, 1, seconds=1.0, progress=lambda _, items, __: items)
    assert Sitting.count == 2
    np.testing.assert_allclose(times, [formula(layer) for layer in layers])


def test_a_layer_is_settled_when_its_quickest_runs_agree() -> None:
    assert timing.is_settled([1.0, 1.02, 5.0, 1.01, 1.0, 1.03])
    assert not timing.is_settled([1.0, 1.02, 5.0, 1.01, 1.0])
    assert not timing.is_settled([1.0] * 4)


def test_wide_layers_take_longer_for_real() -> None:
    small, large = LatencyTable.open(None, 1).milliseconds([conv(16, 16), conv(256, 256)])
    assert 0 < 3 * small < large


# -- whole networks -----------------------------------------------------------------------------------------


def test_what_layers_do_not_explain_stays() -> None:
    before = np.array([1.0, 2.0])
    assert cost.predict(4.0, before, before) == 4.0
    assert cost.predict(4.0, before, np.array([0.5, 1.0])) == 2.5
    assert cost.predict(4.0, before, np.array([0.5, 1.0]), rest=0.5) == 2.0
    assert cost.predict(4.0, before, np.array([0.5, 0.5, 1.0])) == 3.0


def test_layers_that_are_quicker_together_shrink_alike() -> None:
    assert cost.predict(2.0, np.array([1.0, 3.0]), np.array([1.0, 1.0])) == 1.0
