"""Real backends on the sample model, so far as they are installed: what is written is right there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import graphopt
from graphopt import backends, runtime, targets
from graphopt.errors import VerificationError
from graphopt.pipeline.deploy.companions import place_of

SAMPLE = Path(__file__).parents[2] / "models" / "fashion_residual.onnx"
PLAIN = (
    "rounding=nearest:bias_correction=false:equalise=none:absorb=false:keep_noisy_float=false:measure=false"
)
INTEGER = {"openvino": 9, "opencv": 8, "ncnn": 9}  # layers of ten that have to run on integers

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SAMPLE.exists(), reason="needs the checkout"),
]


def there(name: str) -> backends.Installed:
    found = backends.installed(name)
    if found is None:
        pytest.skip(f"{name} is not installed: graphopt targets --install {backends.find(name).folder}")
    return found


def written(folder: Path, target: str, passes: str, **options: object) -> Path:
    output = folder / "small.onnx"
    graphopt.optimize(
        SAMPLE, passes, output=output, target=target, fix_shape=True, latency=False, threads=1, **options
    )  # type: ignore[arg-type]
    return output


@pytest.mark.parametrize("name", ["openvino", "opencv", "ort-web", "ncnn"])
def test_what_is_written_for_a_backend_is_right_there(name: str, tmp_path: Path) -> None:
    where = there(name)
    output = written(tmp_path, name, f"quant:{PLAIN}", verify_backend=True)
    beside = {kind: place_of(kind, output) for kind in targets.load(name).companions}
    feeds = {"images": np.random.default_rng(0).standard_normal((1, 1, 28, 28)).astype(np.float32)}
    (answer,) = backends.run(where, [backends.Entry(output, feeds, ["logits"], beside)]).answers
    if name in INTEGER:
        assert answer.kernels is not None and answer.kernels.integer >= INTEGER[name]


@pytest.mark.parametrize("name", ["openvino", "opencv", "opencv-classic", "ort-web", "reference"])
def test_the_generic_file_runs_there(name: str, tmp_path: Path) -> None:
    where = there(name)
    output = written(tmp_path, "generic", f"quant:{PLAIN}")
    rng = np.random.default_rng(0)
    feeds = {"images": rng.standard_normal((1, 1, 28, 28)).astype(np.float32)}
    (answer,) = backends.run(where, [backends.Entry(output, feeds, ["logits"])]).answers
    assert answer.outputs is not None, answer.error
    right = runtime.Session(output, optimization="disabled").run(feeds)
    whole = runtime.Session(SAMPLE).run(feeds)
    own = backends.agreement(whole, right).sqnr_db
    assert backends.agreement(whole, answer.outputs).sqnr_db > own - 10


def test_a_file_that_a_backend_gets_wrong_is_not_written(tmp_path: Path) -> None:
    """OpenCV 5.0 crashes on Relu nodes that its profile takes out; a careless profile is caught."""
    there("opencv")
    toml = tmp_path / "careless.toml"
    toml.write_text(
        'base = "opencv"\nnot_between_pairs = []\nstays_float = []\nopset_min = 13\nabsorbed_nodes = "keep"\n'
    )
    with pytest.raises(VerificationError, match="not right in OpenCV"):
        written(tmp_path, str(toml), f"quant:{PLAIN}", verify_backend=True)
    assert not (tmp_path / "small.onnx").exists()
