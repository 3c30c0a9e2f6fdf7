"""What an edit left as it was."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from graphopt import ir
from graphopt.ir.analysis.diff import unchanged


@pytest.fixture
def model(fakes: SimpleNamespace) -> ir.Model:
    """x -> Conv (c) -> Relu (r) -> Identity (i) -> mean (p) -> Flatten (f) -> Gemm (y)."""
    return ir.from_bytes(fakes.build().SerializeToString())


def test_a_copy_is_unchanged(model: ir.Model) -> None:
    assert unchanged(model, model.copy()) == {"x", "c", "r", "i", "p", "f", "y"}


def test_a_changed_weight_changes_what_lies_behind(model: ir.Model) -> None:
    other = model.copy()
    gemm = next(other.graph.find("Gemm"))
    other.graph.set_constant(gemm, 1, gemm.inputs[1].constant * 2)
    assert unchanged(model, other) == {"x", "c", "r", "i", "p", "f"}


def test_an_equal_weight_under_another_name_changes_nothing(model: ir.Model) -> None:
    other = model.copy()
    conv = next(other.graph.find("Conv"))
    conv.inputs[1] = other.graph.add_constant("fresh", conv.inputs[1].constant.copy())
    assert "y" in unchanged(model, other)


def test_values_are_compared_bit_by_bit(model: ir.Model) -> None:
    other = model.copy()
    gemm = next(other.graph.find("Gemm"))
    values = gemm.inputs[1].constant.copy()
    values[0, 0] = np.nextafter(values[0, 0], np.inf)
    other.graph.set_constant(gemm, 1, values)
    assert "y" not in unchanged(model, other)


def test_attributes_operators_and_wiring_count(model: ir.Model) -> None:
    flat, relu, pool = model.copy(), model.copy(), model.copy()
    next(flat.graph.find("Flatten")).attrs["axis"] = 2
    assert "f" not in unchanged(model, flat) and "p" in unchanged(model, flat)
    next(relu.graph.find("Relu")).op = "Sigmoid"
    assert unchanged(model, relu) == {"x", "c"}
    next(pool.graph.find("GlobalAveragePool")).inputs[0] = next(pool.graph.find("Conv")).output
    assert unchanged(model, pool) == {"x", "c", "r", "i"}


def test_a_removed_node_changes_its_readers(model: ir.Model) -> None:
    other = model.copy()
    assert other.graph.bypass(next(other.graph.find("Identity")))
    assert unchanged(model, other) == {"x", "c", "r"}
