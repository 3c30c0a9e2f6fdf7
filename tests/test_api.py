"""The Python functions: everything the command line does, without it."""

from __future__ import annotations

import inspect
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
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
    with pytest.raises(UsageError, match="no passes"):
        graphopt.optimize(tiny)
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
    from graphopt.cli.optimize import command
    from graphopt.pipeline.spec.request import TALK, recipe_flags

    keys = {key.replace("-", "_") for key in recipe_flags()} - set(TALK)
    arguments = set(inspect.signature(graphopt.optimize).parameters) - {"model", "recipe", "progress"}
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
