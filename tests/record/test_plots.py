"""Plots that passes leave are plain, small, and of their kind."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from graphopt.record.plots import POINTS, make_figure


def test_histograms_keep_every_count_and_their_range() -> None:
    counts = np.arange(1000)
    found = make_figure(
        "histogram", "t", {"low": -2.0, "high": 3.0, "counts": counts, "thresholds": (-1, None)}
    )
    assert sum(found.data["counts"]) == counts.sum()
    assert len(found.data["counts"]) <= POINTS
    width = (found.data["high"] - found.data["low"]) / len(found.data["counts"])
    assert math.isclose(width, 8 * 5.0 / 1000)  # eight bins of the old ones in each
    assert found.data["thresholds"] == [-1.0, None]
    json.dumps(found.data)


def test_long_lines_are_thinned_with_both_ends_kept() -> None:
    x = np.linspace(0, 1, 5000)
    data = make_figure("lines", "t", {"x": x, "series": [{"name": "a", "y": x**2}]}).data
    assert len(data["x"]) == len(data["series"][0]["y"]) <= POINTS
    assert data["x"][0] == 0.0 and data["x"][-1] == 1.0
    assert all(
        math.isclose(y, x * x, abs_tol=1e-4) for x, y in zip(data["x"], data["series"][0]["y"], strict=True)
    )


def test_a_spectrum_knows_how_many_values_it_had() -> None:
    data = make_figure("spectrum", "t", {"values": np.geomspace(1, 1e-6, 700), "rank": 40}).data
    assert data["of"] == 700 and data["rank"] == 40 and len(data["values"]) <= POINTS


def test_numbers_that_are_none_become_none() -> None:
    data = make_figure("bars", "t", {"names": ["a", "b"], "values": [math.nan, np.float32(0.1)]}).data
    assert data["values"] == [None, 0.1]


def test_a_limit_is_kept_where_there_is_one() -> None:
    bars = {"names": ["a"], "values": [1.0]}
    assert make_figure("bars", "t", bars).data["limit"] is None
    assert make_figure("bars", "t", {**bars, "limit": np.float32(0.5)}).data["limit"] == 0.5


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("pie", {}),
        ("spectrum", {"values": [1.0]}),
        ("histogram", {"low": 0, "high": 1}),
        ("lines", {"x": [1, 2], "series": [{"name": "a", "y": [1]}]}),
        ("bars", {"names": ["a"], "values": []}),
    ],
)
def test_data_of_another_kind_is_refused(kind: str, data: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="figure"):
        make_figure(kind, "t", data)
