"""Conversion to a newer opset changes the nodes that must change and nothing else."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import AttributeProto, ModelProto, helper, numpy_helper

from graphopt import ir
from graphopt.errors import ModelError
from tests.corpus import NUMERIC, ROUND_TRIP, Case, case

TARGET = 21
# Runtimes do not agree on the mask of a Dropout that drops nothing.
OLD = [known for known in NUMERIC if known.runs and not known.random and "mask_used" not in known.name]


def outputs(content: bytes, known: Case) -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = ort.InferenceSession(content, options, ["CPUExecutionProvider"])
    return session.run(None, known.feeds(np.random.default_rng(0)))  # type: ignore[no-any-return]


def converted(proto: ModelProto) -> ModelProto:
    model = ir.from_bytes(proto.SerializeToString())
    before = model.signature
    ir.convert_opset(model, TARGET)
    assert model.opset >= TARGET and model.signature == before
    model.check()
    return ModelProto.FromString(model.to_bytes())


def test_what_is_converted_computes_the_same() -> None:
    done = 0
    for known in OLD:
        proto = known.build()
        try:
            content = converted(proto).SerializeToString()
        except ModelError as error:
            assert "cannot be converted from opset" in str(error)
            continue
        expected, got = outputs(proto.SerializeToString(), known), outputs(content, known)
        for a, b in zip(expected, got, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6, err_msg=known.name)
        done += 1
    assert done > 0.9 * len(OLD)


UNTOUCHED = ["model_header", "metadata_everywhere", "documents_everywhere", "denotations", "unicode_names"]
UNTOUCHED += ["quantization_annotation", "metadata_in_branches", "custom_domains", "nested_subgraphs"]


@pytest.mark.parametrize("name", UNTOUCHED)
def test_models_whose_operators_stayed_change_their_versions_only(name: str) -> None:
    proto = case(name).build()
    got = converted(proto)
    for entry in got.opset_import:
        if entry.domain == "":
            entry.version = proto.opset_import[0].version
    got.ir_version = proto.ir_version
    assert got == proto


def test_a_changed_node_keeps_its_documents_inside_branches_too() -> None:
    proto = case("if_live").build()
    branch = proto.graph.node[-1].attribute[0].g
    mean = branch.node[0]
    mean.op_type, mean.doc_string = "ReduceMean", "of the mean"
    del mean.input[1:]
    mean.metadata_props.add(key="where", value="inside")
    mean.attribute.extend([helper.make_attribute("axes", [0]), helper.make_attribute("keepdims", 1)])
    got = next(n for n in converted(proto).graph.node[-1].attribute[0].g.node if n.op_type == "ReduceMean")
    assert len(got.input) == 2 and [a.name for a in got.attribute] == ["keepdims"]
    assert got.doc_string == "of the mean" and got.metadata_props == mean.metadata_props


def test_a_node_that_becomes_several_lends_its_name_once() -> None:
    """Softmax of opset 11 flattens its input: it becomes Shape, Flatten, Softmax and Reshape."""
    proto = case("model_header").build()
    proto.opset_import[0].version = 11
    softmax = proto.graph.node[-1]
    softmax.op_type, softmax.name = "Softmax", "softmax"
    got = converted(proto)
    names = [node.name for node in got.graph.node if node.name]
    assert len(got.graph.node) > 3 and names.count("softmax") == 1 and len(set(names)) == len(names)


def test_weights_stay_in_the_store() -> None:
    proto = case("model_header").build()
    large = np.arange(4096, dtype=np.float32)
    node = proto.graph.node.add(op_type="Constant", output=["large"])
    node.attribute.add(name="value", type=AttributeProto.TENSOR, t=numpy_helper.from_array(large))
    proto.graph.initializer.append(numpy_helper.from_array(large, "unread"))
    proto.graph.output.append(helper.make_tensor_value_info("large", 1, [4096]))
    model = ir.from_bytes(proto.SerializeToString())
    ir.convert_opset(model, TARGET)
    assert len(model.snapshot().message) < 4096
    got = ModelProto.FromString(model.to_bytes())
    assert np.array_equal(numpy_helper.to_array(got.graph.node[-1].attribute[0].t), large)
    assert np.array_equal(numpy_helper.to_array(got.graph.initializer[-1]), large)


def test_constants_of_ir_3_do_not_become_defaults() -> None:
    model = ir.from_bytes(case("listed_initializers_ir3").build().SerializeToString())
    ir.convert_opset(model, TARGET)
    assert model.ir_version >= 10
    assert [tensor.name for tensor in model.graph.inputs] == ["x"] and not model.signature.defaults
    assert next(iter(model.graph.find("Conv"))).inputs[1].constant is not None


def test_defaults_stay_defaults() -> None:
    model = ir.from_bytes(case("listed_initializers_ir9").build().SerializeToString())
    ir.convert_opset(model, TARGET)
    assert {port.name for port in model.signature.defaults} == {"conv.bias", "conv.weight"}


REFUSED = ["local_function", "training_info", "sparse_initializers", "constant_nodes"]


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_leaves_the_model_as_it_was(name: str) -> None:
    proto = case(name).build()
    model = ir.from_bytes(proto.SerializeToString())
    with pytest.raises(ModelError, match="cannot be converted from opset") as caught:
        ir.convert_opset(model, TARGET)
    assert "\n" not in str(caught.value) and caught.value.hint
    assert ModelProto.FromString(model.to_bytes()) == proto


@pytest.mark.parametrize("known", ROUND_TRIP, ids=str)
def test_no_construct_breaks_the_converter(known: Case) -> None:
    model = ir.from_bytes(known.build().SerializeToString())
    version = model.opset + 1
    if version > onnx.defs.onnx_opset_version():
        pytest.skip("it is at the newest opset")
    try:
        ir.convert_opset(model, version)
    except ModelError as error:
        assert str(error)


def test_nothing_happens_at_or_beyond_the_version() -> None:
    proto = case("model_header").build()
    model = ir.from_bytes(proto.SerializeToString())
    for version in (model.opset, 7):
        ir.convert_opset(model, version)
    assert ModelProto.FromString(model.to_bytes()) == proto
