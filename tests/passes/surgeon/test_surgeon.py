"""Surgery on the live graph does what graphsurgeon does on its own, and loses nothing on the way."""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import onnxruntime
import pytest

from graphopt import ir
from graphopt.pipeline import Context

ROOT = Path(__file__).resolve().parents[3]
EDITS = Path(__file__).with_name("edits.py")


def _edits() -> Any:
    spec = importlib.util.spec_from_file_location("surgeon_edits", EDITS)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PLAIN = _edits()
Operate = Callable[[ir.Model, str], Context]
NAMES = [n for n, f in vars(PLAIN).items() if inspect.isfunction(f) and f.__module__ == "surgeon_edits"]
NAMES.remove("clipped_twice")


def run(model: bytes, rng_seed: int = 0) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model, options)
    rng = np.random.default_rng(rng_seed)
    feeds = {}
    for port in session.get_inputs():
        shape = [size if isinstance(size, int) else {"H": 4, "W": 4}.get(size, 2) for size in port.shape]
        feeds[port.name] = rng.standard_normal(shape).astype(np.float32)
    return session.run(None, feeds)  # type: ignore[no-any-return]


def by_graphsurgeon(proto: onnx.ModelProto, edit: Callable[[Any], Any]) -> bytes:
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    graph = gs.import_onnx(copy)
    result = edit(graph)
    exported: bytes = gs.export_onnx(graph if result is None else result).SerializeToString()
    return exported


# -- the same as graphsurgeon -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_an_edit_does_what_it_does_to_graphsurgeons_own_graph(
    operate: Operate, name: str, proto: onnx.ModelProto, model: ir.Model
) -> None:
    ctx = operate(model, f"{EDITS}:{name}")
    assert ctx.changes or name == "through_a_proto"
    onnx.checker.check_model(model.proto(), full_check=False)
    ours = model.to_bytes()
    plain = by_graphsurgeon(proto, getattr(PLAIN, name))
    for mine, theirs in zip(run(ours), run(plain), strict=True):
        assert mine.dtype == theirs.dtype
        np.testing.assert_allclose(mine, theirs, rtol=1e-6, atol=1e-6)
    described = [
        [(v.name, v.type) for v in m.graph.output] for m in map(onnx.load_from_string, (ours, plain))
    ]
    assert described[0] == described[1]


@pytest.mark.parametrize("name", ["fashion_residual.onnx", "fashion_residual_paddle.onnx"])
def test_edits_of_a_real_network(operate: Operate, name: str, write: Callable[[str], str]) -> None:
    text = """
def fix(graph):
    for node in [n for n in graph.nodes if n.op == "Relu"]:
        old, new = node.outputs[0], gs.Variable("capped")
        for reader in list(old.outputs):
            reader.inputs[list(map(id, reader.inputs)).index(id(old))] = new
        graph.nodes.append(gs.Node("Clip", "cap", inputs=[old, gs.Constant("low", np.zeros((), np.float32)),
                           gs.Constant("high", np.full((), 3, np.float32))], outputs=[new]))
    for tensor in graph.tensors().values():
        if isinstance(tensor, gs.Constant) and tensor.dtype == np.float32 and len(tensor.shape) == 4:
            tensor.values *= 1.5
    graph.cleanup().toposort()
"""
    path = ROOT / "models" / name
    function = write(text)
    model = ir.load(path)
    ctx = operate(model, function)
    # The names clash on purpose; plain graphsurgeon would connect by name, so its own run gets unique ones.
    space: dict[str, Any] = {"np": np, "gs": gs}
    unique = text.replace('"capped"', '"capped" + node.outputs[0].name').replace('"cap"', '"cap" + old.name')
    exec(unique.replace('"low"', '"low" + old.name').replace('"high"', '"high" + old.name'), space)
    plain = by_graphsurgeon(onnx.load(path), space["fix"])
    for mine, theirs in zip(run(model.to_bytes()), run(plain), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-4)
    added = [c for c in ctx.changes if c.what == "Clip added"]
    assert len(added) == len({c.node for c in added}) == sum(1 for _ in model.graph.find("Relu"))


# -- nothing is lost ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        "pass",
        "graph.toposort().cleanup()",
        "return graph.copy()",
        "[t.values for t in graph.tensors().values() if isinstance(t, gs.Constant)]",
    ],
)
def test_what_changes_nothing_leaves_the_file_as_it_was_and_says_so(
    operate: Operate, body: str, model: ir.Model, write: Callable[[str], str]
) -> None:
    before = model.to_bytes()
    ctx = operate(model, write(f"def fix(graph):\n    {body}\n"))
    assert model.to_bytes() == before
    assert not ctx.changes
    (skip,) = ctx.skips
    assert skip.reason.endswith("edit.py:fix left everything as it was")


def test_metadata_survives_a_copy_and_what_stands_in_for_a_node(
    operate: Operate, proto: onnx.ModelProto, write: Callable[[str], str]
) -> None:
    proto.doc_string, proto.graph.doc_string = "a model", "a graph"
    proto.graph.node[0].doc_string, proto.graph.input[0].doc_string = "a node", "an input"
    proto.graph.initializer[0].doc_string = "a weight"
    proto.metadata_props.add(key="names", value="0: cat")
    proto.graph.node[1].metadata_props.add(key="namespace", value="head")
    model = ir.from_bytes(proto.SerializeToString())
    ctx = operate(
        model,
        write("def fix(graph):\n    g = graph.copy()\n    g.nodes[0].attrs['group'] = 1\n    return g\n"),
    )
    after = onnx.load_from_string(model.to_bytes())
    assert [c.what for c in ctx.changes] == ["Conv edited: attribute group"]
    del after.graph.node[0].attribute[:]
    assert after.SerializeToString() == ir.from_bytes(proto.SerializeToString()).to_bytes()


def test_weights_nobody_reads_any_more_go_and_those_nobody_ever_read_stay(
    operate: Operate, proto: onnx.ModelProto, write: Callable[[str], str]
) -> None:
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(3, np.float32), "spare"))
    model = ir.from_bytes(proto.SerializeToString())
    operate(model, write("def fix(graph):\n    graph.nodes[0].inputs.pop()\n"))
    names = [tensor.name for tensor in onnx.load_from_string(model.to_bytes()).graph.initializer]
    assert names == ["w", "fc", "fc_bias", "spare"]


def test_changes_are_told_node_by_node(operate: Operate, model: ir.Model) -> None:
    assert [(c.node, c.what) for c in operate(model, f"{EDITS}:remove_node").changes] == [
        ("copy", "Identity removed"),
        ("relu", "Relu edited: outputs"),
    ]
    assert {(c.node, c.what) for c in operate(model, f"{EDITS}:free_batch").changes} == {
        ("graph", "inputs were x float32[1,2,4,4] and are x float32[N,2,4,4]"),
        ("graph", "outputs were y float32[1,7] and are y float32[N,7]"),
    }
    values = operate(model, f"{EDITS}:scale_in_place").changes
    assert {(c.node, c.what) for c in values} == {(n, "values changed") for n in ("w", "b", "fc", "fc_bias")}


def test_the_graph_works_for_passes_afterwards(operate: Operate, model: ir.Model) -> None:
    operate(model, f"{EDITS}:insert_node")
    graph = model.graph
    assert type(graph) is ir.Graph
    tensors = {t for node in graph.nodes for t in (*node.inputs, *node.outputs)}
    assert {type(node) for node in graph.nodes} == {ir.Node}
    assert {type(tensor) for tensor in tensors} == {ir.Variable, ir.Constant}
    for tensor in tensors:
        assert [n for n in graph.nodes for t in n.inputs if t is tensor] == sorted(
            tensor.outputs, key=graph.nodes.index
        )
        assert tensor.producer is next((n for n in graph.nodes if any(t is tensor for t in n.outputs)), None)
    with pytest.raises(ValueError, match="read-only"):
        next(t for t in tensors if isinstance(t, ir.Constant)).values[...] = 0
    assert graph.bypass(next(graph.find("Abs")))
    model.check()


def test_a_weight_in_a_mapped_file_is_edited_in_memory_only(
    operate: Operate, proto: onnx.ModelProto, tmp_path: Path, write: Callable[[str], str]
) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(proto, path, save_as_external_data=True, location="model.data", size_threshold=0)
    before = (tmp_path / "model.data").read_bytes()
    proto, model = onnx.load(path), ir.load(path)
    operate(model, f"{EDITS}:scale_in_place")
    assert (tmp_path / "model.data").read_bytes() == before
    plain = by_graphsurgeon(proto, PLAIN.scale_in_place)
    np.testing.assert_allclose(run(model.to_bytes())[0], run(plain)[0], rtol=1e-6)


# -- names, types and operator sets -------------------------------------------------------------------------


def test_clashing_names_are_made_unique(
    operate: Operate, model: ir.Model, write: Callable[[str], str]
) -> None:
    operate(
        model,
        write("""
def fix(graph):
    for node in [n for n in graph.nodes if n.op in ("Relu", "Identity")]:
        old, new = node.outputs[0], gs.Variable("r")
        for reader in list(old.outputs):
            reader.inputs[0] = new
        graph.nodes.append(gs.Node("Neg", "relu", inputs=[old], outputs=[new]))
"""),
    )
    proto = onnx.load_from_string(model.to_bytes())
    made = [name for node in proto.graph.node for name in node.output]
    assert len(made) == len(set(made)) and "r" in made
    assert len({node.name for node in proto.graph.node}) == len(proto.graph.node)
    assert [node.op_type for node in proto.graph.node][:5] == ["Conv", "Relu", "Neg", "Identity", "Neg"]


def test_a_new_output_gets_the_name_that_an_inner_tensor_had(
    operate: Operate, model: ir.Model, write: Callable[[str], str]
) -> None:
    operate(
        model,
        write("""
def fix(graph):
    old = graph.outputs[0]
    new = gs.Variable(old.name, old.dtype, old.shape)
    graph.nodes.append(gs.Node("Softmax", inputs=[old], outputs=[new]))
    graph.outputs = [new]
"""),
    )
    (output,) = run(model.to_bytes())
    assert [port.name for port in model.signature.outputs] == ["y"]
    np.testing.assert_allclose(output.sum(), 1, rtol=1e-6)


def test_an_output_without_a_type_gets_the_one_that_can_be_inferred(
    operate: Operate, model: ir.Model, write: Callable[[str], str]
) -> None:
    operate(
        model, write("def fix(graph):\n    graph.outputs = [graph.tensors()['p']]\n    graph.cleanup()\n")
    )
    (port,) = model.signature.outputs
    assert (port.name, port.dtype, port.shape) == ("p", np.float32, (1, 3, 1, 1))


def test_the_domain_of_a_plugin_is_declared(
    operate: Operate, model: ir.Model, write: Callable[[str], str]
) -> None:
    operate(
        model,
        write("""
def fix(graph):
    boxes = gs.Variable("boxes", dtype=np.float32, shape=[1, 10, 4])
    plugin = gs.Node("EfficientNMS_TRT", "nms", {"score_threshold": 0.25, "plugin_version": "1"},
                     inputs=[graph.outputs[0]], outputs=[boxes], domain="trt.plugins")
    graph.nodes.append(plugin)
    graph.outputs = [boxes]
"""),
    )
    assert model.opsets == {"": 17, "trt.plugins": 1}
    assert [(a.name, a.type) for a in model.proto().graph.node[-1].attribute] == [
        ("score_threshold", onnx.AttributeProto.FLOAT),
        ("plugin_version", onnx.AttributeProto.STRING),
    ]


def test_a_declared_operator_set_counts(
    operate: Operate, model: ir.Model, write: Callable[[str], str]
) -> None:
    ctx = operate(model, write("def fix(graph):\n    graph.opset = 18\n"))
    assert model.opset == 18
    assert [c.what for c in ctx.changes] == ["operator set ai.onnx is declared in version 18"]


def test_a_new_inner_tensor_keeps_its_declaration(operate: Operate, model: ir.Model) -> None:
    operate(model, f"{EDITS}:insert_node")
    assert [(v.name, v.type.tensor_type.elem_type) for v in model.proto().graph.value_info] == [("r_abs", 1)]


# -- the example -------------------------------------------------------------------------------------------


def test_the_example_runs(operate: Operate) -> None:
    model = ir.load(ROOT / "models" / "fashion_residual.onnx")
    with contextlib.redirect_stderr(io.StringIO()):
        ctx = operate(model, f"{ROOT / 'examples' / 'surgeon_classify.py'}:with_probabilities")
    assert [port.name for port in model.signature.outputs] == ["label", "probability"]
    label, probability = run(model.to_bytes())
    (scores,) = run((ROOT / "models" / "fashion_residual.onnx").read_bytes())
    assert label.tolist() == scores.argmax(1).tolist()
    exponents = np.exp(scores - scores.max(1, keepdims=True))
    np.testing.assert_allclose(probability, (exponents / exponents.sum(1, keepdims=True)).max(1), rtol=1e-4)
    assert len(ctx.changes) == 4
