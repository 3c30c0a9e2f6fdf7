"""Boxes and masks reach the feed's pixels from every kind of file, and what is wrong is said."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from graphopt.data import Samples, load, parse_preprocess
from graphopt.data.ground_truth.truth import IGNORED, Boxes, load_boxes, load_masks
from graphopt.errors import DataError
from graphopt.ir import Port

INPUT = [Port("x", np.dtype(np.float32), (1, 3, 40, 40))]
RECIPE = parse_preprocess("letterbox=40;interpolation=nearest")
SIZES = {"a": (20, 40), "b": (80, 40), "c": (40, 40)}  # (height, width)
FIXED = {"a": (1.0, 0, 10), "b": (0.5, 10, 0), "c": (1.0, 0, 0)}  # scale, left, top in the letterbox


@pytest.fixture
def images(tmp_path: Path) -> Samples:
    (tmp_path / "photos" / "deep").mkdir(parents=True)
    for name, (height, width) in SIZES.items():
        Image.new("RGB", (width, height), (9, 9, 9)).save(tmp_path / "photos" / "deep" / f"{name}.png")
    return load(str(tmp_path / "photos"), INPUT, RECIPE)


def wanted(name: str, box: tuple[float, ...]) -> list[float]:
    scale, left, top = FIXED[name]
    return [box[0] * scale + left, box[1] * scale + top, box[2] * scale + left, box[3] * scale + top]


def check(samples: Samples, found: list[Boxes]) -> None:
    for name, boxes in zip(SIZES, found, strict=True):
        np.testing.assert_allclose(boxes.corners, [wanted(name, (4, 6, 14, 18))])
        assert boxes.classes.tolist() == [1]


def test_coco(images: Samples, tmp_path: Path) -> None:
    document = {
        "images": [{"id": 7 + n, "file_name": f"{name}.png"} for n, name in enumerate(SIZES)],
        "categories": [{"id": 30, "name": "dog"}, {"id": 4, "name": "cat"}],
        "annotations": [
            {"image_id": 7 + n, "category_id": 30, "bbox": [4, 6, 10, 12], "iscrowd": n == 2}
            for n in range(len(SIZES))
        ],
    }
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(document))
    truth = load_boxes(str(path), images)
    found = [truth.of(sample)[0] for sample in images]
    check(images, found)
    assert truth.names == ("cat", "dog")
    assert [boxes.crowd.tolist() for boxes in found] == [[False], [False], [True]]


def test_yolo_text(images: Samples, tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    for name, (height, width) in SIZES.items():
        line = f"1 {9 / width} {12 / height} {10 / width} {12 / height}\n"
        (tmp_path / "labels" / f"{name}.txt").write_text(line)
    truth = load_boxes(str(tmp_path / "labels"), images)
    check(images, [truth.of(sample)[0] for sample in images])


def test_an_image_without_text_file_has_no_items(images: Samples, tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    truth = load_boxes(str(tmp_path / "labels"), images)
    assert [len(truth.of(sample)[0].classes) for sample in images] == [1, 0, 0]


def test_arrays_follow_slices(tmp_path: Path) -> None:
    pixels = np.zeros((6, 3, 40, 40), np.uint8)
    boxes = np.full((6, 2, 5), -1.0)
    boxes[:, 0] = [[n, 1, 2, 3, 4 + n] for n in range(6)]
    masks = np.broadcast_to(np.arange(6)[:, None, None], (6, 40, 40)).astype(np.uint8)
    np.savez(tmp_path / "data.npz", images=pixels, boxes=boxes, masks=masks)
    np.savez_compressed(tmp_path / "packed.npz", masks=masks)
    samples = load(f"{tmp_path}/data.npz#images::2:", INPUT)
    found = load_boxes(f"{tmp_path}/data.npz#boxes", samples)
    flat, packed = (load_masks(f"{tmp_path}/{name}.npz#masks", samples) for name in ("data", "packed"))
    assert len(samples) == 4
    for sample in samples:
        (row,) = sample.rows
        assert found.of(sample)[0].classes.tolist() == [row]
        assert np.unique(flat.of(sample)[0]).tolist() == [row]
        assert np.unique(packed.of(sample)[0]).tolist() == [row]


def test_masks_of_files(images: Samples, tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    for name, (height, width) in SIZES.items():
        mask = np.zeros((height, width), np.uint8)
        mask[6:18, 4:14] = 3
        palette = Image.fromarray(mask, "P") if name == "b" else Image.fromarray(mask)
        if name == "b":
            palette.putpalette(list(range(256)) * 3)
        palette.save(tmp_path / "masks" / f"{name}.png")
    truth = load_masks(str(tmp_path / "masks"), images)
    for name, sample in zip(SIZES, images, strict=True):
        (mask,) = truth.of(sample)
        left, top, right, bottom = (round(value) for value in wanted(name, (4, 6, 14, 18)))
        assert (mask[top:bottom, left:right] == 3).all()
        assert int((mask == 3).sum()) == (bottom - top) * (right - left)
        assert int((mask == IGNORED).sum()) == (0 if name == "c" else 800)  # the borders of the letterbox


def test_boxes_that_are_cut_away_do_not_count() -> None:
    from graphopt.data.preprocess.geometry import placement

    boxes = Boxes.of([[0, 0, 0, 10, 10], [1, 40, 40, 60, 60]]).placed(
        placement((100, 100), parse_preprocess("crop=40"))
    )
    assert boxes.classes.tolist() == [1]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "cannot be read as JSON"),
        ("{}", "not a COCO annotation file"),
        ('{"images": [], "categories": [], "annotations": []}', "says nothing of"),
    ],
)
def test_a_bad_annotation_file(images: Samples, tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "bad.json").write_text(content)
    with pytest.raises(DataError, match=said):
        load_boxes(str(tmp_path / "bad.json"), images)


def test_other_bad_truth(images: Samples, tmp_path: Path) -> None:
    np.savez(
        tmp_path / "bad.npz", boxes=np.zeros((5, 2, 5)), flat=np.zeros((3, 5)), masks=np.zeros((3, 4, 4))
    )
    with pytest.raises(DataError, match="has 5 rows, but"):
        load_boxes(f"{tmp_path}/bad.npz#boxes", images)
    with pytest.raises(DataError, match=r"boxes are \(samples, items, 5\)"):
        load_boxes(f"{tmp_path}/bad.npz#flat", images)
    with pytest.raises(DataError, match="masks are"):
        load_masks(f"{tmp_path}/bad.npz#masks", images)
    with pytest.raises(DataError, match="there is no file"):
        load_boxes(str(tmp_path / "none.json"), images)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="has no"):
        load_masks(str(tmp_path / "empty"), images)
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.txt").write_text("0 0.5 0.5 nan 0.1\n")
    with pytest.raises(DataError, match="not five finite numbers"):
        [load_boxes(str(tmp_path / "text"), images).of(sample) for sample in images]
