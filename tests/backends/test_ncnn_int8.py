"""The integers of a model for ncnn stand where ncnn's own loader reads them."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from graphopt.backends.workers import ncnn_int8

PARAM = """7767517
5 5
Input                    in0                      0 1 in0
Convolution              conv_0                   1 1 in0 1 0=3 1=1 5=1 6=6
Convolution              conv_1                   1 1 1 2 0=2 1=1 5=1 6=6
InnerProduct             fc_0                     1 1 2 3 0=5 1=1 2=10
Split                    splitncnn_0              1 1 3 4
"""
RNG = np.random.default_rng(1)


def stored(shape: tuple[int, ...]) -> ncnn_int8.Stored:
    values = RNG.integers(-127, 128, shape).astype(np.int8)
    return ncnn_int8.Stored(values, RNG.uniform(0.01, 0.1, shape[0]).astype(np.float32), 0.25)


def floats(layer: ncnn_int8.Stored, bias: np.ndarray) -> bytes:
    return bytes(4) + layer.floats + bias.tobytes()


def test_layers_are_found_by_their_weights_and_written_as_ncnn_reads_them() -> None:
    first, last = stored((3, 2, 1, 1)), stored((5, 2))
    biases = [RNG.standard_normal(n).astype(np.float32) for n in (3, 2, 5)]
    kept = bytes(4) + RNG.standard_normal(6).astype(np.float32).tobytes() + biases[1].tobytes()
    weights = floats(first, biases[0]) + kept + floats(last, biases[2])
    param, made, table = ncnn_int8.convert([last, first], PARAM, weights)
    lines = param.splitlines()
    assert lines[3].endswith("6=6 8=2") and lines[5].endswith("2=10 8=2") and " 8=" not in lines[4]

    def layer(one: ncnn_int8.Stored, bias: np.ndarray) -> bytes:
        integers = one.values.tobytes()
        scales = b"".join(struct.pack("<f", 1 / float(s)) for s in one.scales)
        return (
            b"\x38\x4b\x0d\x00"
            + integers
            + bytes(-len(integers) % 4)
            + bias.tobytes()
            + scales
            + struct.pack("<f", 4.0)
        )

    assert made == layer(first, biases[0]) + kept + layer(last, biases[2])
    assert [line.split()[0] for line in table.splitlines()] == [
        "conv_0_param_0",
        "fc_0_param_0",
        "conv_0",
        "fc_0",
    ]


def test_weights_that_are_not_there_are_an_error() -> None:
    other = stored((3, 2, 1, 1))
    weights = bytes(4) + bytes(24 + 12) + bytes(4) + bytes(24 + 8) + bytes(4) + bytes(40 + 20)
    with pytest.raises(ValueError, match="1 of 1 layers are not in the float model"):
        ncnn_int8.convert([other], PARAM, weights)


def test_scales_travel_in_a_file(tmp_path: Path) -> None:
    layer = stored((3, 2, 1, 1))
    path = tmp_path / "scales.npz"
    np.savez(path, weight_0=layer.values, scale_0=layer.scales, input_0=np.float32(layer.input_scale))
    (read,) = ncnn_int8.read_scales(path)
    assert read.floats == layer.floats and read.input_scale == layer.input_scale
