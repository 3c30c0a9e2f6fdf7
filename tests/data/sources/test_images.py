"""Images from folders and archives: the same samples whatever holds them."""

from __future__ import annotations

import io
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from graphopt.data import Samples, load, shared
from graphopt.data.sources.files import open_images
from graphopt.data.sources.images import decode
from graphopt.errors import DataError
from graphopt.ir import Port

MakePort = Callable[..., Port]
Pixels = Callable[..., np.ndarray]
NAMES = ("b/2.png", "a/10.png", "a/9.PNG", "c/deep/1.png")
KINDS = ("tar", "tar.gz", "tar.bz2", "tar.xz", "zip")


def packed(folder: Path, kind: str) -> Path:
    """An archive of `folder` in an order that is not sorted."""
    path = folder.parent / f"packed.{kind}"
    files = sorted((p for p in folder.rglob("*") if p.is_file()), reverse=True)
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in files:
                archive.write(file, file.relative_to(folder).as_posix())
    else:
        with tarfile.open(path, f"w:{kind.partition('.')[2]}") as archive:
            for file in files:
                archive.add(file, file.relative_to(folder).as_posix())
    return path


def content(samples: Samples) -> dict[str, tuple[int | None, bytes]]:
    keys = samples.content_keys()
    return {key: (s.label, s.feeds["x"].tobytes()) for key, s in zip(keys, samples, strict=True)}


@pytest.mark.parametrize("kind", KINDS)
def test_archives_give_what_the_folder_gives(kind: str, photos: Callable[..., Path], port: MakePort) -> None:
    root = photos(*NAMES)
    archive = packed(root, kind)
    inputs = [port("N", 3, 8, 8)]
    folder = load(root, inputs)
    assert len(folder) == 4 and folder.labelled
    assert content(load(archive, inputs)) == content(folder)
    assert content(load(f"{archive}::2", inputs)) == content(load(f"{root}::2", inputs))
    assert content(load(f"{archive}::2:", inputs)) == content(load(f"{root}::2:", inputs))
    assert shared(load(archive, inputs), folder) == 4


@pytest.mark.parametrize("kind", KINDS[:-1])
def test_archives_are_read_forward(kind: str, photos: Callable[..., Path]) -> None:
    files = open_images(packed(photos(*NAMES), kind))
    assert [index for index, _ in files.read([0, 1, 2, 3])] == [3, 2, 1, 0]  # packed in reverse


def test_folders_are_read_in_sorted_order(
    photos: Callable[..., Path], port: MakePort, pixels: Pixels
) -> None:
    root = photos(*NAMES)
    order = [NAMES.index(name) for name in ("a/10.png", "a/9.PNG", "b/2.png", "c/deep/1.png")]
    got = [(s.feeds["x"] * 255).round() for s in load(root, [port("N", 3, 8, 8)])]
    for image, seed in zip(got, order, strict=True):
        np.testing.assert_array_equal(image[0], pixels(8, 8, 3, seed=seed).transpose(2, 0, 1))


@pytest.mark.parametrize("kind", ["folder", *KINDS])
def test_a_table_labels_images_and_a_hash_picks_a_folder(
    kind: str, photos: Callable[..., Path], port: MakePort
) -> None:
    root = photos("test/x/1.png", "test/x/2.png", "train/x/3.png")
    (root / "test/labels.csv").write_text("file,label,author\nx/1.png,5,me\nx/2.png,6,you\n")
    path = root if kind == "folder" else packed(root, kind)
    samples = load(f"{path}#test", [port("N", 3, 8, 8)])
    assert sorted(s.label for s in samples if s.label is not None) == [5, 6]
    assert content(samples) == content(load(root / "test", [port("N", 3, 8, 8)]))
    with pytest.raises(DataError):
        load(f"{path}#nothing", [port("N", 3, 8, 8)])


def test_what_is_no_image_is_passed_over(photos: Callable[..., Path], port: MakePort) -> None:
    root = photos("a.png")
    (root / "notes.txt").write_text("no image")
    (root / "._a.png").write_bytes(b"left by macOS")
    (root / "__MACOSX").mkdir()
    (root / "__MACOSX" / "b.png").write_bytes(b"left by macOS")
    assert len(load(root, [port("N", 3, 8, 8)])) == 1


def test_links_between_folders_end(photos: Callable[..., Path], port: MakePort, tmp_path: Path) -> None:
    root = photos("a/1.png")
    (root / "a" / "loop").symlink_to(root)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "linked").symlink_to(root / "a")
    assert len(load(root, [port("N", 3, 8, 8)])) == 1
    assert len(load(tmp_path / "other", [port("N", 3, 8, 8)])) == 1


def test_one_image_is_a_data_set(photos: Callable[..., Path], port: MakePort) -> None:
    root = photos("a.png", "b.png")
    assert len(load(root / "a.png", [port("N", 3, 8, 8)])) == 1


def test_exif_orientation_is_respected(pixels: Pixels) -> None:
    image = Image.fromarray(pixels(4, 6, 3))
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn clockwise
    buffer = io.BytesIO()
    image.save(buffer, "PNG", exif=exif)
    np.testing.assert_array_equal(decode(buffer.getvalue(), "a"), np.rot90(np.asarray(image), -1))


def test_every_kind_of_image_decodes(pixels: Pixels) -> None:
    def through(image: Image.Image, kind: str = "PNG") -> np.ndarray:
        buffer = io.BytesIO()
        image.save(buffer, kind)
        return decode(buffer.getvalue(), "a")

    rgb, gray = pixels(5, 7, 3), pixels(5, 7)
    np.testing.assert_array_equal(through(Image.fromarray(gray))[:, :, 0], gray)
    deep = Image.fromarray(gray.astype(np.uint16) * 256 + 99)
    np.testing.assert_array_equal(through(deep)[:, :, 0], gray)
    bits = through(Image.fromarray(gray > 99))
    np.testing.assert_array_equal(bits[:, :, 0], (gray > 99) * 255)
    assert through(Image.fromarray(rgb).convert("P")).shape == (5, 7, 3)
    assert through(Image.fromarray(rgb).convert("CMYK"), "JPEG").shape == (5, 7, 3)
    np.testing.assert_array_equal(through(Image.fromarray(rgb).convert("RGBA"))[:, :, :3], rgb)


@pytest.mark.parametrize("keep", [0, 10, 60])
def test_damaged_images_are_named(keep: int, photos: Callable[..., Path], port: MakePort) -> None:
    root = photos("a.png", "b/c.png")
    broken = root / "b" / "c.png"
    broken.write_bytes(broken.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"image b/c.png of .*photos cannot be read"):
        list(load(root, [port("N", 3, 8, 8)]))


@pytest.mark.parametrize("member", ["../a.png", "/etc/a.png", "x/../../a.png", "..\\a.png", "C:/a.png"])
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_members_that_escape_are_refused(member: str, kind: str, tmp_path: Path, port: MakePort) -> None:
    path = tmp_path / f"evil.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(member, b"x")
    else:
        with tarfile.open(path, "w") as archive:
            archive.addfile(tarfile.TarInfo(member), io.BytesIO())
    with pytest.raises(DataError, match="points outside the archive"):
        load(path, [port("N", 3, 8, 8)])


def test_links_in_a_tar_are_not_followed(tmp_path: Path, port: MakePort) -> None:
    secret = tmp_path / "secret.png"
    Image.new("RGB", (8, 8)).save(secret)
    with tarfile.open(tmp_path / "links.tar", "w") as archive:
        link = tarfile.TarInfo("a.png")
        link.type, link.linkname = tarfile.SYMTYPE, str(secret)
        archive.addfile(link)
    with pytest.raises(DataError, match="has no images"):
        load(tmp_path / "links.tar", [port("N", 3, 8, 8)])


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_archives(kind: str, photos: Callable[..., Path], port: MakePort) -> None:
    path = packed(photos(*NAMES), kind)
    whole = path.read_bytes()
    for cut in (b"", whole[: len(whole) // 3], b"nonsense" * 100):
        path.write_bytes(cut)
        with pytest.raises(DataError):
            list(load(path, [port("N", 3, 8, 8)]))


def test_places_without_images(tmp_path: Path, port: MakePort) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="has no images"):
        load(tmp_path / "empty", [port("N", 3, 8, 8)])
    with pytest.raises(DataError, match="no file or folder"):
        load(tmp_path / "nothing::4", [port("N", 3, 8, 8)])
    (tmp_path / "a.h5").write_bytes(b"")
    with pytest.raises(DataError, match="not a kind of samples"):
        load(tmp_path / "a.h5", [port("N", 3, 8, 8)])


def test_models_that_images_cannot_feed(photos: Callable[..., Path], port: MakePort) -> None:
    root = photos("a.png")
    with pytest.raises(DataError, match="2 inputs of this model"):
        load(root, [port("N", 3, 8, 8), port("N", 2, name="scale")])
    with pytest.raises(DataError, match="four dimensions"):
        load(root, [port("N", 192)])
    with pytest.raises(DataError, match="do not fit"):
        load(root, [port("N", 3, 8, 8, dtype=None)])


def test_images_are_decoded_one_at_a_time(tmp_path: Path, port: MakePort) -> None:
    for index in range(30):
        Image.new("RGB", (400, 400), (index, 0, 0)).save(tmp_path / f"{index:02}.png")
    samples = load(tmp_path, [port("N", 3, 400, 400)])
    next(iter(samples))
    tracemalloc.start()
    assert sum(1 for _ in samples) == 30
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6 * 400 * 400 * 3 * 4  # a few images, not 30
