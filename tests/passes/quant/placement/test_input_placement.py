"""Placement at the inputs of operators: what is joined has one scale, however often it is joined."""

from __future__ import annotations

import pytest

from tests.corpus._net import Net
from tests.passes.quant.small import between_convs, first_conv, quantized


@pytest.mark.parametrize("target", ["openvino", "tensorrt"])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_what_enters_a_concat_has_the_scale_of_the_outermost(depth: int, target: str) -> None:
    net = Net(3)
    x = net.op("Relu", first_conv(net, channels=16))
    joined, channels, read = net.conv(x, (16, 16, 1, 1), name="branch"), 16, []
    names = [joined]
    for number in range(depth):
        other = net.op("Mul", x, net.array(2.0 + number))  # a wider range each time
        joined = net.op("Concat", joined, other, axis=1, name=f"join{number}")
        names.append(joined)
        channels += 16
    for number, name in enumerate(names):  # each is read by a layer, and so is stored
        read.append(net.conv(name, (16, 16 * (number + 1), 1, 1), name=f"reader{number}"))
    total = net.op("Sum", *read) if len(read) > 1 else read[0]
    model, _ = quantized(between_convs(net, total, channels=16), target)
    scales = {n.inputs[0].name: float(n.inputs[1].constant) for n in model.graph.find("QuantizeLinear")}
    assert set(names) <= set(scales)
    assert len({scales[name] for name in names}) == 1
