"""Weights and biases in integers, whatever the shape of the layer."""

from __future__ import annotations

import pytest

from tests.corpus._net import Net
from tests.passes.quant.small import quantized


@pytest.mark.parametrize("group", [1, 2, 4])
@pytest.mark.parametrize("choice", ["channels", "none", "all"])
def test_a_transposed_convolution_of_any_groups_is_stored(group: int, choice: str) -> None:
    net = Net(2)
    x = net.conv(net.input(shape=(1, 3, 6, 6)), (8, 3, 3, 3), name="first")
    y = net.conv(x, (8, 3, 2, 2), op="ConvTranspose", group=group, bias=True, name="grown", strides=[2, 2])
    model, ctx = quantized(net.model(net.conv(y, (4, 3 * group, 1, 1))), "qnn", reduce_range=choice)
    assert "grown" in {change.node for change in ctx.changes}
    (node,) = model.graph.find("ConvTranspose")
    assert node.inputs[1].producer.inputs[1].constant.shape == ((3,) if group == 1 else ())
