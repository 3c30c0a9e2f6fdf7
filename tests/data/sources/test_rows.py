from __future__ import annotations

import io
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from graphopt.data.sources.rows import FileRows, Rows, open_npy, open_npz, read_all
from graphopt.errors import DataError

ARRAYS = hnp.arrays(
    st.sampled_from(["<f4", ">f4", "<f8", "<f2", "|u1", "<i8", "|b1"]),
    hnp.array_shapes(min_dims=1, max_dims=4, max_side=5),
)


def opened(folder: Path, array: np.ndarray, kind: str) -> Rows:
    path = folder / f"data.{kind}"
    if kind == "npy":
        np.save(path, array)
        return open_npy(path)
    path = folder / "data.npz"
    (np.savez if kind == "stored" else np.savez_compressed)(path, other=np.arange(3), x=array)
    return open_npz(path)["x"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(array=ARRAYS, fortran=st.booleans(), data=st.data())
@pytest.mark.parametrize("kind", ["npy", "stored", "compressed"])
def test_rows_are_those_of_numpy_load(
    tmp_path: Path, kind: str, array: np.ndarray, fortran: bool, data: st.DataObject
) -> None:
    rows = opened(tmp_path, np.asfortranarray(array) if fortran else array, kind)
    assert (rows.shape, rows.dtype) == (array.shape, array.dtype.newbyteorder("="))
    wanted = sorted(data.draw(st.sets(st.integers(0, len(array) - 1))))
    got = list(rows.read(wanted))
    assert all(row.dtype.isnative for row in got) and len(got) == len(wanted)
    for row, index in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(row, array[index])
    np.testing.assert_array_equal(read_all(rows), array)


@pytest.mark.parametrize("kind", ["npy", "stored", "compressed"])
def test_memory_does_not_grow_with_the_array(tmp_path: Path, kind: str) -> None:
    array = np.zeros((1200, 40_000), np.uint8)  # 48 MB
    array[:, 0] = np.arange(1200) % 251
    rows = opened(tmp_path, array, kind)
    assert isinstance(rows, FileRows)
    tracemalloc.start()
    firsts = [int(row[0]) for row in rows.read(range(1200))]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert firsts == (np.arange(1200) % 251).tolist()
    assert peak < 2_000_000


def test_rows_far_into_a_compressed_member_need_no_memory_for_what_is_skipped(tmp_path: Path) -> None:
    rows = opened(tmp_path, np.zeros((300, 100_000), np.uint8), "compressed")
    tracemalloc.start()
    assert len(list(rows.read([299]))) == 1
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000


def test_pickles_are_never_read(tmp_path: Path) -> None:
    np.save(tmp_path / "o.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="not a plain number type"):
        open_npy(tmp_path / "o.npy")
    np.savez(tmp_path / "o.npz", x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match="array 'x' of"):
        open_npz(tmp_path / "o.npz")


@pytest.mark.parametrize("array", [np.array(["a"]), np.zeros(2, "c8"), np.zeros(2, [("a", "f4")])])
def test_types_that_no_model_takes(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(DataError, match="not a plain number type"):
        open_npy(tmp_path / "a.npy")


@pytest.mark.parametrize("keep", [0, 5, 30, 100, 400])
def test_truncated_files(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((100, 4), np.float32))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError):
        open_npy(path)


def test_files_that_are_something_else(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(b"PK nonsense")
    with pytest.raises(DataError, match=r"not a readable \.npz"):
        open_npz(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "no arrays")
    with pytest.raises(DataError, match="holds no arrays"):
        open_npz(path)


def test_damage_inside_a_compressed_member_is_found_while_reading(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x=np.random.default_rng(0).integers(0, 9, (500, 100)))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    rows = open_npz(path)["x"]
    with pytest.raises(DataError, match=r"array 'x' of .* is damaged"):
        list(rows.read(range(500)))


def test_a_member_that_claims_more_than_it_holds(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer, {"descr": "<f4", "fortran_order": False, "shape": (10**9, 10**9)}
    )
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", buffer.getvalue())
    with pytest.raises(DataError, match="shorter than its shape"):
        open_npz(tmp_path / "a.npz")
