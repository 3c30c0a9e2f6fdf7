"""The corpus: the masked twin on every file, and how much of each network prune reaches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from graphopt import cost, ir
from graphopt.passes.clean import Clean
from graphopt.passes.fold_bn import FoldBN
from graphopt.passes.prune import Prune
from tests.passes.prune.oracle import Pruned, assert_twin, context, prune

CORPUS = Path(__file__).parents[4] / "shared" / "corpus" / "models"
LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
QUARTER = Prune(ratio=0.25, round_to=4)

# file -> layers left whole of all, multiply-accumulates left, both at ratio 0.25 and multiples of 4
FILES: dict[str, tuple[int, int, float]] = {
    "cifar_resnet20_bn": (1, 20, 0.57),
    "cifar_resnet20_dynamo_opt": (1, 20, 0.57),
    "cifar_resnet20_dynamo_raw": (1, 20, 0.57),
    "efficientnet_lite0_bn": (1, 50, 0.60),
    "fashion_mnv2_bn": (1, 29, 0.60),
    "fashion_resnet14_bn": (1, 16, 0.57),
    "mtcnn_onet": (3, 8, 0.60),
    "paddle_mobilenet_v1_rand": (3, 28, 0.64),
    "ppocr_v2_cls": (10, 54, 0.68),
    "ppocr_v4_det": (1, 64, 0.64),
}


def load(name: str) -> ir.Model:
    path = CORPUS / f"{name}.onnx"
    if not path.exists():
        pytest.skip(f"the corpus file {path.name} is not here")
    return ir.load(path)


def prepared(model: ir.Model) -> ir.Model:
    Clean().run(model, context(model))
    FoldBN(lone=True).run(model, context(model))
    return model


def layers(pruned: Pruned) -> tuple[int, int]:
    return len(pruned.skipped), len(pruned.skipped) + len(pruned.changed)


@pytest.mark.parametrize("name", FILES)
def test_most_layers_get_narrower(name: str) -> None:
    pruned = prune(prepared(load(name)), QUARTER)
    whole, total, macs = FILES[name]
    assert layers(pruned) <= (whole, total)
    assert all(len(reason) > 20 for reason in pruned.skipped.values())
    shapes = dict(pruned.ctx.shapes)
    assert cost.measure(pruned.after, shapes).macs <= macs * cost.measure(pruned.before, shapes).macs
    assert_twin(pruned)


@pytest.mark.parametrize("name", [*FILES, "ulfd_rfb320", "silero_vad"])
def test_without_other_passes(name: str) -> None:
    """Normalisations and shape arithmetic still in the graph."""
    assert_twin(prune(load(name), Prune(ratio=0.3, round_to=1)))


def test_initializers_as_inputs_are_pruned_once_nobody_can_replace_them() -> None:
    model = load("ulfd_rfb320")
    proto = onnx.load_from_string(model.to_bytes())
    names = {tensor.name for tensor in proto.graph.initializer}
    kept = [value for value in proto.graph.input if value.name not in names]
    del proto.graph.input[:]
    proto.graph.input.extend(kept)
    pruned = prune(ir.from_bytes(proto.SerializeToString()), QUARTER)
    assert len(pruned.changed) >= 40, pruned.skipped
    assert_twin(pruned)


def light(name: str) -> ir.Model:
    """A network of the onnx package, whose weights are ConstantOfShape nodes, with random weights instead."""
    path = LIGHT / f"light_{name}.onnx"
    if not path.exists():
        pytest.skip(f"this onnx package has no {path.name}")
    proto = onnx.load(path)
    rng = np.random.default_rng(0)
    known = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    positive = {
        i for n in proto.graph.node if n.op_type == "BatchNormalization" for i in (n.input[1], n.input[4])
    }
    made, nodes = [], []
    for node in proto.graph.node:
        if node.op_type != "ConstantOfShape":
            nodes.append(node)
            continue
        shape = tuple(known[node.input[0]])
        values = rng.uniform(0.5, 1.5, shape) if len(shape) == 1 else rng.standard_normal(shape)
        if node.output[0] not in positive and len(shape) > 1:
            values *= np.sqrt(2 / np.prod(shape[1:]))
        made.append(numpy_helper.from_array(values.astype(np.float32), node.output[0]))
    inputs = [value for value in proto.graph.input if value.name not in known]
    del proto.graph.node[:], proto.graph.input[:]
    proto.graph.node.extend(nodes)
    proto.graph.input.extend(inputs)
    proto.graph.initializer.extend(made)
    proto.ir_version = 8
    return ir.from_bytes(proto.SerializeToString())


# network -> at most so many layers of all are left whole
LIGHT_NETWORKS = {
    "densenet121": (1, 121),
    "inception_v1": (3, 58),
    "inception_v2": (1, 70),
    "resnet50": (1, 54),
    "shufflenet": (2, 50),
    "squeezenet": (1, 26),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", LIGHT_NETWORKS)
def test_networks_of_the_onnx_package(name: str) -> None:
    pruned = prune(prepared(light(name)), QUARTER)
    assert layers(pruned) <= LIGHT_NETWORKS[name]
    assert_twin(pruned)
