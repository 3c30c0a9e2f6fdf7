"""Every pair of options of every pass is honoured or refused in a sentence; files that they name appear."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, numpy_helper

from graphopt.errors import UsageError
from graphopt.pipeline.spec.registry import passes
from tests.options.covering import pairs, rows
from tests.options.subject import Left, run, write
from tests.options.values import options

QUICK = ("clean", "fold-bn", "cast", "sparsify")
THOROUGH = ("lowrank", "prune", "quant")
WIDTH = 32  # output channels of body1
Values = Mapping[str, Any]


def goes(pass_name: str) -> Callable[[Values], bool]:
    """Whether a pass takes these values together; what it raises otherwise is a sentence."""
    owner = passes().load(pass_name)

    def check(values: Values) -> bool:
        try:
            owner(**values)
        except UsageError as error:
            assert str(error) and "\n" not in str(error)
            return False
        return True

    return check


def check_pass(pass_name: str, folder: Path) -> None:
    sources = write(folder)
    for number, row in enumerate(rows(options(pass_name), goes(pass_name))):
        left = run(pass_name, row, sources, folder / str(number))
        assert not left.broken, (row, left.broken)
        if not left.refused:
            for name, value in row.items():
                honoured = HONOURED.get((pass_name, name))
                assert honoured is None or honoured(left, row, value), (name, value, row)


@pytest.mark.parametrize("pass_name", QUICK)
def test_pairs_of_options(pass_name: str, tmp_path: Path) -> None:
    check_pass(pass_name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("pass_name", THOROUGH)
def test_pairs_of_options_of_large_passes(pass_name: str, tmp_path: Path) -> None:
    check_pass(pass_name, tmp_path)


@pytest.mark.parametrize(
    ("pass_name", "values"),
    [
        ("prune", {"ratio": 0.5, "reduction": "max"}),
        ("prune", {"ratio": 0.5, "normaliser": "sum"}),
        ("quant", {"measure": False, "equalise": "weights"}),
    ],
)
def test_an_option_that_changes_nothing_is_named(pass_name: str, values: Values, tmp_path: Path) -> None:
    """What was asked for last makes the same file as without it here, and a warning says so."""
    sources = write(tmp_path)
    *others, last = values
    plain = run(pass_name, {name: values[name] for name in others}, sources, tmp_path / "plain")
    left = run(pass_name, values, sources, tmp_path / "with")
    assert not left.broken and left.digest == plain.digest
    assert any(last in warning for warning in left.warnings)
    assert not any(last in warning for warning in plain.warnings)


def test_rows_hold_every_pair_that_goes() -> None:
    """Three options, two of which exclude each other, and one that goes in company alone."""
    given = {"a": (1, 2), "b": (1,), "c": (1,), "mode": ("x",)}

    def fits(values: Values) -> bool:
        return not {"a", "b"} <= set(values) and ("c" not in values or "mode" in values)

    made = rows(given, fits)
    held = {pair for pair in pairs(given) if any(dict(pair).items() <= row.items() for row in made)}
    missing = {frozenset(dict(pair)) for pair in set(pairs(given)) - held}
    assert missing == {frozenset({"a", "b"})}
    assert all(fits(row) for row in made)


def test_an_accident_is_not_a_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise KeyError("absorb")

    monkeypatch.setattr("tests.options.subject.graphopt.optimize", fail)
    assert run("clean", {}, write(tmp_path), tmp_path / "run").broken


# -- what a file shows of an option --------------------------------------------------------------------------


def _tensor(model: onnx.ModelProto, name: str) -> onnx.TensorProto | None:
    return next((tensor for tensor in model.graph.initializer if tensor.name == name), None)


def _wrote(left: Left, row: Values, value: str) -> bool:
    return value in left.files


def _opset(left: Left, row: Values, value: int) -> bool:
    assert left.model is not None
    return any(entry.domain == "" and entry.version >= value for entry in left.model.opset_import)


def _frozen(left: Left, row: Values, value: bool) -> bool:
    assert left.model is not None
    return value == ("head.bias" not in {port.name for port in left.model.graph.input})


def _half_ports(left: Left, row: Values, value: bool) -> bool:
    assert left.model is not None
    half = left.model.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT16
    return half == value


def _full_width(left: Left, row: Values, value: tuple[str, ...]) -> bool:
    """A layer that is left alone has all of its weights, dense."""
    assert left.model is not None
    tensor = _tensor(left.model, "body1.weight")
    return tensor is not None and tensor.dims[0] == WIDTH and bool((numpy_helper.to_array(tensor) != 0).all())


def _full_channels(left: Left, row: Values, value: tuple[str, ...]) -> bool:
    assert left.model is not None
    node = next((node for node in left.model.graph.node if node.name == "body1"), None)
    tensor = None if node is None else _tensor(left.model, node.input[1])
    return tensor is not None and tensor.dims[0] == WIDTH


def _single_weights(left: Left, row: Values, value: tuple[str, ...]) -> bool:
    """A layer that stays float32 reads float32 weights."""
    assert left.model is not None
    node = next(node for node in left.model.graph.node if node.name == "body1")
    tensor = _tensor(left.model, node.input[1])
    return tensor is None or tensor.data_type == TensorProto.FLOAT


HONOURED: dict[tuple[str, str], Callable[[Left, Values, Any], bool]] = {
    ("clean", "opset"): _opset,
    ("clean", "freeze"): _frozen,
    ("cast", "io"): _half_ports,
    ("cast", "keep"): _single_weights,
    ("sparsify", "exclude"): _full_width,
    ("prune", "exclude"): _full_channels,
    ("quant", "ranges"): _wrote,
    ("quant", "tensorrt_cache"): _wrote,
    ("quant", "exclude"): _single_weights,
}
