"""Channels that could saturate in 16 bits are found exactly, and stored so that they cannot."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt import ir
from graphopt.ir import Node
from graphopt.passes.quant.insertion.saturation import largest_pairs, least_scale_of_pairs, saturates
from tests.corpus._net import Net
from tests.passes.quant.small import quantized


def layers() -> list[Node]:
    """A Conv of 5 input channels, a depthwise one, a Gemm, a Gemm with transB, a MatMul."""
    net = Net(5)
    x = net.conv(net.input(shape=(1, 5, 6, 6)), (4, 5, 3, 3), name="odd")
    x = net.op("Flatten", net.conv(x, (4, 1, 3, 3), group=4, name="depthwise"))
    x = net.gemm(x, (16, 7), name="gemm")
    x = net.op("Gemm", x, net.random(6, 7), name="turned", transB=1)
    return list(
        ir.from_bytes(net.model(net.op("MatMul", x, net.random(6, 3))).SerializeToString()).graph.find(
            "Conv", "Gemm", "MatMul"
        )
    )


def summed_in_16_bits(node: Node, integers: np.ndarray) -> np.ndarray:
    """Channel by channel: whether any activations make the processor's sum of a pair overflow, by trial."""
    if node.op == "Conv":
        rows = integers.transpose(0, 2, 3, 1).reshape(len(integers), -1)
    else:
        rows = integers if node.attr("transB", 0) else integers.T
    found = []
    for row in rows.astype(np.int64):
        row = np.append(row, 0) if len(row) % 2 else row
        sums = [a * row[0::2] + b * row[1::2] for a in (0, 255) for b in (0, 255)]  # extremes are at corners
        found.append(any(((s > 32767) | (s < -32768)).any() for s in sums))
    return np.array(found)


@pytest.mark.parametrize("seed", range(5))
def test_the_check_is_exact(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for node in layers():
        integers = rng.integers(-127, 128, node.inputs[1].constant.shape)
        integers = np.rint(integers * rng.uniform(0.4, 1.0, integers.shape))
        if node.name == "depthwise":
            assert not saturates(node, integers).any(), "its products are added one by one"
        else:
            assert np.array_equal(saturates(node, integers), summed_in_16_bits(node, integers))


@pytest.mark.parametrize("seed", range(5))
def test_nearest_integers_of_the_least_scale_fit(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for node in layers():
        weight = rng.standard_t(3, node.inputs[1].constant.shape)
        scale = least_scale_of_pairs(node, weight)
        if node.name == "depthwise":
            continue
        along = scale[:, None] if node.attr("transB", 0) else scale
        along = scale[:, None, None, None] if node.op == "Conv" else along
        integers = np.rint(weight / along)
        assert not saturates(node, integers).any()
        assert (largest_pairs(node, integers) >= 126).all(), "and use what fits"


@pytest.mark.parametrize("options", [{}, {"rounding": "second-order"}, {"refit": True}], ids=str)
@pytest.mark.parametrize("per_channel", [True, False])
def test_no_stored_layer_saturates(options: dict, per_channel: bool) -> None:
    net = Net(1)
    x = net.input(shape=(1, 3, 12, 12))
    for index in range(3):
        weight = (8, 8 if index else 3, 3, 3)
        x = net.op("Relu", net.conv(x, weight, bias=True, name=f"c{index}", pads=[1] * 4))
    proto = net.model(net.gemm(net.op("Flatten", net.op("GlobalAveragePool", x)), (8, 4), name="fc"))

    def saturating(choice: str) -> int:
        given = {"bias_correction": bool(options), "per_channel": per_channel, **options}
        model, _ = quantized(proto, reduce_range=choice, **given)
        stored = [n for n in model.graph.find("Conv", "Gemm") if n.inputs[1].producer is not None]
        assert stored
        return sum(int(saturates(n, n.inputs[1].producer.inputs[0].constant).sum()) for n in stored)

    assert saturating("none") > 0
    assert saturating("channels") == 0
