"""Outputs are complete or not there, inputs are never touched, and external data stays where it belongs."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from graphopt import ir
from graphopt.errors import ModelError, OutputError
from graphopt.ir.io import save as save_module
from tests.corpus import case, write_external, write_large_external

GIB = 2**30


def files_in(folder: Path) -> dict[str, bytes]:
    found = (file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): file.read_bytes() for file in found}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A model with external data in a folder of its own."""
    (tmp_path / "in").mkdir()
    return write_external(tmp_path / "in")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "model.onnx"


def change(model: ir.Model) -> None:
    """Give the model another weight, so that its data file gets another name."""
    tensor = next(t for t in model.graph.initializers if t.name == "aligned")
    tensor.values = tensor.values + 1


def test_force_leaves_only_the_new_files(source: Path, out: Path) -> None:
    model = ir.load(source)
    first = model.save(out)
    with pytest.raises(OutputError, match="exists"):
        model.save(out)
    assert set(files_in(out.parent)) == {file.name for file in first}
    change(model)
    other = out.with_name("other.onnx")
    other.write_bytes(b"not ours")
    second = model.save(out, force=True)
    assert set(files_in(out.parent)) == {*(file.name for file in second), other.name}
    onnx.checker.check_model(out)


def test_force_with_the_same_content_keeps_the_data(source: Path, out: Path) -> None:
    model = ir.load(source)
    assert model.save(out) == model.save(out, force=True)
    assert len(files_in(out.parent)) == 2


def test_force_without_external_data_removes_the_old_data(source: Path, out: Path) -> None:
    ir.load(source).save(out)
    plain = ir.from_bytes(case("model_header").build().SerializeToString())
    plain.save(out, force=True)
    assert set(files_in(out.parent)) == {out.name}


def test_data_files_of_the_input_are_not_ours_to_remove(source: Path, out: Path) -> None:
    """The input is an earlier output that was renamed: its data file still has the output's name."""
    ir.load(source).save(out)
    renamed = out.with_name("renamed.onnx")
    out.rename(renamed)
    before = files_in(out.parent)
    model = ir.load(renamed)
    change(model)
    model.save(out)
    after = files_in(out.parent)
    assert {name: after[name] for name in before} == before
    assert len(after) == len(before) + 2


def test_shared_external_data_is_written_once(tmp_path: Path, out: Path) -> None:
    (tmp_path / "w.bin").write_bytes(np.arange(4096, dtype=np.float32).tobytes())
    proto = case("model_header").build()
    for name in ("one", "two"):
        tensor = TensorProto(name=name, data_type=1, dims=[4096], data_location=TensorProto.EXTERNAL)
        tensor.external_data.add(key="location", value="w.bin")
        proto.graph.initializer.append(tensor)
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    _, data = ir.load(tmp_path / "m.onnx").save(out)
    assert data.stat().st_size == 4 * 4096


class BrokenError(Exception):
    pass


FAILURES: dict[str, BaseException] = {
    "full": OSError(errno.ENOSPC, "No space left on device"),
    "interrupt": KeyboardInterrupt(),
    "bug": BrokenError(),
}


def _broken_fsync(patch: pytest.MonkeyPatch, error: BaseException, call: int) -> None:
    calls = iter(range(100))
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if next(calls) == call:
            raise error
        real(descriptor)

    patch.setattr(save_module.os, "fsync", fsync)


def _broken_copy(patch: pytest.MonkeyPatch, error: BaseException, call: int) -> None:
    calls = iter(range(10_000))
    real = save_module._copy

    def copy(*arguments: Any) -> None:
        if next(calls) == 3 * call + 1:
            arguments[0].write(b"half")
            raise error
        real(*arguments)

    patch.setattr(save_module, "_copy", copy)


def _broken_replace(patch: pytest.MonkeyPatch, error: BaseException, call: int) -> None:
    calls = iter(range(100))
    real = Path.replace

    def replace(path: Path, target: Path) -> Path:
        if next(calls) == call:
            raise error
        return real(path, target)

    patch.setattr(Path, "replace", replace)


@pytest.mark.parametrize("exists", [False, True])
@pytest.mark.parametrize("call", [0, 1])
@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("break_it", [_broken_fsync, _broken_copy, _broken_replace])
def test_a_failure_leaves_everything_as_it_was(
    source: Path,
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
    break_it: Callable[[pytest.MonkeyPatch, BaseException, int], None],
    failure: str,
    call: int,
    exists: bool,
) -> None:
    model = ir.load(source)
    if exists:
        model.save(out)
        change(model)
    before = files_in(out.parent.parent)
    error = FAILURES[failure]
    with monkeypatch.context() as patch:
        break_it(patch, error, call)
        with pytest.raises(OutputError if isinstance(error, OSError) else type(error)) as caught:
            model.save(out, force=True)
    if failure == "full":
        assert "No space left" in str(caught.value) and str(out) in str(caught.value)
    assert files_in(out.parent.parent) == before


def test_an_interrupt_after_the_rename_keeps_the_data(
    source: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new model stands; taking its data away again would break it."""
    real = Path.replace

    def replace(path: Path, target: Path) -> Path:
        done = real(path, target)
        if target == out:
            raise KeyboardInterrupt
        return done

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(KeyboardInterrupt):
        ir.load(source).save(out)
    onnx.load(out)


def spellings(path: Path) -> list[Path]:
    """Other ways to name the same file."""
    link = path.with_name("link.onnx")
    link.symlink_to(path)
    hard = path.with_name("hard.onnx")
    hard.hardlink_to(path)
    return [path, path.parent / ".." / path.parent.name / path.name, Path(os.path.relpath(path)), link, hard]


def test_the_input_is_never_the_output(source: Path) -> None:
    data = source.with_name("weights.bin")
    model = ir.load(source)
    for path in [*spellings(source), data, source.parent / "more" / ".." / "weights.bin"]:
        before = files_in(source.parent)
        with pytest.raises(OutputError, match="belongs to the input"):
            model.save(path, force=True)
        assert files_in(source.parent) == before


@pytest.mark.parametrize("place", ["missing/model.onnx", "file/model.onnx", "folder"])
def test_places_that_cannot_be_written(source: Path, tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    before = files_in(tmp_path)
    with pytest.raises(OutputError) as caught:
        ir.load(source).save(tmp_path / place, force=True)
    assert place.split("/")[-1] in str(caught.value)
    assert files_in(tmp_path) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(source: Path, out: Path) -> None:
    out.parent.chmod(0o500)
    with pytest.raises(OutputError, match="denied"):
        ir.load(source).save(out)


def external(folder: Path, *, node: bool = False, **entries: str) -> Path:
    """A model whose tensor of 4 floats refers to external data, in an initializer or in a Constant node."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    nodes = [helper.make_node("Add", ["x", "w"], ["y"])]
    if node:
        nodes.insert(0, helper.make_node("Constant", [], ["w"], value=tensor))
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in "xy"]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], [] if node else [tensor])
    path = folder / "model.onnx"
    path.write_bytes(helper.make_model(graph, ir_version=9).SerializeToString())
    (folder / "data.bin").write_bytes(np.arange(8, dtype=np.float32).tobytes())
    return path


LIES: dict[str, tuple[dict[str, str], str]] = {
    "above": ({"location": "../secret.bin"}, "outside"),
    "above and back": ({"location": "../in/../secret.bin"}, "outside"),
    "absolute": ({"location": "SECRET"}, "outside"),
    "link": ({"location": "link.bin"}, "outside"),
    "folder link": ({"location": "up/secret.bin"}, "outside"),
    "folder": ({"location": "."}, "missing"),
    "missing": ({"location": "nothing.bin"}, "missing"),
    "short": ({"location": "data.bin", "length": "64"}, "only 32 bytes"),
    "far": ({"location": "data.bin", "offset": "30"}, "only 32 bytes"),
    "negative offset": ({"location": "data.bin", "offset": "-16", "length": "16"}, "ends at"),
    "negative length": ({"location": "data.bin", "offset": "32", "length": "-16"}, "ends at"),
    "no number": ({"location": "data.bin", "offset": "many"}, "no readable position"),
}


@pytest.mark.parametrize("node", [False, True])
@pytest.mark.parametrize("lie", LIES)
def test_external_data_that_is_refused(tmp_path: Path, lie: str, node: bool) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(64))
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    (folder / "up").symlink_to(tmp_path)
    entries, reason = LIES[lie]
    entries = {key: value.replace("SECRET", str(tmp_path / "secret.bin")) for key, value in entries.items()}
    with pytest.raises(ModelError, match=reason) as caught:
        ir.load(external(folder, node=node, **entries))
    assert "'w'" in str(caught.value)


@pytest.mark.parametrize("node", [False, True])
def test_external_data_inside_the_folder_is_read(tmp_path: Path, node: bool) -> None:
    (tmp_path / "link.bin").symlink_to(tmp_path / "data.bin")
    model = ir.load(external(tmp_path, node=node, location="./link.bin", offset="16"))
    read = next(iter(model.graph.find("Add"))).inputs[1].constant
    assert read is not None and read.tolist() == [4, 5, 6, 7]
    with pytest.raises(ValueError, match="read-only"):
        read[0] = 1


def test_external_data_without_a_file_is_refused_at_use(tmp_path: Path) -> None:
    model = ir.load(external(tmp_path, offset="0"))
    with pytest.raises(ModelError, match="outside"):
        _ = model.graph.initializers[0].values


def test_bytes_cannot_refer_to_files(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="without a folder"):
        ir.from_bytes(external(tmp_path, location="data.bin").read_bytes())


def test_values_of_another_size_than_their_shape(tmp_path: Path) -> None:
    model = ir.load(external(tmp_path, location="data.bin", length="32"))
    with pytest.raises(ModelError, match="needs 16 bytes, not 32"):
        _ = model.graph.initializers[0].values


def test_sparse_tensors_and_functions_bring_their_data_along(tmp_path: Path, out: Path) -> None:
    """External data at places where nobody keeps it end up in the message."""
    proto = case("local_function").build()
    values = TensorProto(name="s", data_type=1, dims=[4], data_location=TensorProto.EXTERNAL)
    values.external_data.add(key="location", value="data.bin")
    external(tmp_path, location="data.bin")
    proto.functions[0].node.add(op_type="Constant", output=["c"]).attribute.add(
        name="value", type=onnx.AttributeProto.TENSOR, t=values
    )
    proto.graph.node[0].attribute.add(name="list", type=onnx.AttributeProto.TENSORS, tensors=[values])
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    assert ir.load(tmp_path / "m.onnx").save(out) == [out]
    got = onnx.load(out, load_external_data=False)
    for tensor in (got.functions[0].node[-1].attribute[0].t, got.graph.node[0].attribute[-1].tensors[0]):
        assert not tensor.external_data
        assert onnx.numpy_helper.to_array(tensor).tolist() == list(range(4))


def test_weights_beyond_two_gigabytes_leave_the_message(
    source: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit lowered: weights of the main graph, of branches and of Constant nodes go to a data file."""
    inline = ir.from_bytes(ir.load(source).to_bytes())
    for tensor in list(inline.graph.initializers):
        if tensor.name == "aligned":
            tensor.values = np.arange(2**20, dtype=np.float32)
    size = len(inline.to_bytes())
    monkeypatch.setattr(save_module, "MAX_MESSAGE", size - 1)
    with pytest.raises(ModelError, match="2 GB"):
        inline.to_bytes()
    path, data = inline.save(out)
    assert path.stat().st_size < data.stat().st_size
    tensors = {tensor.name: tensor for tensor in onnx.load(path).graph.initializer}
    assert np.array_equal(onnx.numpy_helper.to_array(tensors["aligned"]), np.arange(2**20, dtype=np.float32))


LARGE = """
import resource, sys
from graphopt import ir
model = ir.load(sys.argv[1])
snapshot = model.snapshot()
model.restore(snapshot)
model.check()
first, last = model.graph.initializers[0].values[0, 0], model.graph.initializers[-1].values[-1, -1]
model.save(sys.argv[2])
print(float(first), float(last), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_three_gigabytes_pass_through_one(tmp_path: Path, out: Path) -> None:
    path = write_large_external(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", LARGE, path, out], capture_output=True, text=True, check=True
    )
    first, last, peak = done.stdout.split()
    assert (float(first), float(last)) == (1, -3)
    unit = 1 if sys.platform == "darwin" else 1024
    assert int(peak) * unit < GIB
    (data,) = out.parent.glob("*.data")
    assert data.stat().st_size == 3 * GIB
    values = np.memmap(data, np.float32, mode="r")
    assert values[:: 2**28].tolist() == [1, 2, 3]
    assert values[2**28 - 1 :: 2**28].tolist() == [-1, -2, -3]
