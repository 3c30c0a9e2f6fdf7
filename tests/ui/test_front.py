"""The front against all sets of small problems, and what choices and specs say."""

from __future__ import annotations

import itertools
import random

import pytest

from graphopt.pipeline.spec.spec import parse
from graphopt.record.sensitivity import Point as Trial
from graphopt.record.sensitivity import Sensitivity
from graphopt.ui.front import Level, Part, Point, front, parts_of, spec_of


def random_parts(rng: random.Random, count: int = 6) -> list[Part]:
    made = []
    for i in range(count):
        if i % 2:
            levels = [Level(8, 10 ** -rng.uniform(2, 6), stored=rng.uniform(0.01, 0.1))]
        else:
            noise, macs = (
                sorted(10 ** -rng.uniform(1, 5) for _ in range(3)),
                sorted(rng.uniform(0, 0.1) for _ in range(3)),
            )
            levels = [
                Level(0.25 * k, n, macs=m, parameters=m / 2)
                for k, (n, m) in enumerate(zip(noise, macs, strict=True))
            ]
        made.append(Part("quant" if i % 2 else "prune", f"part{i}", tuple(levels)))
    return made


@pytest.mark.parametrize("seed", range(10))
def test_no_set_beats_a_point_of_the_front(seed: int) -> None:
    """All sets of six parts, tried one by one: none has less noise and saves as much."""
    parts = random_parts(random.Random(seed))
    points = front(parts, {})
    every = [Point(levels) for levels in itertools.product(*((None, *part.levels) for part in parts))]
    for point in points:
        assert not [o for o in every if o.noise < point.noise * (1 - 1e-9) and o.value >= point.value - 1e-12]
    assert points[0].value == 0 and points[-1].value == pytest.approx(max(o.value for o in every))
    assert [p.noise for p in points] == sorted(p.noise for p in points)


def test_choices_bind_parts_at_every_point() -> None:
    parts = random_parts(random.Random(1))
    points = front(parts, {("prune", "part0"): "keep", ("quant", "part1"): "force"})
    assert all(point.levels[0] is None and point.levels[1] is not None for point in points)


def test_figures_follow_from_the_levels() -> None:
    point = Point((Level(8, 0.001, stored=0.5), Level(0.5, 0.009, macs=0.2, parameters=0.1), None))
    assert point.sqnr_db == pytest.approx(20.0)
    assert point.macs == pytest.approx(0.8)
    assert point.bytes == pytest.approx(0.9 * (0.5 + 0.5 / 4))
    assert Point((None,)).sqnr_db is None and Point((None,)).bytes == 1


def test_specs_name_what_is_left_alone_literally() -> None:
    """Names with commas, colons and stars are texts to the parser and to the patterns."""
    parts = [Part("quant", name, (Level(8, 1e-4, stored=0.1),)) for name in ("a*[0]", "b,c:d", "e")]
    parts.append(Part("prune", "g", (Level(0.5, 1e-3, macs=0.3),)))
    parts.append(Part("prune", "h", (Level(0.5, 1e-3, macs=0.1),)))
    point = Point((None, None, parts[2].levels[0], parts[3].levels[0], None))
    spec = spec_of(parts, point, {("prune", "h"): "keep", ("quant", "e"): "force"})
    prune, quant = (dict(step.options) for step in parse(spec).steps[2:])
    assert prune == {"macs": "0.700", "exclude": "h"} or prune == {"macs": "0.700", "exclude": ("h",)}
    assert quant["exclude"] == ("a[*][[]0]", "b,c:d") and quant["keep_noisy_float"] == "false"
    assert spec_of(parts, Point((None,) * 5), {}) == "clean,fold-bn"


def test_parts_are_what_a_study_could_judge() -> None:
    trials = (
        Trial("t", 8, snr_db=40.0, macs=100, parameters=50),
        Trial("t", 4, snr_db=20.0, macs=100, parameters=50),
        Trial("u", 8, error="failed"),
    )
    study = Sensitivity("m", "quant", 8, "x", trials, 100, 50)
    (part,) = parts_of(study, "quant", {"t": "conv"}, {"conv": 10})
    assert part.levels == (Level(8, pytest.approx(1e-4), stored=0.2),)
    pruned = Sensitivity(
        "m", "prune", 8, "x", (Trial("g", 0.5, snr_db=30.0, macs=60, parameters=40),), 100, 50
    )
    (part,) = parts_of(pruned, "prune", {}, {})
    assert part.levels == (
        Level(0.5, pytest.approx(1e-3), parameters=pytest.approx(0.2), macs=pytest.approx(0.4)),
    )
