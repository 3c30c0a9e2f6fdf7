"""Files for graph viewers: the keys they look for, finite numbers, and a copy that only gained metadata."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest

from graphopt import ir
from graphopt.analysis import inspection
from graphopt.cli import app
from graphopt.errors import UsageError
from graphopt.ir.transform.annotate import annotate
from graphopt.record.sensitivity import Point, Sensitivity
from graphopt.report.export import overlay


@pytest.fixture
def tiny(tmp_path: Path, fakes: SimpleNamespace) -> Path:
    path = tmp_path / "tiny.onnx"
    onnx.save(fakes.build(), path)
    return path


def test_node_data_has_the_form_that_model_explorer_reads() -> None:
    found = overlay.node_data({"a": 1.0, "b": None, "c": float("inf"), "d": 0})
    assert found["results"] == {"a": {"value": 1.0}, "d": {"value": 0}}
    assert [item["stop"] for item in found["gradient"]] == [0, 1]
    other = overlay.node_data({"a": 1.0}, high_is_good=True)
    assert found["gradient"][1]["bgColor"] == other["gradient"][0]["bgColor"]


def test_layers_are_found_by_their_output(tiny: Path) -> None:
    found = inspection.inspect(tiny, layers=True)
    results = overlay.layer_overlay(found)["results"]
    assert results["c"] == {"value": 96} and results["r"] == {"value": 0} and set(results) == set("cripfy")
    assert overlay.layer_overlay(found, "parameters")["results"]["y"] == {"value": 28}
    with pytest.raises(UsageError, match="did you mean 'latency_ms'"):
        overlay.layer_overlay(found, "latency")


def test_annotated_copies_only_gain_metadata(tiny: Path) -> None:
    found = inspection.inspect(tiny, layers=True)
    model = ir.load(tiny)
    copy = overlay.annotated(model, found.layers)
    proto = onnx.load_from_string(copy.to_bytes())
    onnx.checker.check_model(proto)
    told = {prop.key: prop.value for prop in proto.graph.node[0].metadata_props}
    assert told["graphopt.macs"] == "96" and told["graphopt.parameters"] == "9"
    for node in proto.graph.node:
        del node.metadata_props[:]
    assert proto == onnx.load(tiny)
    assert not onnx.load_from_string(model.to_bytes()).graph.node[0].metadata_props


def test_entries_of_others_stay(tiny: Path) -> None:
    model = ir.load(tiny)
    node = model.graph.nodes[0]
    annotate(node, {"mine": "1"})
    annotate(node, {"graphopt.macs": "2"})
    annotate(node, {"graphopt.macs": "3"})
    proto = onnx.load_from_string(model.to_bytes()).graph.node[0]
    assert [(prop.key, prop.value) for prop in proto.metadata_props] == [
        ("mine", "1"),
        ("graphopt.macs", "3"),
    ]
    made = model.graph.add_node("Relu", [model.graph.inputs[0]])
    annotate(made, {"a": "b"})
    assert made.proto is not None and made.op == "Relu"


def test_harm_lies_on_the_tensor_that_an_item_names(tiny: Path) -> None:
    points = (Point("conv", 0.1, 30.0), Point("conv", 0.5, 20.0), Point("p", 1.0, error="no"))
    found = Sensitivity("m", "prune", 10, "data", points, 1, 1)
    assert overlay.sensitivity_overlay(found, ir.load(tiny))["results"] == {"c": {"value": 20.0}}


def test_commands_write_them(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    costs, counts, copy, apart, harm = (
        tmp_path / name for name in ("costs.json", "counts.json", "copy.onnx", "apart.json", "harm.json")
    )
    files = ("--overlay", costs, "--overlay", f"macs={counts}", "--annotate", copy)
    assert app.run(["inspect", str(tiny), *map(str, files), "--latency"]) == 0
    assert json.loads(counts.read_text())["results"]["c"] == {"value": 96}
    assert all(entry["value"] > 0 for entry in json.loads(costs.read_text())["results"].values())
    assert "graphopt.latency_ms" in {p.key for n in onnx.load(copy).graph.node for p in n.metadata_props}
    assert app.run(["compare", str(tiny), str(copy), "--no-latency", "--overlay", str(apart)]) == 0
    assert json.loads(apart.read_text())["results"]["y"] == {"value": 300.0}
    np.savez(tmp_path / "s.npz", x=np.random.default_rng(0).standard_normal((4, 2, 4, 4)).astype(np.float32))
    given = ["--calibration", str(tmp_path / "s.npz"), "--cache", "off", "--jobs", "1", "--threads", "1"]
    assert app.run(["sensitivity", str(tiny), "--pass", "quant", *given, "--overlay", str(harm)]) == 0
    assert "gradient" in json.loads(harm.read_text())
    capsys.readouterr()


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("--overlay", "time=costs.json"), 2, "layers have no 'time'"),
        (("--overlay", "costs.txt"), 2, ".json"),
        (("--overlay", "missing/costs.json"), 7, "does not exist"),
        (("--annotate", "missing/copy.onnx"), 7, "does not exist"),
    ],
)
def test_wrong_places_are_said_before_the_work(
    tiny: Path, arguments: tuple[str, ...], code: int, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.run(["inspect", str(tiny), *arguments]) == code
    assert text in capsys.readouterr().err


def test_the_input_is_never_the_copy(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["inspect", str(tiny), "--annotate", str(tiny)]) == 7
    capsys.readouterr()
