"""Samples that cannot be read or do not fit end in one sentence; nothing is written."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

from graphopt.cli import app

pytestmark = pytest.mark.usefixtures("installed")

Fails = Callable[..., str]
X = np.random.default_rng(0).standard_normal((6, 2, 4, 4)).astype(np.float32)


def _nan() -> np.ndarray:
    x = X.copy()
    x[3, 1, 2, 0] = np.nan
    return x


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"x": X[:, :, :3]}, "6x2x3x4"),
        ({"x": X.transpose(0, 2, 3, 1)}, "6x4x4x2"),
        ({"x": X.astype(np.int64)}, "holds int64"),
        ({"x": X[:0]}, "no samples"),
        ({"x": _nan()}, "row 3"),
        ({"x": np.array([{"a": 1}], dtype=object)}, "not a plain number type"),
        ({"x": X, "labels": np.arange(5)}, "6 samples to label"),
        ({"x": X, "labels": np.arange(6) - 1}, "below 0"),
        ({"x": X, "labels": np.arange(6) + 0.5}, "not whole numbers"),
        ({}, "no arrays"),
    ],
)
@pytest.mark.parametrize("flag", ["--calibration", "--evaluation"])
def test_arrays(
    fails: Fails, tiny: Path, tmp_path: Path, arrays: dict[str, np.ndarray], says: str, flag: str
) -> None:
    np.savez(tmp_path / "data.npz", **arrays)  # type: ignore[arg-type]
    assert says in fails(3, "optimize", tiny, "--passes", "nothing", flag, tmp_path / "data.npz")


@pytest.mark.parametrize("part", ["::0", "::5:2", "::3:3", "::x", "::", "::-1"])
def test_slices(fails: Fails, tiny: Path, labelled: Path, part: str) -> None:
    assert "::" in fails(2, "optimize", tiny, "--passes", "nothing", "--calibration", f"{labelled}{part}")


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 cut short"])
def test_what_is_no_npz(fails: Fails, tiny: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "data.npz").write_bytes(content)
    assert "data.npz" in fails(
        3, "optimize", tiny, "--passes", "nothing", "--calibration", tmp_path / "data.npz"
    )


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of four images."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(4):
        Image.new("RGB", (4, 4), (index, 50, 90)).save(folder / f"{index}.png")
    return folder


@pytest.fixture
def rgb(tmp_path: Path) -> Path:
    """A classifier of 4x4 images into three classes."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["p"], "pool"),
        helper.make_node("Flatten", ["p"], ["y"], "flat"),
    ]
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("x", [1, 3, 4, 4]), ("y", [1, 3]))
    ]
    graph = helper.make_graph(nodes, "rgb", ports[:1], ports[1:])
    path = tmp_path / "rgb.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def test_an_image_that_cannot_be_read(fails: Fails, rgb: Path, photos: Path) -> None:
    (photos / "2.png").write_bytes(b"\x89PNG\r\n\x1a\n and nothing more")
    err = fails(3, "optimize", rgb, "--passes", "nothing", "--calibration", photos)
    assert "image 2.png" in err and "BytesIO" not in err


def test_an_image_that_would_fill_the_memory(fails: Fails, rgb: Path, photos: Path) -> None:
    Image.new("1", (20_000, 20_000)).save(photos / "0.png")
    assert "0.png" in fails(3, "optimize", rgb, "--passes", "nothing", "--calibration", photos)


def test_labels_that_leave_images_out(fails: Fails, rgb: Path, photos: Path) -> None:
    (photos / "labels.csv").write_text("file,label\n0.png,1\n1.png,2\n")
    assert "image 2.png" in fails(3, "optimize", rgb, "--passes", "nothing", "--evaluation", photos)


def test_a_folder_without_images(fails: Fails, rgb: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "no images" in fails(
        3, "optimize", rgb, "--passes", "nothing", "--calibration", tmp_path / "empty"
    )


def test_an_archive_that_points_outside(fails: Fails, rgb: Path, tmp_path: Path) -> None:
    content = io.BytesIO()
    Image.new("RGB", (4, 4)).save(content, "PNG")
    with zipfile.ZipFile(tmp_path / "slip.zip", "w") as archive:
        archive.writestr("../../evil.png", content.getvalue())
    err = fails(3, "optimize", rgb, "--passes", "nothing", "--calibration", tmp_path / "slip.zip")
    assert "../../evil.png" in err


@pytest.mark.parametrize("text", ["sise=4", "size=4,mean=1", "std=0", "missing.toml", "mean=x"])
def test_preprocessing_that_cannot_be_read(fails: Fails, rgb: Path, photos: Path, text: str) -> None:
    flags = ("--calibration", photos, "--preprocess", text)
    assert "preprocess" in fails(2, "optimize", rgb, "--passes", "nothing", *flags)


def test_labels_beyond_the_classes(fails: Fails, tiny: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=X, labels=np.array([0, 1, 2, 7, 3, 4]))
    for command in (["optimize", tiny, "--passes", "nothing", "--evaluation"], ["evaluate", tiny, "--data"]):
        err = fails(3, *command, tmp_path / "data.npz")
        assert "the label 7" in err and "0..6" in err


def test_labels_beyond_classes_that_only_a_run_shows(fails: Fails, tiny: Path, tmp_path: Path) -> None:
    proto = onnx.load(tiny)
    proto.graph.output[0].type.tensor_type.shape.dim[1].dim_param = "classes"
    onnx.save(proto, tiny)
    np.savez(tmp_path / "data.npz", x=X, labels=np.arange(6) * 2)
    flags = ("--evaluation", tmp_path / "data.npz", "--verify", "off")
    assert "0..6" in fails(3, "optimize", tiny, "--passes", "drop-identity", *flags)


def test_labels_of_calibration_samples_may_be_anything_unless_used(tiny: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=X, labels=np.arange(6) * 100)
    data = str(tmp_path / "data.npz")
    assert app.run(["optimize", str(tiny), "--passes", "nothing", "--calibration", data]) == 0


def test_samples_in_both_sets_are_counted(
    tiny: Path, labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.json"
    flags = ["--calibration", f"{labelled}::8", "--evaluation", f"{labelled}::5", "--report", str(report)]
    assert app.run(["optimize", str(tiny), "--passes", "nothing", "--no-latency", *flags]) == 0
    assert json.loads(report.read_text())["calibration"]["shared_with_evaluation"] == 5
    assert "5 samples are in both calibration and evaluation" in capsys.readouterr().out
