"""inspect, compare, evaluate and passes from outside: a table, or one JSON document, on stdout alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest

from graphopt.cli import app


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., str]:
    """Run a command that succeeds; returns its stdout, which fits 80 columns but for paths."""

    def run(*arguments: object) -> str:
        assert app.run([*map(str, arguments)]) == 0, capsys.readouterr().err
        out = capsys.readouterr().out
        lines = (line for line in out.splitlines() if str(tmp_path) not in line)
        assert "--json" in arguments or max(map(len, lines)) <= 80
        return out

    return run


@pytest.fixture
def other(tmp_path: Path, fakes: SimpleNamespace) -> Path:
    """The tiny classifier with other weights."""
    path = tmp_path / "other.onnx"
    onnx.save(fakes.build(seed=1), path)
    return path


def test_inspect_counts(call: Callable[..., str], tiny: Path) -> None:
    found = json.loads(call("inspect", tiny, "--json", "--layers", "--latency"))
    assert found["ops"] == {
        "Conv": 1,
        "Relu": 1,
        "Identity": 1,
        "GlobalAveragePool": 1,
        "Flatten": 1,
        "Gemm": 1,
    }
    assert found["inputs"] == [{"name": "x", "dtype": "float32", "shape": [1, 2, 4, 4]}]
    measures = found["measures"]
    assert (measures["nodes"], measures["parameters"]) == (6, 9 + 28)
    assert measures["macs"] == 3 * 2 * 16 + 3 * 7
    assert measures["bytes"] == tiny.stat().st_size
    assert measures["latency_ms"] > 0
    assert [layer["name"] for layer in found["layers"]] == ["conv", "relu", "copy", "pool", "flat", "gemm"]
    assert "Conv" in call("inspect", tiny, "--layers")


def test_inspect_counts_external_data(
    call: Callable[..., str], tmp_path: Path, fakes: SimpleNamespace
) -> None:
    path = tmp_path / "external.onnx"
    proto = fakes.build()
    proto.graph.initializer[3].CopyFrom(onnx.numpy_helper.from_array(np.zeros(7, np.float32), "fc_bias"))
    onnx.save(proto, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    together = path.stat().st_size + (tmp_path / "weights.bin").stat().st_size
    assert json.loads(call("inspect", path, "--json"))["measures"]["bytes"] == pytest.approx(
        together, rel=0.05
    )


def test_inspect_shows_ranges_after_preprocessing(
    call: Callable[..., str], tiny: Path, tmp_path: Path
) -> None:
    pixels = np.zeros((3, 2, 4, 4), np.uint8)
    pixels[0, 0, 0, 0] = 255
    np.savez(tmp_path / "pixels.npz", x=pixels)
    flags = ("--data", tmp_path / "pixels.npz", "--preprocess", "scale=1/255;mean=0.5;std=0.5;layout=nchw")
    found = json.loads(call("inspect", tiny, "--json", *flags))
    assert found["ranges"] == {"x": [-1.0, 1.0]}
    assert found["samples"] == 3
    assert "smallest" in call("inspect", tiny, *flags)


def test_compare_with_itself_finds_nothing(call: Callable[..., str], tiny: Path) -> None:
    found = json.loads(call("compare", tiny, tiny, "--json", "--no-latency"))
    assert found["outputs"]["y"]["max_abs"] == 0.0
    assert found["agreement"] == {"top1": 1.0, "snr_db": {"y": 300.0}}
    assert found["latency_ratio"] is None
    assert found["source"] == "synthetic"


def test_compare_measures_the_distance(
    call: Callable[..., str], tiny: Path, other: Path, labelled: Path
) -> None:
    import onnxruntime

    found = json.loads(call("compare", tiny, other, "--json", "--data", labelled))
    x = np.load(labelled)["x"]
    a, b = (
        np.concatenate([s.run(None, {"x": one[None]})[0] for one in x])
        for s in map(onnxruntime.InferenceSession, (tiny, other))
    )
    assert found["outputs"]["y"]["max_abs"] == pytest.approx(np.abs(a - b).max(), rel=1e-5)
    noise = np.square((a - b).astype(np.float64)).sum()
    assert found["agreement"]["snr_db"]["y"] == pytest.approx(
        10 * np.log10(np.square(a).sum() / noise), abs=0.01
    )
    assert found["agreement"]["top1"] == pytest.approx((a.argmax(1) == b.argmax(1)).mean())
    assert found["latency_ratio"] > 0
    assert "output" in call("compare", tiny, other, "--no-latency")


def test_models_with_other_inputs_cannot_be_compared(
    tiny: Path, tmp_path: Path, fakes: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    proto = fakes.build()
    proto.graph.input[0].name = proto.graph.node[0].input[0] = "image"
    onnx.save(proto, tmp_path / "renamed.onnx")
    assert app.run(["compare", str(tiny), str(tmp_path / "renamed.onnx")]) == 3
    assert "different inputs" in capsys.readouterr().err


def test_evaluate_with_labels(call: Callable[..., str], tiny: Path, other: Path, labelled: Path) -> None:
    import onnxruntime

    found = json.loads(call("evaluate", tiny, "--data", labelled, "--json"))
    samples, session = np.load(labelled), onnxruntime.InferenceSession(tiny)
    scores = np.concatenate([session.run(None, {"x": one[None]})[0] for one in samples["x"]])
    assert found["metrics"]["top1"] == pytest.approx((scores.argmax(1) == samples["labels"]).mean())
    assert found["samples"] == 12
    both = json.loads(call("evaluate", tiny, "--data", labelled, "--reference", other, "--json"))
    assert set(both["agreement"]) == {"top1", "snr_db"}
    assert set(both["reference_metrics"]) == {"top1", "top5"}
    assert "top1" in call("evaluate", tiny, "--data", labelled, "--reference", other)


def test_evaluate_without_labels_needs_a_reference(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "bare.npz", x=np.zeros((2, 2, 4, 4), np.float32))
    bare = ["evaluate", str(tiny), "--data", str(tmp_path / "bare.npz")]
    assert app.run(bare) == 3
    assert "--reference" in capsys.readouterr().err
    assert app.run([*bare, "--reference", str(tiny)]) == 0
    assert "1.0000" in capsys.readouterr().out


@pytest.mark.usefixtures("installed")
def test_passes_are_listed_and_explained(call: Callable[..., str]) -> None:
    listed = call("passes")
    assert "Remove Identity nodes." in listed
    assert "exact" in listed and "approximate" in listed
    one = call("passes", "scale")
    for word in ("factor", "1.01", "from 0 to 2", "all|none", "needs:", "drop-identity"):
        assert word in one
    document: list[dict[str, Any]] = json.loads(call("passes", "--json"))
    assert [entry["name"] for entry in document] == [
        *("drop-identity", "lie", "misbehave", "nothing", "scale")
    ]


def test_a_broken_pass_is_listed_with_its_reason(
    call: Callable[..., str], fakes: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from graphopt.pipeline.spec import registry

    def load() -> None:
        import no_such_package  # noqa: F401

    broken = registry.Registry([fakes.Point("broken", load)])
    monkeypatch.setattr(registry, "passes", lambda: broken)
    assert "pip install no_such_package" in " ".join(call("passes").split())
    assert json.loads(call("passes", "--json"))[0]["hint"] == "pip install no_such_package"
