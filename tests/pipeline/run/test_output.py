"""A draft becomes the output in one step, or nothing of it is left."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import onnx
import pytest

from graphopt import ir
from graphopt.api import optimize
from graphopt.errors import OutputError
from graphopt.pipeline.run.output import draft_folder, publish, write_draft

pytestmark = pytest.mark.usefixtures("installed")


@pytest.fixture
def external(tmp_path: Path, fakes: SimpleNamespace) -> Path:
    """The tiny classifier with its weights in a file of their own."""
    path = tmp_path / "external.onnx"
    onnx.save(fakes.build(), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_data_files_move_with_the_model_and_old_ones_go(
    external: Path, tmp_path: Path, fakes: SimpleNamespace
) -> None:
    out = tmp_path / "out.onnx"
    optimize(external, "drop-identity", output=out, latency=False)
    first = [name for name in names(tmp_path) if name.startswith("out.onnx.")]
    other = fakes.build(seed=1)
    onnx.save(other, external, save_as_external_data=True, location="weights2.bin", size_threshold=0)
    optimize(external, "drop-identity", output=out, latency=False, force=True)
    second = [name for name in names(tmp_path) if name.startswith("out.onnx.")]
    assert len(first) == len(second) == 1 and first != second
    onnx.load(out)  # its data file is found
    assert names(tmp_path) == sorted(["external.onnx", "weights.bin", "weights2.bin", "out.onnx", *second])


def test_a_move_that_fails_leaves_the_old_output(
    external: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.onnx"
    optimize(external, "drop-identity", output=out, latency=False)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    replace = Path.replace

    def refuse(self: Path, target: Path) -> Path:
        if target == out:
            raise OSError(5, "Input/output error")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OutputError, match="Input/output error"):
        optimize(external, "scale:factor=0.5", output=out, latency=False, force=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_what_appears_meanwhile_is_not_overwritten(tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.onnx"
    with draft_folder(out) as folder:
        draft = write_draft(ir.load(tiny), folder / out.name)
        out.write_bytes(b"somebody else's")
        with pytest.raises(OutputError, match="exists"):
            publish(draft, out, force=False)
    assert out.read_bytes() == b"somebody else's"


def test_a_very_large_model_is_not_run_unless_asked(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graphopt.pipeline.spec.request.LARGEST_RUN", 100)
    spared = optimize(tiny, "drop-identity").report
    assert spared.after.latency_ms is None and spared.agreement == {}
    assert spared.passes[0].max_abs_diff is None
    assert any("skipped" in text and "--verify full" in text for text in spared.warnings)
    asked = optimize(tiny, "drop-identity", verify="full", latency=True).report
    assert asked.passes[0].max_abs_diff == 0 and asked.after.latency_ms is not None
    assert not asked.warnings
    assert not optimize(tiny, "drop-identity", verify="structure", latency=False).report.warnings
