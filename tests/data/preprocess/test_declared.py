"""What a model's metadata say of its preprocessing is used, unless the user says otherwise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import graphopt
from graphopt.data import open_samples, recipe_for
from graphopt.errors import DataError
from graphopt.ir import Port

TEXT = "scale=0.00392156862745098;mean=0.286;std=0.353"


def test_the_metadata_count_where_nothing_else_is_said() -> None:
    recipe, warning = recipe_for(None, {"preprocessing": TEXT})
    assert recipe is not None and str(recipe) == TEXT and warning == ""
    assert recipe.as_dict()["from"] == "the model's metadata"
    assert recipe_for("auto", {"preprocessing": TEXT})[0] == recipe
    chosen, _ = recipe_for("scale=2", {"preprocessing": TEXT})
    assert str(chosen) == "scale=2.0" and "from" not in chosen.as_dict()  # type: ignore[union-attr]
    assert recipe_for(None, {}) == (None, "")


def test_auto_insists() -> None:
    with pytest.raises(DataError, match="--preprocess auto finds nothing in the model: its metadata has no"):
        recipe_for("auto", {})
    with pytest.raises(DataError, match="is no recipe: preprocess knows no preset 'divide by two'"):
        recipe_for("auto", {"preprocessing": "divide by two"})


@pytest.mark.parametrize("text", ["secret.toml", "/etc/passwd", "mean=x", "a" * 5000, "size=1x2x3"])
def test_what_is_no_recipe_is_passed_over_and_no_file_opened(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: pytest.fail("a file was read"))
    recipe, warning = recipe_for(None, {"preprocessing": text})
    assert recipe is None and warning.startswith("the model's preprocessing is passed over: ")


def test_it_applies_to_pixels_and_leaves_floats_alone(pixels: object) -> None:
    recipe, _ = recipe_for(None, {"preprocessing": TEXT})
    ports = [Port("x", np.dtype("float32"), ("N", 1, 4, 4))]
    images = np.arange(32, dtype=np.uint8).reshape(2, 1, 4, 4)
    fed = np.concatenate([sample.feeds["x"] for sample in open_samples(images, ports, recipe)])
    assert np.allclose(fed, (images / 255 - 0.286) / 0.353, atol=1e-6)
    floats = open_samples(images.astype(np.float32), ports, recipe)
    assert floats.preprocess is None and not floats.warnings


def test_the_sample_models_say_it_themselves(tmp_path: Path, tiny: Path) -> None:
    model = onnx.load(tiny)
    onnx.helper.set_model_props(model, {"preprocessing": "scale=0.5"})
    images = np.random.default_rng(0).integers(0, 255, (4, 2, 4, 4), np.uint8)
    path = tmp_path / "images.npz"
    np.savez(path, x=images, labels=np.arange(4))
    said = graphopt.evaluate(model, path)
    named = graphopt.evaluate(tiny, path, preprocess="scale=0.5")
    assert said.metrics == named.metrics and named.preprocess["scale"] == 0.5
    assert said.preprocess == {**named.preprocess, "from": "the model's metadata"}
    report = graphopt.optimize(model, "clean", evaluation=path, latency=False).report
    assert report.preprocess == said.preprocess and report.before.metrics == said.metrics
