"""Pairs of options are honoured or refused: none switches another one off without a word."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from graphopt import data, ir, targets
from graphopt.errors import UsageError
from graphopt.passes.quant import Quant, static
from graphopt.pipeline import Context
from graphopt.pipeline.run.inputs import Inputs
from graphopt.pipeline.search.degradation import Degradation
from tests.passes.quant.rounding.test_tuning import network
from tests.passes.quant.search.test_noise_bisection import chain
from tests.passes.quant.small import PLAIN, quantized


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mode": "weights", "max_drop": 1.0}, "max_drop=1.0 has no effect with mode=weights"),
        ({"mode": "dynamic", "ranges": "file"}, "ranges=file has no effect with mode=dynamic"),
        ({"mode": "dynamic", "tensorrt_cache": "file"}, "tensorrt_cache"),
        ({"mode": "dynamic", "calibrator": "mse"}, "calibrator=mse"),
        ({"mode": "weights", "weight_bits": 4}, "weight_bits=4"),
        ({"mode": "weights", "equalise": "weights"}, "equalise=weights"),
        ({"mode": "weights", "refit": True}, "refit=true"),
        ({"mode": "weights", "activations": "uint8"}, "activations=uint8"),
        ({"mode": "weights", "per_channel": False}, "per_channel=false"),
        ({"mode": "weights", "reduce_range": "all"}, "reduce_range=all"),
        ({"mode": "dynamic", "bits": 4}, "bits=4 has no effect with mode=dynamic"),
        ({"bits": 4}, "bits=4 has no effect with mode=static"),
        ({"block": 64}, "block=64"),
        ({"percentile": 99.0}, "percentile=99 has no effect with calibrator=minmax"),
    ],
    ids=str,
)
def test_what_would_not_be_heard_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said.replace("|", r"\|")) as caught:
        Quant(**options)
    assert caught.value.hint


@pytest.mark.parametrize("mode", ["dynamic", "weights"])
def test_switching_off_what_a_mode_does_not_do_is_honoured(mode: str) -> None:
    assert Quant(**{**PLAIN, "mode": mode}).mode == mode  # type: ignore[arg-type]


def planned(model: ir.Model, **options: Any) -> tuple[list[dict[str, Any]], Context]:
    samples = data.synthetic(model.signature.inputs, {}, 8, 0)
    ctx = Context(Inputs(model, calibration=samples), target=targets.load("ort-cpu"))
    plan = Quant(**{**PLAIN, **options}).plan(model, ctx)
    return [dict(item) for item in plan.items], ctx


@pytest.mark.parametrize("limit", [None, 100.0, 0.0])
def test_a_budget_writes_both_files(limit: float | None, tmp_path: Path) -> None:
    ranges, cache = tmp_path / "ranges.json", tmp_path / "cache"
    items, _ = planned(network(), max_drop=limit, ranges=str(ranges), tensorrt_cache=str(cache))
    kept = json.loads(ranges.read_text())
    assert kept["calibrator"] == "minmax" and "x" in kept["ranges"]
    assert cache.exists() == bool(items)
    again, _ = planned(network(), max_drop=limit, ranges=str(ranges))
    assert again == items


def test_a_budget_spares_what_is_noisy() -> None:
    for limit in (None, 100.0):
        _, ctx = planned(chain(4), max_drop=limit, keep_noisy_float=True)
        assert any("alone costs" in skip.reason for skip in ctx.skips), limit


@pytest.mark.parametrize("limit", [None, 100.0])
def test_a_budget_is_timed_too(limit: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def slower(found: Any, ctx: Context) -> Any:
        asked.append(found)
        return type("Choice", (), {"best": None, "reason": "8 bits would be slower on this machine"})

    monkeypatch.setattr(static, "choose", slower)
    items, ctx = planned(network(), max_drop=limit, measure=True)
    assert len(asked) == 1 and not items
    assert "slower on this machine" in ctx.skips[-1].reason


def test_what_the_clock_leaves_float_keeps_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mixed model is taken only when it loses no more than the budget allows."""
    from graphopt.passes.quant.search import model_choice

    class Clock:
        def milliseconds(self, models: list[Any]) -> list[float]:
            return [1.0, 0.9, 0.1][: len(models)]

    monkeypatch.setattr(model_choice, "_timer", lambda ctx: Clock())
    monkeypatch.setattr(model_choice, "slow_nodes", lambda placement, *others: placement.layers[:1])
    monkeypatch.setattr(model_choice, "growth", lambda before, after: "")
    tried = iter([0.0, 5.0, 0.0])
    monkeypatch.setattr(Degradation, "of", lambda self, model: next(tried, 5.0))
    items, ctx = planned(network(), max_drop=1.0, measure=True)
    assert len([item for item in items if "weight" in item]) == 5
    assert not any("slower for it" in skip.reason for skip in ctx.skips)


@pytest.mark.parametrize(
    "options", [{"equalise": "weights"}, {"equalise": "none"}, {"absorb": False}], ids=str
)
def test_channels_of_a_file_are_said_to_stand(options: dict[str, Any], tmp_path: Path) -> None:
    file, given = str(tmp_path / "ranges.json"), {"equalise": "auto", "absorb": True}
    _, first = planned(network(), ranges=file, **given)
    _, again = planned(network(), ranges=file, **given)
    _, other = planned(network(), ranges=file, **{**given, **options})
    said = [any("channels are as" in text for text in ctx.warnings) for ctx in (first, again, other)]
    assert said == [False, False, True]


def test_ranges_of_another_percentile_are_refused(tmp_path: Path) -> None:
    file = str(tmp_path / "ranges.json")
    planned(network(), calibrator="percentile", percentile=99.0, ranges=file)
    with pytest.raises(UsageError, match="percentile=99"):
        planned(network(), calibrator="percentile", percentile=98.0, ranges=file)


def test_fitting_anew_is_honoured_without_other_care() -> None:
    given = {"weight_bits": 4, "rounding": "nearest", "bias_correction": False}
    items, _ = planned(network(), **given, refit=True)
    assert items[-1]["refit"] and not items[-1]["rounding"]
    assert "tune" not in planned(network(), **given)[0][-1]
    plain, _ = quantized(network(), **given)
    fitted, _ = quantized(network(), **given, refit=True)
    assert plain.to_bytes() != fitted.to_bytes()


def test_single_layers_are_tried_in_one_mode() -> None:
    model = network()
    ctx = Context(Inputs(model), target=targets.load("ort-cpu"))
    with pytest.raises(UsageError, match="mode=weights"):
        list(Quant(mode="weights").trials(model, ctx))
    with pytest.raises(UsageError, match="matches no node"):
        list(Quant(exclude=("nothing*",)).trials(model, ctx))
