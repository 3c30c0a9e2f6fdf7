"""Wrong calls from Python and the shell: one sentence each, never a traceback, and nothing is written."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest

import graphopt
from graphopt.cli.app import run

X = np.random.default_rng(0).standard_normal((8, 2, 4, 4)).astype(np.float32)


def failing() -> Iterator[np.ndarray]:
    yield X[0]
    raise OSError("the share is gone")


def optimize(**arguments: Any) -> Callable[[Path], Any]:
    return lambda model: graphopt.optimize(model, latency=False, **{"passes": "clean", **arguments})


def of_model(given: Any) -> Callable[[Path], Any]:
    return lambda model: graphopt.optimize(given(model) if callable(given) else given, "clean", latency=False)


def half(path: Path) -> bytes:
    return path.read_bytes()[: path.stat().st_size // 2]


def empty_graph(path: Path) -> onnx.ModelProto:
    model = onnx.load(path)
    model.ClearField("graph")
    return model


def cyclic(path: Path) -> gs.Graph:
    graph = gs.import_onnx(onnx.load(path))
    graph.outputs = []
    graph.nodes[0].inputs[0] = graph.nodes[1].outputs[0]
    return graph


def not_bytes(_: Any) -> Any:
    return "edited"


FROM_PYTHON: dict[str, Callable[[Path], Any]] = {
    # models
    "model none": of_model(None),
    "model number": of_model(3),
    "model array": of_model(X),
    "model list": of_model([]),
    "model class": of_model(lambda path: onnx.ModelProto),
    "model empty bytes": of_model(b""),
    "model zeros": of_model(bytes(100)),
    "model cut": of_model(lambda path: half(path)),
    "model empty proto": of_model(lambda path: onnx.ModelProto()),
    "model without graph": of_model(empty_graph),
    "model odd graph": of_model(cyclic),
    "model session": of_model(SimpleNamespace(run=print)),
    "model folder": of_model(lambda path: path.parent),
    # data
    "data number": optimize(calibration=5),
    "data true": optimize(calibration=True),
    "data bytes": optimize(calibration=b"abc"),
    "data function": optimize(calibration=print),
    "data empty": optimize(calibration=[]),
    "data empty text": optimize(calibration=""),
    "data used up": optimize(calibration=iter(())),
    "data raises": optimize(calibration=failing()),
    "data paths": optimize(calibration=["a.png"]),
    "data wrong names": optimize(calibration={"image": X, "other": X}),
    "data wrong shape": optimize(calibration=X[:, :, :3]),
    "data no rows": optimize(calibration=X[:0]),
    "data nan": optimize(calibration=X * np.nan),
    "data wrong type": optimize(calibration=X.astype(np.complex64)),
    "data strings": optimize(calibration=np.array(["a", "b"])),
    "data objects": optimize(calibration=np.array([None, {}], object)),
    "labels one-hot": optimize(evaluation=(X, np.eye(8))),
    "labels negative": optimize(evaluation=(X, np.arange(8) - 4)),
    "labels too large": optimize(evaluation=(X, np.arange(8) + 90)),
    "labels fractions": optimize(evaluation=(X, np.arange(8) / 3)),
    "transform text": optimize(calibration=list(X), transform="numpy"),
    "transform raises": optimize(calibration=list(X), transform=lambda item: item["x"]),
    "transform nothing": optimize(calibration=list(X), transform=lambda item: None),
    # passes
    "passes number": optimize(passes=1),
    "passes empty list": optimize(passes=[]),
    "passes none in list": optimize(passes=["clean", None]),
    "passes dict": optimize(passes={"clean": {}}),
    "passes function fails": optimize(passes=lambda graph: graph.missing),
    "passes function returns": optimize(passes=not_bytes),
    "passes class": optimize(passes=int),
    # metrics and goals
    "metric number": optimize(evaluation=X, metric=3),
    "metric raises": optimize(evaluation=X, metric=lambda outputs, labels: outputs["nothing"]),
    "metric text": optimize(evaluation=X, metric=lambda outputs, labels: "good"),
    "metric nan": optimize(evaluation=X, metric=lambda outputs, labels: np.full(len(outputs["y"]), np.nan)),
    "metric short": optimize(evaluation=X, metric=lambda outputs, labels: []),
    "goal text": optimize(evaluation=X, max_drop="1"),
    "goal nan": optimize(evaluation=X, max_drop=float("nan")),
    "goal without data": optimize(max_drop=1),
    # the rest
    "shape text": optimize(shape="x"),
    "shape of floats": optimize(shape={"x": (1.5, 2, 4, 4)}),
    "output number": optimize(output=3),
    "report kind": optimize(report="run.txt"),
    "preprocess auto": optimize(calibration=X, preprocess="auto"),
    "target": optimize(target="gpu"),
    "evaluate without data": lambda model: graphopt.evaluate(model, None),
    "evaluate number": lambda model: graphopt.evaluate(model, 3),
    "compare none": lambda model: graphopt.compare(model, None),
    "inspect bytes": lambda model: graphopt.inspect(b"not a model"),
    "check nothing": lambda model: graphopt.check(model, model),
    "sensitivity pass": lambda model: graphopt.sensitivity(model, [], X),
    "distill nothing": lambda model: graphopt.distill(model, model, None),
    "distill option": lambda model: graphopt.distill(model, model, X, epoch=1),
    "save nowhere": lambda model: graphopt.optimize(model, "clean", latency=False).save(""),
    "save number": lambda model: graphopt.optimize(model, "clean", latency=False).save(1),  # type: ignore[arg-type]
    "show text": lambda model: graphopt.optimize(model, "clean", latency=False).show("page.pdf"),
}


@pytest.mark.parametrize("name", FROM_PYTHON)
def test_a_wrong_call_in_python_is_one_sentence(
    name: str, tiny: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(graphopt.GraphoptError) as caught:
        FROM_PYTHON[name](tiny)
    text = str(caught.value)
    assert text and "\n" not in text and len(text) < 400, text
    assert "object at 0x" not in text and "Traceback" not in text, text
    assert sorted(tmp_path.iterdir()) == before


FROM_THE_SHELL: dict[str, tuple[int, str]] = {
    "check alone": (2, "check MODEL"),
    "check no limit": (2, "check MODEL --baseline MODEL"),
    "check drop without data": (2, "check MODEL --baseline MODEL --max-drop 1"),
    "check negative": (2, "check MODEL --baseline MODEL --max-bytes -5"),
    "check text": (2, "check MODEL --baseline MODEL --max-bytes many"),
    "check no file": (3, "check MODEL --baseline nowhere.onnx --max-bytes 5"),
    "check no report": (2, "check MODEL --baseline nowhere.json --max-bytes 5"),
    "check broken report": (2, "check MODEL --baseline BROKEN --max-bytes 5"),
    "check junit kind": (2, "check MODEL --baseline MODEL --max-bytes 5 --junit out.txt"),
    "check junit over model": (2, "check MODEL --baseline MODEL --max-bytes 5 --junit MODEL"),
    "check too large": (6, "check MODEL --baseline MODEL --max-bytes 5"),
    "check forbidden": (6, "check MODEL --baseline MODEL --forbid Conv"),
    "auto preprocess": (3, "optimize MODEL --calibration DATA --preprocess auto"),
    "two talks": (2, "optimize MODEL --quiet --verbose"),
    "empty passes": (2, "optimize MODEL --passes="),
    "blank passes": (2, "optimize MODEL --passes ,"),
    "zip bomb name": (3, "optimize MODEL --calibration ODD"),
    "trainer json twice": (2, "trainer status --json=yes"),
    "unknown command": (2, "optimise MODEL"),
    "unknown flag": (2, "inspect MODEL --layer"),
    "inspect folder": (3, "inspect FOLDER"),
    "compare one": (2, "compare MODEL"),
    "report of a model": (2, "report MODEL -o page.html"),
    "report to a model": (2, "report BROKEN -o MODEL"),
}


@pytest.mark.parametrize("name", FROM_THE_SHELL)
def test_a_wrong_call_in_the_shell_is_one_sentence(
    name: str,
    tiny: Path,
    labelled: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    broken, odd = tmp_path / "broken.json", tmp_path / "odd.npz"
    broken.write_text(json.dumps({"after": []}))
    with zipfile.ZipFile(odd, "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00")
    places = {"MODEL": tiny, "DATA": labelled, "BROKEN": broken, "ODD": odd, "FOLDER": tmp_path}
    code, line = FROM_THE_SHELL[name]
    before = sorted(tmp_path.iterdir())
    assert run([str(places.get(word, word)) for word in line.split()]) == code
    said = capsys.readouterr().err
    assert said.count("error: ") == 1 and "Traceback" not in said and "itself failed" not in said, said
    assert sorted(tmp_path.iterdir()) == before


def test_there_are_sixty_and_more() -> None:
    assert len(FROM_PYTHON) + len(FROM_THE_SHELL) >= 60
