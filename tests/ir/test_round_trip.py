"""What no pass touched leaves as it came: every field of every construct, whether anyone looked or not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto

from graphopt import ir
from tests.corpus import NUMERIC, ROUND_TRIP, Case, case, inline_model, random_cnn, write_external

CORPUS = Path(__file__).resolve().parents[3] / "shared" / "corpus" / "models"
LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
REAL = sorted([*LIGHT.glob("*.onnx"), *CORPUS.glob("*.onnx")])
Treatment = Callable[[ir.Model], None]


def untouched(model: ir.Model) -> None:
    pass


def read(model: ir.Model) -> None:
    """Look at every attribute and every value."""
    for graph in model.graphs():
        for tensor in graph.initializers:
            if isinstance(tensor, ir.Constant):
                assert tensor.values.shape == tensor.shape
        for node in graph.nodes:
            for value in dict(node.attrs).values():
                if isinstance(value, ir.Constant):
                    assert value.values.shape == value.shape
    assert model.signature and model.weight_bytes >= 0


def restored(model: ir.Model) -> None:
    model.restore(model.snapshot())


def read_and_restored(model: ir.Model) -> None:
    read(model)
    restored(model)
    read(model)


TREATMENTS = pytest.mark.parametrize("treat", [untouched, read, restored, read_and_restored])


def assert_same(got: ModelProto, expected: ModelProto) -> None:
    """Compare serialised: equality of messages is blind to unknown fields and finds NaN unequal."""
    if got.SerializeToString(deterministic=True) != expected.SerializeToString(deterministic=True):
        assert str(got) == str(expected)  # shows where
        pytest.fail("the messages differ in fields that are not shown")


def in_order(proto: ModelProto, order: list[str]) -> ModelProto:
    """The model with its nodes in the order of their first outputs."""
    nodes = {node.output[0]: node for node in proto.graph.node}
    expected = ModelProto()
    expected.CopyFrom(proto)
    del expected.graph.node[:]
    expected.graph.node.extend(nodes[name] for name in order)
    return expected


@TREATMENTS
@pytest.mark.parametrize("known", ROUND_TRIP, ids=str)
def test_every_construct_survives(known: Case, treat: Treatment) -> None:
    proto = known.build()
    model = ir.from_bytes(proto.SerializeToString())
    treat(model)
    got = ModelProto.FromString(model.to_bytes())
    if known.expect.get("round_trip") == "sorted":
        proto = in_order(proto, [node.output[0] for node in got.graph.node])
    assert_same(got, proto)


@pytest.mark.parametrize("known", NUMERIC, ids=str)
def test_models_that_run_survive(known: Case) -> None:
    proto = known.build()
    model = ir.from_bytes(proto.SerializeToString())
    read_and_restored(model)
    assert_same(ModelProto.FromString(model.to_bytes()), proto)


@pytest.mark.parametrize("treat", [untouched, read_and_restored])
@pytest.mark.parametrize("path", REAL, ids=lambda path: path.stem)
def test_real_models_survive(path: Path, treat: Treatment, tmp_path: Path) -> None:
    model = ir.load(path)
    treat(model)
    expected = onnx.load(path)
    model.write(tmp_path / "written.onnx")
    assert_same(onnx.load(tmp_path / "written.onnx"), expected)
    assert model.save(tmp_path / "saved.onnx") == [tmp_path / "saved.onnx"]
    assert (tmp_path / "saved.onnx").read_bytes() == (tmp_path / "written.onnx").read_bytes()


def test_the_corpus_is_there() -> None:
    if not CORPUS.is_dir():
        pytest.skip("no corpus of real models beside the checkout")
    assert len(REAL) > len(list(LIGHT.glob("*.onnx")))


def test_all_light_models_are_there() -> None:
    assert len(list(LIGHT.glob("*.onnx"))) == 9


@pytest.mark.parametrize("seed", range(10))
def test_random_networks_survive(seed: int) -> None:
    proto = random_cnn(seed)
    assert_same(ModelProto.FromString(ir.from_bytes(proto.SerializeToString()).to_bytes()), proto)


def values_of(path: Path) -> dict[str, np.ndarray]:
    """Every tensor of the main graph and of the branches, by place."""
    found = {}
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        found[tensor.name] = onnx.numpy_helper.to_array(tensor)
    for node in model.graph.node:
        for attribute in node.attribute:
            for tensor in [attribute.t] if attribute.type == onnx.AttributeProto.TENSOR else []:
                found[f"{node.name}.{attribute.name}"] = onnx.numpy_helper.to_array(tensor)
            for tensor in attribute.g.initializer:
                found[tensor.name] = onnx.numpy_helper.to_array(tensor)
    return found


@TREATMENTS
def test_external_data_survives(tmp_path: Path, treat: Treatment) -> None:
    source = write_external(tmp_path)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    model = ir.load(source)
    treat(model)
    (tmp_path / "out").mkdir()
    path, data = model.save(tmp_path / "out" / "model.onnx")
    assert sorted(file.name for file in path.parent.iterdir()) == sorted([path.name, data.name])
    expected, got = values_of(source), values_of(path)
    assert expected.keys() == got.keys()
    assert all(np.array_equal(expected[name], got[name]) for name in expected)
    onnx.checker.check_model(path, full_check=True)
    assert all(file.read_bytes() == content for file, content in before.items())


@TREATMENTS
def test_external_data_is_inlined_into_bytes(tmp_path: Path, treat: Treatment) -> None:
    model = ir.load(write_external(tmp_path))
    treat(model)
    got, expected = ModelProto.FromString(model.to_bytes()), inline_model()
    tensors = {tensor.name: tensor for tensor in got.graph.initializer}
    for tensor in expected.graph.initializer:
        assert tensors[tensor.name].raw_data == tensor.raw_data
        assert not tensors[tensor.name].HasField("data_location")
    assert model.to_bytes() == model.to_bytes()


def test_a_written_model_loads_and_writes_the_same(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    files = ir.load(write_external(tmp_path)).save(tmp_path / "a" / "m.onnx")
    again = ir.load(files[0]).save(tmp_path / "b" / "m.onnx")
    assert [f.name for f in files] == [f.name for f in again]
    assert [f.read_bytes() for f in files] == [f.read_bytes() for f in again]


def listed_defaults(ir_version: int) -> ir.Model:
    return ir.from_bytes(case(f"listed_initializers_ir{ir_version}").build().SerializeToString())


def test_listed_initializers_are_constants_in_ir_3() -> None:
    model = listed_defaults(3)
    weight = next(iter(model.graph.find("Conv"))).inputs[1]
    assert isinstance(weight, ir.Constant) and weight.constant is not None
    assert [port.name for port in model.signature.inputs] == ["x"]
    assert model.signature.defaults == ()


def test_listed_initializers_are_defaults_from_ir_4() -> None:
    model = listed_defaults(9)
    weight = next(iter(model.graph.find("Conv"))).inputs[1]
    assert isinstance(weight, ir.Variable) and weight.constant is None
    assert [port.name for port in model.signature.inputs] == ["x"]
    assert {port.name for port in model.signature.defaults} == {"conv.bias", "conv.weight"}


def test_text_that_is_not_utf8_can_be_read() -> None:
    model = ir.from_bytes(case("stored_strings").build().SerializeToString())
    texts = next(t for t in model.graph.initializers if t.name == "texts")
    assert texts.values.tolist() == [[b"cat", b""], ["größe".encode(), b"\xff\xfe\x00"]]


def test_fp8_keeps_its_kind_when_values_are_set_anew() -> None:
    proto = case("stored_float8e4m3fnuz").build()
    model = ir.from_bytes(proto.SerializeToString())
    for tensor in model.graph.initializers:
        tensor.values = tensor.values.copy()
    got = ModelProto.FromString(model.to_bytes())
    raw = {tensor.name: tensor for tensor in got.graph.initializer}
    expected = proto.graph.initializer[0].raw_data
    for name in ("raw", "typed"):
        assert raw[name].data_type == TensorProto.FLOAT8E4M3FNUZ
        assert raw[name].raw_data == expected


NUMBERS = [
    known for known in ROUND_TRIP if known.name.startswith("stored_") and known.name != "stored_strings"
]


@pytest.mark.parametrize("known", NUMBERS, ids=str)
def test_every_element_type_can_be_set_anew(known: Case) -> None:
    """Values read and set again are written as they were, narrow types packed."""
    proto = known.build()
    model = ir.from_bytes(proto.SerializeToString())
    for tensor in model.graph.initializers:
        tensor.values = tensor.values.copy()
    got = ModelProto.FromString(model.to_bytes())
    raw = proto.graph.initializer[0]
    for tensor in got.graph.initializer:
        assert tensor.data_type == raw.data_type
        assert tensor.raw_data == raw.raw_data


@pytest.mark.parametrize("known", NUMBERS, ids=str)
def test_large_tensors_of_every_type_leave_the_message(known: Case) -> None:
    """A payload above the limit is cut out, read through the store, and comes back."""
    proto = known.build()
    tensor = proto.graph.initializer[0]
    tensor.raw_data = tensor.raw_data * 8192  # 5 * 8192 elements fill whole bytes in every width
    bits = {"INT2": 2, "INT4": 4, "FLOAT4": 4, "FLOAT6": 6}
    name = TensorProto.DataType.Name(tensor.data_type).removeprefix("U")
    width = next((b for prefix, b in bits.items() if name.startswith(prefix)), 0)
    tensor.dims[0] = len(tensor.raw_data) * 8 // width if width else 5 * 8192
    expected = onnx.numpy_helper.to_array(tensor)
    model = ir.from_bytes(proto.SerializeToString())
    assert len(model.snapshot().message) < 20_000
    constant = model.graph.initializers[0]
    assert constant.values.dtype == expected.dtype
    assert constant.values.tobytes() == expected.tobytes()
    assert constant.nbytes == len(tensor.raw_data)
    assert_same(ModelProto.FromString(model.to_bytes()), proto)
