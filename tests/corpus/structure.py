"""Graphs of unusual structure: attributes, types, names, order and nesting that importers stumble over."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.corpus import control
from tests.corpus._case import Catalogue
from tests.corpus._net import Net
from tests.corpus.files.attachments import CUSTOM, base

cases = Catalogue()
SORTED = {"round_trip": "sorted"}
FLOAT_MATRIX = helper.make_tensor_type_proto(TensorProto.FLOAT, ["N", 4])


def _custom_node(**attrs: Any) -> onnx.ModelProto:
    """A node of a custom domain with these attributes between two plain ones."""
    net = Net()
    y = net.op("Relu", net.input(shape=(2, 4)))
    y = net.op("Opaque", y, domain=CUSTOM, name="opaque", **attrs)
    y = net.op("Relu", y)
    return net.model(net.tell(y, (2, 4)), ir=10, domains=[CUSTOM])


def _graph_attribute(name: str) -> onnx.GraphProto:
    body = Net(seed=3)
    return body.graph(body.op("Add", body.input("row", (4,)), body.random(4, name=f"{name}.c")), name=name)


def _empty(kind: str) -> onnx.AttributeProto:
    number = onnx.AttributeProto.AttributeType.Value(kind)
    return onnx.AttributeProto(name=f"empty_{kind.lower()}", type=number)


TENSORS = [helper.make_tensor(f"t{i}", TensorProto.FLOAT, [2], [i, i + 0.5]) for i in range(2)]
SPARSE = helper.make_sparse_tensor(
    helper.make_tensor("values", TensorProto.FLOAT, [1], [2.5]),
    helper.make_tensor("places", TensorProto.INT64, [1], [3]),
    [4, 5],
)
ATTRIBUTES: dict[str, dict[str, Any]] = {
    "plain": {
        "f": 0.1,
        "i": -(2**63),
        "s": "text",
        "floats": [0.1, 1e38],
        "ints": [1, -1],
        "strings": ["a", ""],
    },
    "tensor": {"t": TENSORS[0]},
    "tensors": {"ts": TENSORS},
    "sparse_tensor": {"sp": SPARSE},
    "sparse_tensors": {"sps": [SPARSE, SPARSE]},
    "type": {"tp": FLOAT_MATRIX},
    "types": {"tps": [FLOAT_MATRIX, helper.make_sequence_type_proto(FLOAT_MATRIX)]},
    "graph": {"g": _graph_attribute("g")},
    "graphs": {"gs": [_graph_attribute("g0"), _graph_attribute("g1")]},
    "bytes": {"s": b"\xff\xfe\x00binary\x80", "strings": [b"\xc3\x28", b"", "größe".encode()]},
}
for kind, attributes in ATTRIBUTES.items():
    cases.put(f"attribute_{kind}", partial(_custom_node, **attributes), runs=False)


@cases.add(runs=False)
def attribute_empty_lists() -> onnx.ModelProto:
    model = _custom_node()
    lists = ("FLOATS", "INTS", "STRINGS", "TENSORS", "GRAPHS", "SPARSE_TENSORS", "TYPE_PROTOS")
    model.graph.node[1].attribute.extend(map(_empty, lists))
    return model


@cases.add()
def attribute_empty_list_of_a_standard_node() -> onnx.ModelProto:
    """A mean over an empty list of axes: over all."""
    net = Net()
    y = net.op("ReduceMean", net.input(shape=(2, 3)))
    net.nodes[-1].attribute.append(onnx.AttributeProto(name="axes", type=onnx.AttributeProto.INTS))
    return net.model(net.tell(y, (1, 1)))


def _inputs(*types: onnx.TypeProto) -> onnx.ModelProto:
    """Inputs of these types, read by a custom node."""
    net = Net()
    for index, kind in enumerate(types):
        net.inputs.append(helper.make_value_info(f"in{index}", kind))
    y = net.op("Opaque", *(value.name for value in net.inputs), domain=CUSTOM)
    return net.model(net.tell(y, (2,)), ir=10, domains=[CUSTOM])


OPTIONAL = helper.make_optional_type_proto(FLOAT_MATRIX)
SEQUENCE = helper.make_sequence_type_proto(FLOAT_MATRIX)
MAP = helper.make_map_type_proto(TensorProto.STRING, FLOAT_MATRIX)
SPARSE_TYPE = helper.make_sparse_tensor_type_proto(TensorProto.FLOAT, [4, "W"])
UNUSUAL_DIMENSIONS: list[list[int | str | None]] = [[], [None, 0, "N"], ["N + 1", "", -1]]
for name, types in {
    "input_optional": (OPTIONAL, helper.make_optional_type_proto(SEQUENCE)),
    "input_sequence": (SEQUENCE, helper.make_sequence_type_proto(MAP)),
    "input_map": (MAP, helper.make_map_type_proto(TensorProto.INT64, SEQUENCE)),
    "input_sparse": (SPARSE_TYPE,),
    "input_dimensions": tuple(
        helper.make_tensor_type_proto(TensorProto.FLOAT16, dims) for dims in UNUSUAL_DIMENSIONS
    ),
}.items():
    cases.put(name, partial(_inputs, *types), runs=False)
UNRANKED = helper.make_tensor_type_proto(TensorProto.FLOAT, None)
cases.put("input_without_rank", partial(_inputs, UNRANKED), runs=False, valid=False)


def _sequence_feeds(rng: np.random.Generator) -> dict[str, Any]:
    matrices = rng.standard_normal((3, 2, 4)).astype(np.float32)
    return {"many": list(matrices[:2]), "one": matrices[2]}


@cases.add(make_feeds=_sequence_feeds)
def sequence_through_the_model() -> onnx.ModelProto:
    net = Net()
    net.inputs.append(helper.make_value_info("many", SEQUENCE))
    longer = net.op("SequenceInsert", "many", net.input("one", (2, 4)))
    net.types[longer] = helper.make_value_info(longer, SEQUENCE)
    return net.model(longer, net.tell(net.op("SequenceLength", "many"), (), np.int64))


@cases.add(runs=False)
def custom_domains() -> onnx.ModelProto:
    """Two domains of one op name, versions of their own, and a domain nobody uses."""
    net = Net()
    y = net.op("Conv", net.input(shape=(1, 4)), domain="com.first", kernel=[3])
    y = net.op("Conv", y, net.random(4), domain="com.second")
    model = net.model(net.tell(y, (1, 4)), domains=["com.first", "com.second", "com.unused"])
    model.opset_import[1].version = 7
    return model


@cases.add()
def standard_opset_by_its_long_name() -> onnx.ModelProto:
    """The model imports ``ai.onnx``, its nodes name no domain."""
    model = base()
    model.opset_import[0].domain = "ai.onnx"
    return model


@cases.add(valid=False)
def standard_domain_by_its_long_name() -> onnx.ModelProto:
    """``ai.onnx`` means the same as the empty domain: to runtimes, not to the checker."""
    net = Net()
    y = net.op("Relu", net.op("Neg", net.input(shape=(2,)), domain="ai.onnx"))
    model = net.model(net.tell(y, (2,)), domains=["ai.onnx"])
    model.opset_import[1].version = 17
    return model


@cases.add()
def classical_operators() -> onnx.ModelProto:
    net = Net()
    y = net.op("Scaler", net.input(shape=("N", 2)), domain="ai.onnx.ml", offset=[0.5, 1.0], scale=[2.0, 0.1])
    model = net.model(net.tell(y, ("N", 2)), domains=["ai.onnx.ml"])
    model.opset_import[1].version = 3
    return model


def _named(*names: str) -> onnx.ModelProto:
    """Nodes that are equal but for their output, and a sum of them."""
    net = Net()
    x = net.input(shape=(2,))
    for index, name in enumerate(names):
        net.node("Relu", [x], [f"y{index}"], name=name)
    net.node("Sum", [f"y{index}" for index in range(len(names))], ["z"])
    return net.model("z")


cases.put("nodes_without_names", partial(_named, "", "", ""))
cases.put("nodes_of_equal_names", partial(_named, "same", "same", ""), runs=False)


@cases.add()
def absent_inputs_and_outputs() -> onnx.ModelProto:
    """Empty names in the middle and at the end, of inputs and of outputs."""
    net = Net()
    x = net.input(shape=(4, 1, 3))
    net.node("LSTM", [x, "w", "r", "", "", ""], ["", "hidden", ""], name="lstm", hidden_size=2)
    net.random(1, 8, 3, name="w")
    net.random(1, 8, 2, name="r")
    y = net.op("Clip", "hidden", None, net.array(0.5))
    return net.model(y)


@cases.add()
def one_input_used_often() -> onnx.ModelProto:
    net = Net()
    x = net.input(shape=(2,))
    return net.model(net.op("Sum", x, x, x, net.op("Mul", x, x)))


@cases.add()
def nested_subgraphs() -> onnx.ModelProto:
    """An If in a Loop in an If, each reading tensors of all levels around it."""
    net = Net()
    x, condition = net.input(shape=control.SHAPE), net.input("condition", (), np.bool_)
    weight = net.random(3)

    def looped(outer: Net, x: str) -> str:
        body = outer.body()
        body.input("step", (), np.int64)
        body.input("go_on", (), np.bool_)
        value = body.input("value", control.SHAPE)
        value = control.choose(body, condition, value, lambda n, v: n.op("Mul", v, weight), control.shifted)
        go_on = body.tell(body.op("Identity", "go_on"), (), np.bool_)
        graph = body.graph(go_on, body.tell(body.op("Add", value, x), control.SHAPE), name="loop body")
        return outer.tell(outer.op("Loop", np.array(2), None, x, body=graph), control.SHAPE)

    return net.model(control.choose(net, condition, x, looped, control.relu))


@cases.add()
def typed_tensors_of_nowhere() -> onnx.ModelProto:
    """value_info of tensors that do not exist, out of order, and of one known by type alone."""
    model = base()
    known = model.graph.value_info[0]
    del model.graph.value_info[:]
    for name in ("zebra", "aardvark"):
        model.graph.value_info.append(helper.make_tensor_value_info(name, TensorProto.INT8, [1, "N", None]))
    model.graph.value_info.append(known)
    model.graph.value_info.append(helper.make_tensor_value_info("only a type", TensorProto.FLOAT, None))
    return model


@cases.add(runs=False)
def output_listed_twice() -> onnx.ModelProto:
    """Each place in the list has a shape of its own."""
    net = Net()
    proto = net.model(net.op("Relu", net.input(shape=("N", 4))))
    proto.graph.output.append(
        helper.make_tensor_value_info(proto.graph.output[0].name, TensorProto.FLOAT, (1, 4))
    )
    return proto


@cases.add()
def input_is_output_of_another_shape() -> onnx.ModelProto:
    """Handed through as it is, and declared with another shape."""
    net = Net()
    x = net.input(shape=("N", 4))
    proto = net.model(net.op("Relu", x))
    proto.graph.output.append(helper.make_tensor_value_info(x, TensorProto.FLOAT, (None, 4)))
    return proto


@cases.add(runs=False, valid=False)
def branch_hands_out_an_outer_tensor() -> onnx.ModelProto:
    """onnxruntime wants an Identity there; the outer tensor keeps its shape."""
    net = Net()
    x = net.op("Relu", net.input(shape=("N", 4)))
    bodies = [helper.make_graph([], key, [], [helper.make_empty_tensor_value_info(x)]) for key in "ab"]
    condition = net.input("condition", (), np.bool_)
    y = net.op("If", condition, then_branch=bodies[0], else_branch=bodies[1])
    return net.model(x, net.tell(y, ("N", 4)))


@cases.add()
def unread_inputs() -> onnx.ModelProto:
    net = Net()
    net.input("unread", ("anything", None, 3), np.int64)
    return net.model(net.op("Relu", net.input()))


@cases.add()
def one_tensor_with_many_readers() -> onnx.ModelProto:
    """A thousand nodes read one tensor and one initializer."""
    net = Net()
    x, weight = net.op("Relu", net.input(shape=(2,))), net.random(2)
    sums = [net.op("Add", x, weight) for _ in range(1000)]
    return net.model(net.op("Sum", *sums))


def long_chain(order: int = 1, depth: int = 3_000) -> onnx.ModelProto:
    """Give a chain of `depth` nodes, three times as many as Python recurses into.

    Of order -1 the last comes first: invalid, but met in the wild.
    """
    net = Net()
    y = net.input(shape=(2,))
    for _ in range(depth):
        y = net.op("Neg", y)
    model = net.model(net.tell(y, (2,)))
    nodes: Sequence[onnx.NodeProto] = list(model.graph.node)[::order]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


cases.put("long_chain", long_chain)
cases.put("long_chain_reversed", partial(long_chain, -1), SORTED, valid=False)


@cases.add(SORTED, valid=False)
def unsorted_nodes() -> onnx.ModelProto:
    """Two branches written in reading order of neither."""
    net = Net()
    x = net.input(shape=(2,))
    y = net.op("Add", net.op("Neg", net.op("Relu", x)), net.op("Exp", net.op("Neg", x)))
    model = net.model(y)
    nodes = [model.graph.node[index] for index in (4, 1, 3, 0, 2)]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model
