"""``clean,fold-bn`` takes no fusion from onnxruntime, and writes Gelu and norms as it fuses them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import onnx
import pytest

from tests.corpus import count_ops
from tests.corpus._net import Net, ints
from tests.passes.clean.fusions import cleaned, fusions

Step = Callable[[Net, str], str]


def erf_gate(net: Net, x: str, division: str = "Div") -> str:
    """1 + erf(x / sqrt 2)"""
    root = net.array(2**0.5 if division == "Div" else 0.5**0.5)
    return net.op("Add", net.op("Erf", net.op(division, x, root)), net.array(1))


def half_last(net: Net, x: str, division: str = "Div") -> str:
    return net.op("Mul", net.op("Mul", x, erf_gate(net, x, division)), net.array(0.5))


def half_on_the_source(net: Net, x: str, division: str = "Div") -> str:
    return net.op("Mul", net.op("Mul", x, net.array(0.5)), erf_gate(net, x, division))


def half_on_the_gate(net: Net, x: str, division: str = "Mul") -> str:
    return net.op("Mul", net.op("Mul", net.array(0.5), erf_gate(net, x, division)), x)


def halved_by_division(net: Net, x: str, division: str = "Div") -> str:
    return net.op("Div", net.op("Mul", erf_gate(net, x, division), x), net.array(2))


GELUS: dict[str, Step] = {
    f"{form.__name__}-{division}": partial(form, division=division)
    for form in (half_last, half_on_the_source, half_on_the_gate, halved_by_division)
    for division in ("Div", "Mul")
}


def silu(net: Net, x: str) -> str:
    return net.op("Mul", x, net.op("Sigmoid", x))


def layer_norm(
    net: Net, x: str, *, channels: int = 8, affine: bool = True, squared: str = "Pow", ones: bool = False
) -> str:
    mean = net.op("ReduceMean", x, axes=[-1])
    centred = net.op("Sub", x, mean)
    operands = (centred, net.array(2)) if squared == "Pow" else (centred, centred)
    spread = net.op("Add", net.op("ReduceMean", net.op(squared, *operands), axes=[-1]), net.array(1e-5))
    y = net.op("Div", centred, net.op("Sqrt", spread))
    if not affine:
        return y
    scale = np.ones(channels, np.float32) if ones else net.random(channels)
    bias = np.zeros(channels, np.float32) if ones else net.random(channels)
    return net.op("Add", net.op("Mul", y, scale), bias)


def between_convs(step: Step, opset: int = 17) -> onnx.ModelProto:
    """Conv, the step, a pointwise Conv: what EfficientFormerV2 and FastViT do around Gelu."""
    net = Net()
    y = step(net, net.conv(net.input(), (8, 3, 3, 3), bias=True))
    return net.model(net.conv(y, (4, 8, 1, 1), bias=True), opset=opset)


def between_linears(step: Step, opset: int = 17) -> onnx.ModelProto:
    """Gemm, the step, Gemm: what ConvNeXt and ViT do around Gelu and LayerNormalization."""
    net = Net()
    y = net.gemm(net.input(shape=("N", 6)), (6, 8), bias=(8,))
    return net.model(net.gemm(step(net, y), (8, 4), bias=(4,)), opset=opset)


@pytest.mark.parametrize("surround", [between_convs, between_linears])
@pytest.mark.parametrize("opset", [13, 17, 20, 23])
@pytest.mark.parametrize("form", GELUS)
def test_every_spelling_of_gelu_is_fused(form: str, opset: int, surround: Callable[..., object]) -> None:
    after = cleaned(surround(GELUS[form], opset))
    assert fusions(after)["Gelu"] == 1, count_ops(after)
    assert count_ops(after)["Erf"] == (1 if opset < 20 else 0)


@pytest.mark.parametrize("form", ["half_last-Div", "half_on_the_source-Div"])
def test_a_spelling_that_is_fused_stays(form: str) -> None:
    proto = between_convs(GELUS[form])
    assert fusions(proto)["Gelu"] == 1
    names = {node.name for node in proto.graph.node}
    assert {node.name for node in cleaned(proto).graph.node} == names


def test_a_gelu_whose_middle_is_read_elsewhere_stays() -> None:
    net = Net()
    x = net.conv(net.input(), (8, 3, 3, 3))
    gate = erf_gate(net, x, "Mul")
    y = net.op("Mul", net.op("Mul", gate, net.array(0.5)), x)
    after = cleaned(net.model(net.conv(y, (4, 8, 1, 1)), net.op("Neg", gate)))
    assert count_ops(after)["Erf"] == 1 and fusions(after)["Gelu"] == 0


LAYER_NORMS: dict[str, Step] = {
    "affine": layer_norm,
    "ones": partial(layer_norm, ones=True),
    "product": partial(layer_norm, squared="Mul"),
}


@pytest.mark.parametrize("opset", [13, 17])
@pytest.mark.parametrize("form", LAYER_NORMS)
def test_a_layer_norm_before_a_layer_keeps_its_scale(form: str, opset: int) -> None:
    proto = between_linears(LAYER_NORMS[form], opset)
    after = cleaned(proto)
    fused = fusions(proto)["LayerNormalization"] if opset < 17 else 1
    assert fusions(after)["LayerNormalization"] == fused
    assert count_ops(after)["LayerNormalization"] == (0 if opset < 17 else 1)


def test_two_layer_norms_of_one_tensor_share_no_nodes() -> None:
    net = Net()
    x = net.input(shape=("N", 5, 8))
    outputs = [net.op("Relu", layer_norm(net, x)) for _ in range(2)]
    assert count_ops(cleaned(net.model(*outputs, opset=13)))["ReduceMean"] == 4
    assert count_ops(cleaned(net.model(*outputs, opset=17))) == {"LayerNormalization": 2, "Relu": 2}


def test_the_same_layer_norm_twice_is_one() -> None:
    net = Net()
    x, scale, bias = net.input(shape=("N", 5, 8)), net.random(8), net.random(8)
    outputs = []
    for op in ("Relu", "Neg"):
        y = layer_norm(net, x, affine=False)
        outputs.append(net.op(op, net.op("Add", net.op("Mul", y, scale), bias)))
    after = cleaned(net.model(*outputs, opset=13))
    assert fusions(after)["LayerNormalization"] == 1 and count_ops(after)["Sqrt"] == 1


def mlp(net: Net, x: str, act: Step) -> str:
    """MatMul, bias, activation, MatMul, bias: rank 3, as transformers are exported."""
    y = act(net, net.op("Add", net.op("MatMul", x, net.random(8, 16)), net.random(16)))
    return net.op("Add", net.op("MatMul", y, net.random(16, 8)), net.random(8))


def test_a_bias_of_a_matmul_is_not_joined_with_a_constant_for_every_token() -> None:
    net = Net()
    y = mlp(net, net.input(shape=("N", 5, 8)), silu)
    proto = net.model(net.op("Relu", net.op("Add", y, net.random(1, 5, 8))))
    before, after = count_ops(proto), count_ops(cleaned(proto))
    assert before["Add"] == after["Add"] == 3


def attention_block(net: Net, x: str) -> str:
    """Residual attention and MLP with LayerNormalization spelled out."""

    def head(scale: bool, perm: list[int]) -> str:
        y = net.op("Add", net.op("MatMul", normed, net.random(8, 8)), net.random(8))
        y = net.op("Transpose", net.op("Reshape", y, ints(0, -1, 2, 4)), perm=[0, 2, 1, 3])
        if perm != [0, 1, 2, 3]:
            y = net.op("Transpose", y, perm=perm)
        return net.op("Mul", y, net.array(0.5)) if scale else y

    normed = layer_norm(net, x)
    q, k, v = head(True, [0, 1, 2, 3]), head(False, [0, 1, 3, 2]), head(False, [0, 1, 2, 3])
    y = net.op("MatMul", net.op("Softmax", net.op("MatMul", q, k), axis=-1), v)
    y = net.op("Reshape", net.op("Transpose", y, perm=[0, 2, 1, 3]), ints(0, -1, 8))
    x = net.op("Add", x, net.op("Add", net.op("MatMul", y, net.random(8, 8)), net.random(8)))
    return net.op("Add", x, mlp(net, layer_norm(net, x), half_last))


@pytest.mark.parametrize("opset", [13, 17])
def test_an_attention_block_keeps_its_fusions(opset: int) -> None:
    net = Net()
    x = net.input(shape=(2, 5, 8))
    proto = net.model(attention_block(net, attention_block(net, x)), opset=opset)
    before, after = fusions(proto), fusions(cleaned(proto))
    assert before <= after, (before, after)


@pytest.mark.parametrize("activation", ["Relu", "Sigmoid", "Tanh", "LeakyRelu", "HardSigmoid"])
def test_activations_behind_convolutions_stay_fused(activation: str) -> None:
    net = Net()
    y = net.op(activation, net.op("Mul", net.conv(net.input(), (8, 3, 3, 3)), net.random(8, 1, 1)))
    after = cleaned(net.model(net.conv(y, (4, 8, 1, 1))))
    assert fusions(after)["FusedConv"] == 1


@pytest.mark.parametrize("opset", [13, 23, 24, 25])
def test_silu_stays_a_product_that_runtimes_fuse(opset: int) -> None:
    """onnxruntime 1.32 runs Swish at opset 24 alone, and more slowly."""
    proto = between_convs(silu, opset)
    after = cleaned(proto)
    assert count_ops(after)["Swish"] == 0
    assert fusions(after) == fusions(proto) == {"QuickGelu": 1}
