"""A wrong answer of a backend stops the run; one that is merely noisier is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import graphopt
from graphopt import backends
from graphopt.backends import environment
from graphopt.errors import UsageError, VerificationError
from graphopt.pipeline.deploy.verification import judged
from tests.passes.quant.small import residual_file

RNG = np.random.default_rng(0)
RIGHT = [{"y": RNG.standard_normal(500)}]


def noisy(db: float) -> list[dict[str, np.ndarray]]:
    noise = RNG.standard_normal(500)
    size = np.sqrt(np.square(RIGHT[0]["y"]).sum() / np.square(noise).sum() / 10 ** (db / 10))
    return [{"y": RIGHT[0]["y"] + size * noise}]


def test_a_float_model_has_to_be_right() -> None:
    assert judged(RIGHT, noisy(100))[1:] == ("", "")
    assert "20.0 dB from onnxruntime's on the same file" in judged(RIGHT, noisy(20))[2]


def test_integers_may_be_as_far_from_float_as_they_are_in_onnxruntime() -> None:
    own = noisy(40)
    assert judged(own, noisy(39), RIGHT)[1:] == ("", "")
    _, noise, wrong = judged(own, noisy(35), RIGHT)
    assert "35.0 dB from the float model's, and onnxruntime's 40.0 dB" in noise and not wrong
    assert judged(own, noisy(1), RIGHT)[2]


WORKER = """
import sys
sys.path.insert(0, {workers!r})
import run_onnxruntime
from worker import serve

class Model(run_onnxruntime.Model):
    def run(self, feeds):
        return {{name: {factor} * value for name, value in super().run(feeds).items()}}

serve("9.9", Model)
"""


@pytest.fixture
def factor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Makes a backend named toy whose answers are onnxruntime's, times a factor."""

    def make(value: float) -> str:
        worker = tmp_path / "run_toy.py"
        worker.write_text(WORKER.format(workers=str(backends.runner.WORKERS), factor=value))
        toy = backends.Backend("toy", "Toy", "onnxruntime", str(worker), ("onnxruntime",))
        monkeypatch.setitem(backends.BACKENDS, "toy", toy)  # type: ignore[arg-type]
        target = tmp_path / "toy.toml"
        target.write_text('base = "ort-cpu"\nsummary = "a toy"\nruntime = "Toy"\nbackends = ["toy"]\n')
        return str(target)

    return make


def optimized(tmp_path: Path, target: str, **options: object) -> Path:
    output = tmp_path / "out.onnx"
    graphopt.optimize(
        residual_file(tmp_path),
        "clean",
        output=output,
        target=target,
        verify_backend=True,
        latency=False,
        **options,  # type: ignore[arg-type]
    )
    return output


def test_a_right_answer_lets_the_file_appear(tmp_path: Path, factor) -> None:  # type: ignore[no-untyped-def]
    assert optimized(tmp_path, factor(1.0)).exists()


def test_a_wrong_answer_writes_nothing(tmp_path: Path, factor) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(VerificationError, match=r"not right in Toy 9\.9: its outputs are 20\.0 dB") as caught:
        optimized(tmp_path, factor(1.1))
    assert caught.value.exit_code == 5
    assert not (tmp_path / "out.onnx").exists()


def test_a_backend_that_is_not_there_is_said_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(environment.PLACE, str(tmp_path / "none"))
    with pytest.raises(UsageError, match="MNN is not installed") as caught:
        optimized(tmp_path, "mnn")
    assert caught.value.hint == "graphopt targets --install mnn"
    with pytest.raises(UsageError, match="graphopt cannot run QNN"):
        optimized(tmp_path, "qnn")
