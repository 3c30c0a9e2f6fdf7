"""Payloads leave a message and come back, whatever the message is; a broken one is refused in a sentence."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper

from graphopt import ir
from graphopt.errors import ModelError
from graphopt.ir.io.wire import DETACH_BYTES, MAX_DEPTH, WireError, attach, detach
from tests.corpus import NUMERIC, ROUND_TRIP, Case, case

MARKER = "marker.0123"


class Store(list[memoryview]):
    def keep(self, payload: memoryview) -> int:
        self.append(payload)
        return len(self) - 1


def joined(chunks: Iterable[bytes | memoryview]) -> bytes:
    return b"".join(chunks)


sizes = st.sampled_from([0, 1, DETACH_BYTES - 1, DETACH_BYTES, DETACH_BYTES + 1, 20_000])


@st.composite
def tensors(draw: st.DrawFn) -> TensorProto:
    size = draw(sizes)
    tensor = TensorProto(name=draw(st.text(max_size=3)), data_type=TensorProto.UINT8, dims=[size])
    if draw(st.booleans()):
        tensor.raw_data = bytes([draw(st.integers(0, 255))]) * size
    else:
        tensor.int32_data.extend([1] * (size % 7))
    if draw(st.booleans()):
        tensor.doc_string = draw(st.text(max_size=200))
        tensor.metadata_props.add(key="k", value="v" * draw(sizes))
    return tensor


@st.composite
def graphs(draw: st.DrawFn, depth: int = 2) -> GraphProto:
    graph = GraphProto(name=draw(st.text(max_size=3)), initializer=draw(st.lists(tensors(), max_size=3)))
    for _ in range(draw(st.integers(0, 3))):
        node = graph.node.add(op_type="Op", output=[draw(st.text(max_size=3))])
        attribute = node.attribute.add(name="a", type=AttributeProto.TENSOR, t=draw(tensors()))
        attribute.tensors.extend(draw(st.lists(tensors(), max_size=1)))
        if depth:
            inner = draw(graphs(depth - 1))
            node.attribute.add(name="g", type=AttributeProto.GRAPH, g=inner)
            node.attribute.add(name="gs", type=AttributeProto.GRAPHS, graphs=[inner, inner])
    return graph


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_payloads_come_back_byte_for_byte(graph: GraphProto) -> None:
    content = ModelProto(ir_version=9, graph=graph, doc_string="x" * 3000).SerializeToString()
    store = Store()
    light = detach(content, MARKER, store.keep)
    assert joined(attach(light, MARKER, store)) == content
    parsed = ModelProto.FromString(light)
    assert joined(attach(light, MARKER, store)) == joined(
        attach(detach(content, MARKER, Store().keep), MARKER, store)
    )
    assert all(len(tensor.raw_data) < DETACH_BYTES for tensor in parsed.graph.initializer)
    reparsed = ModelProto.FromString(joined(attach(parsed.SerializeToString(), MARKER, store)))
    assert reparsed == ModelProto.FromString(content)


@pytest.mark.parametrize("known", [*ROUND_TRIP, *NUMERIC], ids=str)
def test_payloads_of_the_corpus_come_back(known: Case) -> None:
    content = known.build().SerializeToString()
    store = Store()
    assert joined(attach(detach(content, MARKER, store.keep), MARKER, store)) == content


def test_many_payloads_take_one_look_each() -> None:
    graph = GraphProto()
    for index in range(3000):
        graph.initializer.add(name=str(index), data_type=TensorProto.UINT8, raw_data=bytes(DETACH_BYTES))
    content, store = ModelProto(graph=graph).SerializeToString(), Store()
    light = detach(content, MARKER, store.keep)
    assert len(store) == 3000 and len(light) < 100 * 3000
    assert joined(attach(light, MARKER, store)) == content


def test_of_two_values_the_last_counts() -> None:
    """A field that must stand once stands twice: the message stays as it is, and protobuf takes the last."""
    first = TensorProto(name="w", data_type=TensorProto.UINT8, dims=[2048], raw_data=b"\1" * 2048)
    second = TensorProto(raw_data=b"\2" * 2048)
    tensor = first.SerializeToString() + second.SerializeToString()
    head = ModelProto(ir_version=9, opset_import=[helper.make_opsetid("", 17)]).SerializeToString()
    graph = bytes([5 << 3 | 2]) + varint(len(tensor)) + tensor
    content = head + bytes([7 << 3 | 2]) + varint(len(graph)) + graph
    model = ir.from_bytes(content)
    assert set(model.graph.initializers[0].values.tolist()) == {2}
    assert ModelProto.FromString(model.to_bytes()) == ModelProto.FromString(content)


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def nested(depth: int) -> bytes:
    """Node in graph in attribute in node ..., written without protobuf, which would refuse to."""
    content = b""
    for _ in range(depth):
        for number in (6, 5, 1):  # attribute.g, node.attribute, graph.node
            content = bytes([number << 3 | 2]) + varint(len(content)) + content
    pad = bytes([14 << 3 | 2]) + varint(2 * DETACH_BYTES) + bytes(2 * DETACH_BYTES)
    return bytes([7 << 3 | 2]) + varint(len(content + pad)) + content + pad


@pytest.mark.parametrize("depth", [MAX_DEPTH, 1000])
def test_deep_nesting_is_refused(depth: int) -> None:
    with pytest.raises(ModelError):
        ir.from_bytes(nested(depth))


def test_deep_nesting_stops_the_reader_itself() -> None:
    content = b"\0" * DETACH_BYTES
    for _ in range(MAX_DEPTH):
        for number in (6, 5, 1):
            content = bytes([number << 3 | 2]) + varint(len(content)) + content
    content = bytes([7 << 3 | 2]) + varint(len(content)) + content
    with pytest.raises(WireError, match="nest"):
        detach(content, MARKER, Store().keep)


def test_nested_bodies_are_read_as_deep_as_protobuf_goes() -> None:
    graph = GraphProto(name="innermost")
    graph.initializer.add(name="w", data_type=TensorProto.UINT8, dims=[2048], raw_data=bytes(2048))
    for _ in range(30):
        node = NodeProto(op_type="If", output=["y"])
        node.attribute.add(name="then_branch", type=AttributeProto.GRAPH, g=graph)
        graph = GraphProto(node=[node])
    content = ModelProto(ir_version=9, graph=graph).SerializeToString()
    model = ir.from_bytes(content)
    assert len(list(model.graphs())) == 31
    assert model.to_bytes() == content


def small_model() -> bytes:
    net = case("constant_nodes").build()
    net.graph.initializer.add(name="w", data_type=TensorProto.UINT8, dims=[1500], raw_data=bytes(1500))
    net.graph.initializer.add(name="e", data_type=TensorProto.FLOAT, dims=[1], raw_data=bytes(4))
    net.graph.initializer[-1].external_data.add(key="location", value="no such file")
    return bytes(net.SerializeToString())


def use(content: bytes) -> None:
    """Do with a model what every command does first."""
    model = ir.from_bytes(content)
    assert model.signature is not None
    assert model.weight_bytes >= 0
    for tensor in model.graph.initializers:
        if isinstance(tensor, ir.Constant):
            assert tensor.values is not None
    ir.infer_shapes(model)
    ir.structure_errors(model)
    assert model.to_bytes()
    model.check()


def test_every_truncation_is_refused_in_a_sentence() -> None:
    content = small_model()
    for length in [*range(200), *range(200, len(content), 7)]:
        with pytest.raises(ModelError) as caught:
            use(content[:length])
        assert str(caught.value) and "Traceback" not in str(caught.value)


def test_random_damage_never_ends_in_another_error() -> None:
    content, rng = small_model(), np.random.default_rng(0)
    refused = 0
    for _ in range(1000):
        damaged = bytearray(content)
        for position in rng.integers(0, len(content), rng.integers(1, 6)):
            damaged[position] ^= 1 << int(rng.integers(0, 8))
        try:
            use(bytes(damaged))
        except ModelError:
            refused += 1
    assert 200 < refused < 1000


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_noise_is_refused(noise: bytes) -> None:
    try:
        use(noise)
    except ModelError as error:
        assert str(error)


def test_a_file_cannot_forge_a_marker() -> None:
    """Each store draws its own marker: one that was seen in another file means nothing."""
    proto = ModelProto.FromString(small_model())
    seen = ir.from_bytes(small_model()).weights.marker
    tensor = proto.graph.initializer[0]
    tensor.external_data.add(key=seen, value="0")
    tensor.external_data.add(key="graphopt.payload.0000000000000000", value="7")
    model = ir.from_bytes(proto.SerializeToString())
    assert model.weights.marker != seen
    assert ModelProto.FromString(model.to_bytes()) == proto


def test_missing_files_and_folders(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing.onnx", tmp_path):
        with pytest.raises(ModelError):
            ir.load(path)
    (tmp_path / "empty.onnx").touch()
    with pytest.raises(ModelError, match="empty"):
        ir.load(tmp_path / "empty.onnx")
