"""Requests are plain values, and what was collected is written, read and added up exactly."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from graphopt.calibration import Collected, Patches, Range, Request, StatisticSpec
from graphopt.calibration.packing import pack, unpack
from graphopt.errors import DataError, UsageError

CONV = Patches("Conv", (3, 3), (1, 1), (1, 1), (1, 1, 1, 1))
REQUEST = Request.of(
    {
        "x": ["range", StatisticSpec.of("histogram", floor=0.0, bins=64)],
        "y": [StatisticSpec.of("gram", patches=CONV, bias=True, seed=3), "channel-moments", "sample-ranges"],
    }
)


def collected(seed: int) -> Collected:
    found = REQUEST.start()
    for values in np.random.default_rng(seed).random((3, 1, 2, 6, 6)).astype(np.float32):
        found.update("x", values)
        found.update("y", values)
    return found


def test_a_request_survives_json_and_pickle() -> None:
    document = json.loads(json.dumps(REQUEST.to_json()))
    assert Request.from_json(document) == REQUEST == pickle.loads(pickle.dumps(REQUEST))
    assert hash(Request.from_json(document)) == hash(REQUEST)


def test_what_was_collected_comes_back_bit_for_bit(tmp_path: Path) -> None:
    found = collected(0)
    found.save(tmp_path / "file")
    again = Collected.load(REQUEST, tmp_path / "file")
    assert again.to_bytes() == found.to_bytes() == (tmp_path / "file").read_bytes()
    assert again.merge(collected(1)).to_bytes() == found.merge(collected(1)).to_bytes()


def test_of_a_gram_matrix_one_half_is_written() -> None:
    spec = StatisticSpec.of("gram", patches=Patches("MatMul"), bias=False)
    found = Request.of({"x": [spec]}).start()
    found.update("x", np.random.default_rng(0).random((64, 200)).astype(np.float32))
    assert len(found.to_bytes()) < 0.52 * found.statistics["x"][0].gram.nbytes


def test_another_request_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    collected(0).save(path)
    other = REQUEST.part(["x"])
    with pytest.raises(ValueError, match="different requests"):
        collected(0).merge(other.start())
    for content in (path.read_bytes(), b"", b"nothing at all", path.read_bytes()[:-9]):
        path.write_bytes(content)
        with pytest.raises(DataError, match="holds no statistics for this request"):
            Collected.load(other, path)


def test_a_request_holds_no_functions() -> None:
    assert Request.of({"x": [Range]}).tensors == (("x", (StatisticSpec("range"),)),)
    with pytest.raises(UsageError, match="not the class of a registered statistic"):
        Request.of({"x": [lambda: Range()]})  # type: ignore[list-item]


_arrays = st.sampled_from(["f8", "f4", "i8", "u1", "?"]).flatmap(
    lambda kind: hnp.arrays(kind, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
)


@given(st.lists(st.dictionaries(st.sampled_from("abc"), _arrays), max_size=3), st.booleans())
def test_any_array_comes_back_with_its_bits(states: list[dict[str, np.ndarray]], mirror: bool) -> None:
    if mirror:
        states = [{n: a + a.swapaxes(-1, -2) if _is_square(a) else a for n, a in s.items()} for s in states]
    again = unpack(pack(states))
    assert [[*state] for state in again] == [[*state] for state in states]
    for one, two in zip(states, again, strict=True):
        for name, array in one.items():
            assert two[name].dtype == array.dtype and two[name].shape == array.shape
            assert two[name].tobytes() == array.tobytes()


def _is_square(array: np.ndarray) -> bool:
    return array.ndim >= 2 and array.shape[-1] == array.shape[-2]
