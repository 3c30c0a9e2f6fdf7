"""What hangs on a graph and computes nothing: documents, metadata, functions. None of it may be lost."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.corpus._case import Catalogue, graphs
from tests.corpus._net import Net, floats

cases = Catalogue()
CUSTOM = "corpus.custom"


def base() -> onnx.ModelProto:
    """Give a Conv and a Relu, with the type of the tensor between them."""
    net = Net()
    y = net.conv(net.input(shape=("N", 3, 8, 8)), (4, 3, 3, 3), bias=True, name="conv")
    model = net.model(net.op("Relu", y, name="relu"), ir=10)
    model.graph.value_info.append(helper.make_tensor_value_info(y, TensorProto.FLOAT, ("N", 4, 6, 6)))
    return model


def branching() -> onnx.ModelProto:
    """Give an If with typed tensors and initializers inside its branches."""
    net = Net()
    x = net.input(shape=(2, 3))
    branches = {}
    for key in ("then_branch", "else_branch"):
        body = net.body()
        y = body.tell(body.op("Add", x, body.random(3)), (2, 3))
        branches[key] = body.graph(body.tell(body.op("Relu", y), (2, 3)), name=key)
        branches[key].value_info.append(body.types[y])
    y = net.op("If", net.input("condition", (), np.bool_), **branches)
    return net.model(net.tell(y, (2, 3)), ir=10)


def _describe(holders: Iterable[Any], kind: str) -> None:
    for index, holder in enumerate(holders):
        holder.metadata_props.add(key="kind", value=kind)
        holder.metadata_props.add(key=f"grüße.{index}", value="")


@cases.add()
def model_header() -> onnx.ModelProto:
    model = base()
    model.domain, model.model_version, model.doc_string = (
        "org.example.vision",
        2**40,
        "first line\nsecond line",
    )
    model.producer_name, model.producer_version = "some exporter", "1.2.3+local"
    helper.set_model_props(model, {"labels": '["cat", "dog"]', "empty": "", "größe": "12 µm"})
    return model


@cases.add()
def explicit_defaults() -> onnx.ModelProto:
    """Fields that are present and hold their default differ from absent ones."""
    model = base()
    model.domain, model.model_version, model.doc_string, model.producer_version = "", 0, "", ""
    model.graph.doc_string = ""
    for node in model.graph.node:
        node.domain, node.doc_string, node.overload = "", "", ""
    model.graph.node[0].attribute.append(helper.make_attribute("group", 1))
    model.graph.node[0].attribute.append(helper.make_attribute("auto_pad", "NOTSET", doc_string=""))
    return model


def _describe_graph(graph: onnx.GraphProto) -> None:
    _describe([graph], "graph")
    _describe(graph.node, "node")
    _describe(graph.input, "input")
    _describe(graph.output, "output")
    _describe(graph.value_info, "value")
    _describe(graph.initializer, "initializer")


@cases.add()
def metadata_everywhere() -> onnx.ModelProto:
    model = base()
    _describe([model], "model")
    _describe_graph(model.graph)
    return model


@cases.add()
def metadata_in_branches() -> onnx.ModelProto:
    model = branching()
    for graph in graphs(model.graph):
        _describe_graph(graph)
    return model


@cases.add()
def documents_everywhere() -> onnx.ModelProto:
    model = branching()
    model.doc_string = "of the model"
    for graph in graphs(model.graph):
        graph.doc_string = f"of the graph {graph.name}"
        for holder in (*graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
            holder.doc_string = f"of {holder.name} — überall"
        for node in graph.node:
            for attribute in node.attribute:
                attribute.doc_string = "of the attribute"
    return model


@cases.add()
def unicode_names() -> onnx.ModelProto:
    net = Net()
    y = net.conv(net.input("прямо/в сеть:0", (1, 3, 8, 8)), (4, 3, 3, 3), name="свёртка " + "x" * 3000)
    net.node("Relu", [y], ["出力 \t\n 'quoted' \"twice\" \\ /"], name="🐈")
    return net.model(net.nodes[-1].output[0])


@cases.add()
def denotations() -> onnx.ModelProto:
    model = base()
    value = model.graph.input[0]
    value.type.denotation = "IMAGE"
    for dim, meaning in zip(value.type.tensor_type.shape.dim, ("DATA_BATCH", "DATA_CHANNEL"), strict=False):
        dim.denotation = meaning
    model.graph.value_info[0].type.denotation = "TENSOR"
    return model


@cases.add()
def quantization_annotation() -> onnx.ModelProto:
    model = base()
    model.graph.initializer.append(helper.make_tensor("x.scale", TensorProto.FLOAT, [], [0.1]))
    model.graph.initializer.append(helper.make_tensor("x.zero", TensorProto.UINT8, [], [128]))
    annotation = model.graph.quantization_annotation.add(tensor_name="x")
    annotation.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="x.scale")
    annotation.quant_parameter_tensor_names.add(key="ZERO_POINT_TENSOR", value="x.zero")
    return model


@cases.add()
def training_info() -> onnx.ModelProto:
    net = Net()
    net.node("Sub", ["conv.bias", net.const(floats(1, 1, 1, 1), "step")], ["new_bias"], name="descend")
    model = base()
    algorithm = net.graph(net.tell("new_bias", (4,)), name="algorithm")
    binding = {"conv.bias": "new_bias"}
    model.training_info.append(helper.make_training_info(algorithm, list(binding.items()), None, None))
    return model


def device_configurations() -> onnx.ModelProto:
    model = base()
    model.ir_version = 11
    model.configuration.add(name="two devices", num_devices=2, device=["left", "right"])
    sharding = model.graph.node[0].device_configurations.add(configuration_id="two devices", pipeline_stage=1)
    sharding.sharding_spec.add(tensor_name="conv.weight", device=[0, 1])
    return model


if "configuration" in onnx.ModelProto.DESCRIPTOR.fields_by_name:  # since onnx 1.18
    cases.put("device_configurations", device_configurations)


@cases.add()
def unknown_fields() -> onnx.ModelProto:
    """Fields of a later version of the format, on the model and on a node: number 1999, a varint of 7."""
    model = base()
    field = bytes([0xF8, 0x7C, 0x07])
    model.graph.node[0].MergeFromString(field)
    model.MergeFromString(field)
    return model


def _function(name: str, op: str, *, overload: str = "", domain: str = CUSTOM) -> onnx.FunctionProto:
    """Give y = op(x) * factor, the factor an attribute with a default."""
    factor = helper.make_node("Constant", [], ["factor"], name="factor")
    factor.attribute.add(name="value_float", type=onnx.AttributeProto.FLOAT, ref_attr_name="factor")
    nodes = [factor, helper.make_node(op, ["x"], ["z"]), helper.make_node("Mul", ["z", "factor"], ["y"])]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(CUSTOM, 1)]
    function = helper.make_function(
        domain,
        name,
        ["x"],
        ["y"],
        nodes,
        opsets,
        attribute_protos=[helper.make_attribute("factor", 0.5)],
        doc_string=f"{op} times a factor",
    )
    function.overload = overload
    function.value_info.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, ("N", None)))
    _describe([function, *function.node, *function.value_info], "in a function")
    return function


def _with_functions(net: Net, y: str, functions: list[onnx.FunctionProto]) -> onnx.ModelProto:
    model = net.model(net.tell(y, ("N", 4)), ir=10, domains=sorted({f.domain for f in functions}))
    model.functions.extend(functions)
    return model


@cases.add()
def local_function() -> onnx.ModelProto:
    net = Net()
    y = net.op("Scaled", net.input(shape=("N", 4)), domain=CUSTOM, name="default")
    y = net.op("Scaled", y, domain=CUSTOM, factor=2.0, name="given")
    return _with_functions(net, y, [_function("Scaled", "Sigmoid")])


@cases.add()
def overloaded_functions() -> onnx.ModelProto:
    net = Net()
    y = net.input(shape=("N", 4))
    for overload in ("", "smooth", "hard"):
        y = net.op("Scaled", y, domain=CUSTOM)
        net.nodes[-1].overload = overload
    ops = {"": "Sigmoid", "smooth": "Tanh", "hard": "HardSigmoid"}
    return _with_functions(net, y, [_function("Scaled", op, overload=key) for key, op in ops.items()])


@cases.add()
def functions_in_functions() -> onnx.ModelProto:
    """One function calls another, holds an If, and a third is never called."""
    net = Net()
    y = net.op("Outer", net.input(shape=("N", 4)), domain=CUSTOM)
    then, other = Net(seed=1), Net(seed=2)
    branches = {
        "then_branch": then.graph(then.op("Scaled", "x", domain=CUSTOM, name="then")),
        "else_branch": other.graph(other.op("Neg", "x", name="else")),
    }
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["largest"], keepdims=0),
        helper.make_node("Cast", ["largest"], ["condition"], to=TensorProto.BOOL),
        helper.make_node("If", ["condition"], ["y"], **branches),
    ]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(CUSTOM, 1)]
    outer = helper.make_function(CUSTOM, "Outer", ["x"], ["y"], nodes, opsets)
    return _with_functions(net, y, [_function("Scaled", "Tanh"), outer, _function("Unused", "Exp")])
