"""What reports say of each layer is true: channels are counted, noise has the size that was put in."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import graphopt
from graphopt import ir, runtime
from graphopt.pipeline.results.layers import layer_records, survey
from graphopt.pipeline.results.tensor_matching import kept_channels
from graphopt.pipeline.results.tensor_sqnr import Channels
from tests.corpus._net import Net

MODELS = Path(__file__).parent.parent.parent.parent / "models"


def report_of(model: Path, folder: Path, passes: str, **flags: Any) -> dict[str, dict[str, Any]]:
    """The layers of a report by name."""
    path = folder / "report.json"
    graphopt.optimize(model, passes, report=path, latency=False, **flags)
    layers: list[dict[str, Any]] = json.loads(path.read_text())["layers"]
    return {layer["name"]: layer for layer in layers}


def build(scale_after_bn: float = 1.0) -> onnx.ModelProto:
    """x -> Conv a -> BatchNormalization -> Relu -> depthwise Conv -> Conv b -> y; channels 2, 8, 8, 4."""
    rng = np.random.default_rng(3)
    weights = {
        "wa": rng.standard_normal((8, 2, 3, 3)),
        "scale": rng.uniform(0.5, 2.0, 8),
        "shift": rng.standard_normal(8),
        "mean": rng.standard_normal(8),
        "var": rng.uniform(0.5, 2.0, 8),
        "wd": rng.standard_normal((8, 1, 3, 3)),
        "wb": rng.standard_normal((4, 8, 1, 1)) * scale_after_bn,
    }
    nodes = [
        helper.make_node("Conv", ["x", "wa"], ["a"], "a"),
        helper.make_node("BatchNormalization", ["a", "scale", "shift", "mean", "var"], ["n"], "bn"),
        helper.make_node("Relu", ["n"], ["r"], "relu"),
        helper.make_node("Conv", ["r", "wd"], ["d"], "depthwise", group=8),
        helper.make_node("Conv", ["d", "wb"], ["y"], "b"),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 9, 9])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 5, 5])],
        [numpy_helper.from_array(v.astype(np.float32), k) for k, v in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.onnx"
    onnx.save(build(), path)
    return path


def test_folding_moves_no_layer(small: Path, tmp_path: Path) -> None:
    layers = report_of(small, tmp_path, "fold-bn")
    assert layers["bn"]["state"] == "removed"
    # the convolution now computes what the normalisation did: its own old output would be far away
    assert all(layers[name]["snr_db"] > 100 for name in ("a", "relu", "depthwise", "b"))
    assert [layers[name]["reads"] for name in layers] == [[], [0], [1], [2], [3]]


@pytest.mark.usefixtures("installed")
def test_planted_noise_is_found_in_its_size(tiny: Path, tmp_path: Path, fakes: SimpleNamespace) -> None:
    model = fakes.build()
    for tensor in model.graph.initializer:
        if tensor.name == "b":  # without the bias all of the output grows with the weights
            tensor.CopyFrom(numpy_helper.from_array(np.zeros(3, np.float32), "b"))
    onnx.save(model, tiny)
    layers = report_of(tiny, tmp_path, "scale:factor=1.01")
    for name in ("conv", "relu", "pool"):
        assert math.isclose(layers[name]["snr_db"], 40.0, abs_tol=0.01)  # 20 log10(1 / 0.01)


def test_pruned_channels_are_compared_with_themselves(small: Path, tmp_path: Path) -> None:
    """A channel that nothing reads goes: what is left computes what it did, in every tensor behind too."""
    model = onnx.load(small)
    for tensor in model.graph.initializer:
        if tensor.name == "wb":
            weight = numpy_helper.to_array(tensor).copy()
            weight[:, [2, 5]] = 0
            tensor.CopyFrom(numpy_helper.from_array(weight, "wb"))
    onnx.save(model, small)
    plan = tmp_path / "plan.json"
    graphopt.optimize(
        small, "fold-bn,prune:ratio=0.25:round_to=1:importance=obs:repair=false", plan_out=plan, latency=False
    )
    document = json.loads(plan.read_text())
    assert document["passes"][0]["items"][0]["remove"] == [2, 5]
    layers = report_of(small, tmp_path, "fold-bn,prune:ratio=0.25:round_to=1:repair=false", plan=plan)
    assert layers["a"]["channels"] == [8, 6] and layers["depthwise"]["channels"] == [8, 6]
    assert layers["bn"]["channels"] == [8, None] and layers["b"]["channels"] == [4, 4]
    assert all(layers[name]["snr_db"] > 100 for name in ("a", "relu", "depthwise", "b"))


def test_a_wrong_channel_would_be_seen(small: Path) -> None:
    before = survey(ir.load(small), {"x": (1, 2, 9, 9)})
    item = {"tensor": "a", "remove": [2, 5], "members": ["a"]}
    kept = kept_channels([[item]], before)
    assert kept == dict.fromkeys(("a", "n", "r", "d"), Channels(1, (0, 1, 3, 4, 6, 7)))
    assert kept_channels([[item], [item]], before) == {}


def test_two_groups_of_one_layer_go_together(small: Path) -> None:
    before = survey(ir.load(small), {"x": (1, 2, 9, 9)})
    items = [{"tensor": "a", "remove": [2]}, {"tensor": "a", "remove": [5]}]
    assert kept_channels([items], before)["r"] == Channels(1, (0, 1, 3, 4, 6, 7))


def test_channels_of_other_layers_are_those_that_the_plan_names(small: Path) -> None:
    """What is joined to other channels has other numbers there; a plan that was edited counts for itself."""
    before = survey(ir.load(small), {"x": (1, 2, 9, 9)})
    narrowed = [
        {"tensor": "a", "axis": 1, "remove": [2]},
        {"tensor": "y", "axis": 1, "remove": [0]},
    ]
    item = {"tensor": "a", "remove": [2], "narrowed": narrowed}
    assert kept_channels([[item]], before)["y"] == Channels(1, (1, 2, 3))
    assert "y" not in kept_channels([[{**item, "remove": [3]}]], before)


def test_channels_on_the_last_axis_are_compared_there(tmp_path: Path) -> None:
    """Tokens of 12 channels where there are 5 of them: channel 9 is kept, and no axis has a place for it."""
    net = Net()
    y = net.op(
        "Add", net.op("MatMul", net.input("v", (1, 5, 6)), net.random(6, 12), name="wide"), net.random(12)
    )
    net.op("MatMul", net.op("Relu", y, name="relu"), net.random(12, 3), name="narrow")
    onnx.save(net.model("narrow.out"), tmp_path / "tokens.onnx")
    layers = report_of(tmp_path / "tokens.onnx", tmp_path, "prune:ratio=0.25:round_to=1:repair=false")
    assert layers["wide"]["snr_db"] > 100 and layers["relu"]["snr_db"] > 100


def test_added_nodes_hang_where_they_read(small: Path) -> None:
    model = ir.load(small)
    before = survey(model, {})
    relu = next(iter(model.graph.find("Relu")))
    added = model.graph.add_node("Abs", [relu.output], name="abs")
    reader = next(node for node in model.graph.nodes if node.name == "depthwise")
    reader.inputs[0] = added.output
    model.sort()
    records = layer_records(before, survey(model, {}))
    assert records[-1].state == "added" and records[-1].reads == records[-1].reads_after == (2,)
    after = {record.name: record.reads_after for record in records}
    assert after["depthwise"] == (len(records) - 1,)  # it reads the added node now
    assert [record.name for record in records] == ["a", "bn", "relu", "depthwise", "b", "abs"]


def test_stages_count_what_each_pass_left(small: Path, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    result = graphopt.optimize(small, "fold-bn", report=[path, tmp_path / "report.html"], latency=False)
    stages = json.loads(path.read_text())["stages"]
    assert [stage["name"] for stage in stages] == ["input", "clean", "fold-bn"] or [
        stage["name"] for stage in stages
    ] == ["input", "fold-bn"]
    assert stages[0]["nodes"] == 5 and stages[-1]["nodes"] == 4
    assert stages[0]["macs"] == result.report.before.macs
    assert stages[-1]["parameters"] == result.report.after.parameters
    assert "</html>" in (tmp_path / "report.html").read_text()


# Quick, and with sums of 7-bit weights, which no processor clips.
PLAIN = (
    "quant:measure=false:keep_noisy_float=false:absorb=false:rounding=nearest:bias_correction=false"
    ":reduce_range=all"
)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The layers of the sample network in 8 bits, whose channels keep their sizes."""
    path = tmp_path_factory.mktemp("stored") / "report.json"
    graphopt.optimize(
        MODELS / "fashion_residual.onnx",
        f"{PLAIN}:equalise=none",
        calibration=f"{MODELS / 'fashion_samples.npz'}#calibration::16",
        preprocess="scale=0.00392156862745098;mean=0.2860;std=0.3530",
        report=path,
        latency=True,
    )
    layers: list[dict[str, Any]] = json.loads(path.read_text())["layers"]
    return layers


def test_quantized_tensors_are_read_back(stored: list[dict[str, Any]]) -> None:
    assert "added" not in {layer["state"] for layer in stored}
    kept = [layer for layer in stored if layer["state"] == "kept"]
    told = {layer["name"]: layer["snr_db"] for layer in kept if layer["snr_db"] is not None}
    assert {"/stem/conv/Conv", "/block3/Relu", "/classifier/Gemm"} <= set(told)
    assert all(20 < ratio < 60 for ratio in told.values())  # beside its integers a tensor would be equal


def test_each_convolution_is_timed(stored: list[dict[str, Any]]) -> None:
    convolutions = [layer for layer in stored if layer["op"] == "Conv"]
    assert convolutions
    assert all(layer["latency_ms"] and None not in layer["latency_ms"] for layer in convolutions)


def test_tensors_whose_channels_were_rescaled_are_not_compared(small: Path, tmp_path: Path) -> None:
    model = onnx.load(small)
    sizes = 4.0 ** -np.arange(8)  # what equalising undoes, and one scale for all channels cannot hold
    for tensor in model.graph.initializer:
        factor = {"scale": sizes, "shift": sizes, "wd": 1 / sizes.reshape(8, 1, 1, 1)}.get(tensor.name)
        if factor is not None:
            values = (numpy_helper.to_array(tensor) * factor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    onnx.save(model, small)
    samples = np.random.default_rng(0).standard_normal((4, 2, 9, 9)).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=samples)
    path, out = tmp_path / "report.json", tmp_path / "out.onnx"
    graphopt.optimize(
        small,
        f"{PLAIN}:equalise=activations",
        output=out,
        calibration=str(tmp_path / "x.npz"),
        report=path,
        latency=False,
    )
    report = json.loads(path.read_text())
    assert report["passes"][-1]["details"]["rescaled"]
    layers = {layer["name"]: layer for layer in report["layers"]}
    assert layers["a"]["snr_db"] is None
    assert layers["relu"]["snr_db"] is None
    before, after = (
        np.stack([session.run({"x": x[None]})["y"] for x in samples])
        for session in (runtime.Session(small), runtime.Session(out))
    )
    ratio = 20 * math.log10(np.linalg.norm(before) / np.linalg.norm(after - before))
    assert layers["b"]["snr_db"] == pytest.approx(ratio, abs=0.01)
