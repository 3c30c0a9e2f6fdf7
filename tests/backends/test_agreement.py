"""Outputs are held to onnxruntime's in the layout that each backend keeps, and no further."""

from __future__ import annotations

import math

import numpy as np

from graphopt.backends import agreement

IMAGE = np.random.default_rng(0).standard_normal((1, 3, 4, 5)).astype(np.float32)


def test_equal_outputs_are_infinitely_close() -> None:
    assert agreement({"y": IMAGE}, {"y": IMAGE}).sqnr_db == math.inf


def test_channels_last_and_missing_batches_are_brought_into_shape() -> None:
    for value in (IMAGE.transpose(0, 2, 3, 1), IMAGE[0], IMAGE.astype(np.float64)):
        assert agreement({"y": IMAGE}, {"y": value}).sqnr_db == math.inf


def test_values_in_another_order_are_wrong() -> None:
    assert agreement({"y": IMAGE}, {"y": IMAGE[:, ::-1]}).sqnr_db < 10
    assert agreement({"y": IMAGE}, {"y": IMAGE.transpose(0, 1, 3, 2)}).sqnr_db == -math.inf
    square = IMAGE[:, :, :3, :3]
    assert (
        agreement({"y": square}, {"y": square.transpose(0, 2, 3, 1)}).sqnr_db < 10
    )  # its shape says nothing


def test_a_missing_output_and_wrong_integers_are_wrong() -> None:
    found = agreement({"y": IMAGE, "labels": np.arange(4)}, {"y": IMAGE, "labels": np.array([0, 1, 2, 4])})
    assert (found.sqnr_db, found.worst) == (-math.inf, "labels")
    assert agreement({"y": IMAGE, "z": IMAGE}, {"y": IMAGE}).worst == "z"
    narrow = agreement({"labels": np.arange(4)}, {"labels": np.arange(4, dtype=np.int32)})
    assert narrow.sqnr_db == math.inf


def test_noise_is_measured_on_the_worst_output() -> None:
    found = agreement({"a": IMAGE, "b": IMAGE}, {"a": IMAGE * 1.01, "b": IMAGE * 1.1})
    assert found.worst == "b" and abs(found.sqnr_db - 20.0) < 1e-3
