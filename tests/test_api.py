"""The Python functions: everything the command line does, without it."""

from __future__ import annotations

import inspect
import pydoc
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest

import graphopt
from graphopt import data, ir
from graphopt.errors import GoalError, OutputError, UsageError


@pytest.mark.usefixtures("installed")
def test_optimize_a_file_and_save_the_result(tiny: Path, tmp_path: Path) -> None:
    result = graphopt.optimize(str(tiny), passes="drop-identity", latency=False)
    assert [p.name for p in tmp_path.iterdir()] == ["tiny.onnx"]
    assert result.report.output is None and result.missed == ()
    assert result.report.after.nodes == 5
    out = tmp_path / "out.onnx"
    assert result.save(out) == [out]
    assert result.report.after.bytes == out.stat().st_size
    with pytest.raises(OutputError):
        result.save(out)
    result.save(out, force=True)


@pytest.mark.usefixtures("installed")
def test_a_model_in_memory_stays_as_it_is(fakes: SimpleNamespace) -> None:
    model = ir.from_bytes(fakes.build().SerializeToString())
    before = model.to_bytes()
    result = graphopt.optimize(model, passes="scale", latency=False)
    assert model.to_bytes() == before
    assert result.model.to_bytes() != before


@pytest.mark.usefixtures("installed")
def test_samples_may_be_given_as_such(tiny: Path) -> None:
    x = np.random.default_rng(0).standard_normal((6, 2, 4, 4)).astype(np.float32)
    samples = data.from_arrays({"x": x, "labels": np.arange(6)}, ir.load(tiny).signature.inputs)
    result = graphopt.optimize(
        tiny, "nothing,drop-identity", calibration=samples, evaluation=samples, latency=False
    )
    assert result.report.calibration.samples == 6
    assert result.report.calibration.shared_with_evaluation == 6
    assert "top1" in result.report.before.metrics


@pytest.mark.usefixtures("installed")
def test_goals_are_told_or_raised(tiny: Path) -> None:
    passes = "drop-identity,misbehave:how=goal"
    assert "0.3 was the goal" in graphopt.optimize(tiny, passes, latency=False).missed[0]
    with pytest.raises(GoalError, match=r"0\.3 was the goal"):
        graphopt.optimize(tiny, passes, latency=False, strict=True)


@pytest.mark.usefixtures("installed")
def test_wrong_arguments_are_usage_errors(tiny: Path) -> None:
    with pytest.raises(UsageError, match="passes are an empty list"):
        graphopt.optimize(tiny, [])
    with pytest.raises(UsageError, match="--verify is one of") as caught:
        graphopt.optimize(tiny, "nothing", verify="ful")
    assert caught.value.hint == "did you mean 'full'?"
    with pytest.raises(UsageError, match="not an input"):
        graphopt.optimize(tiny, "nothing", shape={"z": (1, 2)})


@pytest.mark.usefixtures("installed")
def test_external_data_stays_external(tmp_path: Path, fakes: SimpleNamespace) -> None:
    path, out = tmp_path / "in.onnx", tmp_path / "out.onnx"
    onnx.save(fakes.build(), path, save_as_external_data=True, location="in.bin", size_threshold=0)
    result = graphopt.optimize(path, "scale", output=out, latency=False)
    files = [p for p in tmp_path.iterdir() if p.name not in ("in.onnx", "in.bin")]
    assert len(files) == 2
    assert result.report.after.bytes == sum(p.stat().st_size for p in files)
    onnx.checker.check_model(out)


def test_looking_functions(tiny: Path, labelled: Path) -> None:
    assert graphopt.inspect(tiny).ops["Conv"] == 1
    assert graphopt.compare(tiny, tiny, latency=False).agreement["top1"] == 1.0
    assert graphopt.evaluate(tiny, str(labelled)).samples == 12


def test_the_package_exports_lazily() -> None:
    assert set(graphopt.__all__) <= set(dir(graphopt))
    with pytest.raises(AttributeError, match="no attribute 'optimise'"):
        graphopt.optimise  # type: ignore[attr-defined]  # noqa: B018


def test_arguments_recipe_keys_and_flags_are_the_same() -> None:
    from graphopt.cli.commands.optimize import command
    from graphopt.pipeline.spec.request import TALK, recipe_flags

    keys = {key.replace("-", "_") for key in recipe_flags()} - set(TALK)
    arguments = set(inspect.signature(graphopt.optimize).parameters) - {
        "model",
        "recipe",
        "progress",
        "transform",
    }
    shown_only = {"model", "recipe", "help", "json", "debug", *TALK}
    assert arguments == keys
    assert {str(parameter.name) for parameter in command.params} - shown_only == keys


def test_every_argument_is_explained_with_the_default_that_counts(tiny: Path) -> None:
    parameters = inspect.signature(graphopt.optimize).parameters
    explained = inspect.getdoc(graphopt.optimize) or ""
    assert all(f"    {name}: " in explained for name in parameters)
    assert parameters["target"].default == "ort-cpu"
    assert parameters["output"].annotation == "str | Path | None"
    assert "seed: Seed of everything random. [default: 0]" in explained
    assert graphopt.optimize(tiny, "clean", latency=False, seed=None).report.seed == 0


def test_an_unknown_argument_is_refused_by_name(tiny: Path) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'max_dorp'"):
        graphopt.optimize(tiny, "clean", max_dorp=1)  # type: ignore[call-arg]


def test_without_passes_the_exact_ones_run(tiny: Path) -> None:
    result = graphopt.optimize(tiny, latency=False)
    assert [entry.name for entry in result.report.passes] == ["clean", "fold-bn"]


@pytest.mark.usefixtures("installed")
def test_models_of_every_kind_give_the_same_file(tiny: Path) -> None:
    proto = onnx.load(tiny)
    expected = graphopt.optimize(tiny, "scale", latency=False).model.to_bytes()
    exported = SimpleNamespace(model_proto=proto)  # as torch.onnx.export returns it
    for model in (str(tiny), tiny.read_bytes(), proto, exported, ir.load(tiny)):
        assert graphopt.optimize(model, "scale", latency=False).model.to_bytes() == expected
    graph = graphopt.optimize(gs.import_onnx(proto), "scale", latency=False)
    assert graph.report.input == "a model in memory"
    assert graphopt.compare(graph.model, expected, latency=False).outputs["y"]["max_abs"] == 0
    assert graphopt.inspect(proto).ops == graphopt.inspect(tiny).ops


def test_passes_of_every_kind(tiny: Path, fakes: SimpleNamespace) -> None:
    def double(graph: gs.Graph) -> None:
        next(node for node in graph.nodes if node.op == "Gemm").inputs[1].values *= 2

    result = graphopt.optimize(
        tiny, ["clean", fakes.Scale(factor=2.0), double], latency=False, as_written=True, verify="structure"
    )
    assert [entry.name for entry in result.report.passes] == ["clean", "scale", "surgeon"]
    assert result.report.passes[1].options["factor"] == 2
    assert result.report.passes[2].options["function"] == "test_api.py:double"
    assert "values changed" in {change.what for change in result.report.passes[2].changes}
    assert (
        graphopt.optimize(tiny, fakes.Scale, latency=False, as_written=True).report.passes[0].name == "scale"
    )


def test_a_function_that_fails_is_said_with_its_line(tiny: Path) -> None:
    def wrong(graph: gs.Graph) -> None:
        graph.nodes[99].op = "Relu"

    with pytest.raises(graphopt.GraphoptError, match=r"test_api.py:wrong failed in line \d+ .*IndexError"):
        graphopt.optimize(tiny, wrong, latency=False)


@pytest.mark.usefixtures("installed")
def test_a_loader_and_a_metric_function_judge_as_files_do(tiny: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((12, 2, 4, 4)).astype(np.float32), rng.integers(0, 7, 12)
    np.savez(tmp_path / "data.npz", x=x, labels=y)

    def hit(outputs: dict[str, np.ndarray], labels: np.ndarray) -> np.ndarray:
        return (outputs["y"].argmax(-1) == labels).astype(float)

    loader = [[x[:5], y[:5]], [x[5:], y[5:]]]
    ours = graphopt.optimize(tiny, "scale", evaluation=loader, metric=hit, latency=False).report
    files = graphopt.optimize(
        tiny, "scale", evaluation=tmp_path / "data.npz", metric=hit, latency=False
    ).report
    assert ours.before.metrics == files.before.metrics and ours.after.metrics == files.after.metrics
    assert set(ours.before.metrics) == {"hit"}
    assert graphopt.evaluate(tiny, (x, y)).metrics == graphopt.evaluate(tiny, tmp_path / "data.npz").metrics


@pytest.mark.usefixtures("installed")
def test_labels_may_be_an_array(tiny: Path) -> None:
    x = np.random.default_rng(4).standard_normal((6, 2, 4, 4)).astype(np.float32)
    rows = np.random.default_rng(5).standard_normal((6, 7))

    def close(outputs: dict[str, np.ndarray], labels: np.ndarray) -> np.ndarray:
        assert labels.shape == (len(outputs["y"]), 7)
        return -np.abs(outputs["y"] - labels).mean(-1)

    found = graphopt.evaluate(tiny, x, metric=close, labels=rows)
    assert found.metrics["close"] < 0


@pytest.mark.usefixtures("installed")
def test_a_result_prints_in_one_line_and_shows_cards(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = graphopt.optimize(tiny, "drop-identity", latency=False)
    assert "\n" not in str(result) and str(result).startswith("tiny.onnx after drop-identity: ")
    assert len(repr(result)) < 200
    page = result._repr_html_()
    assert page.count("<div") == page.count("</div>") and "File size" in page and "<script" not in page
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    path = result.show()
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>") and opened == [path.as_uri()]


def test_help_begins_with_the_functions() -> None:
    text = pydoc.plain(pydoc.render_doc(graphopt))
    places = [
        text.index(f"    {name} ") for name in ("optimize", "inspect", "compare", "evaluate", "distill")
    ]
    assert places == sorted(places) and places[-1] < text.index("__init__")
    assert graphopt.distill.__module__ == "graphopt.passes.distill.api"
    assert issubclass(graphopt.errors.DataError, graphopt.GraphoptError)
    assert graphopt.Samples is data.Samples and graphopt.Pass.__name__ == "Pass"


def test_naming_optimize_imports_nothing_that_takes_long() -> None:
    heavy = "{'numpy', 'onnx', 'onnxruntime', 'graphopt.runtime'}"
    code = f"import sys, graphopt; graphopt.optimize; print(*sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
