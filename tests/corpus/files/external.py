"""Models whose weights lie in files beside them: a small one of every layout, and one beyond 2 GB."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np
import onnx
from onnx import TensorProto

from tests.corpus._net import Net

PAGE = 4096
GIB = 2**30


def _refer(tensor: TensorProto, location: str, **entries: int | str) -> None:
    """Turn a tensor into a reference to a file; its values are dropped."""
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    del tensor.external_data[:]
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=str(value))


def _outline(tensor: TensorProto, folder: Path, location: str, align: int = 1, **extra: str) -> None:
    """Append a tensor's bytes to a file at a multiple of `align`, and refer to them."""
    path = folder / location
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = tensor.raw_data
    with path.open("ab") as file:
        file.write(bytes(-file.tell() % align))
        offset = file.tell()
        file.write(raw)
    _refer(tensor, location, offset=offset, length=len(raw), **extra)


def inline_model() -> onnx.ModelProto:
    """Give the model that `write_external` writes, weights inside: the values to compare with."""
    net = Net()
    y = net.input(shape=("N", 8))
    for name in ("aligned", "unaligned", "nested", "whole_file", "inline"):
        y = net.op("MatMul", y, net.random(8, 8, name=name))
    y = net.op(
        "Add", y, net.op("Constant", name="constant", value=net.rng.standard_normal(8).astype(np.float32))
    )
    branches = {}
    for key in ("then_branch", "else_branch"):
        body = net.body()
        branches[key] = body.graph(body.op("Add", y, body.random(8, name=f"{key}.shift")), name=key)
    y = net.op("If", net.input("condition", (), np.bool_), **branches)
    return net.model(net.tell(y, ("N", 8)), net.tell(net.const(np.arange(3), "listed"), (3,), np.int64))


def write_external(folder: Path) -> Path:
    """Write a small model with external data in `folder` and return its path.

    Tensors share a file at aligned and unaligned offsets, one lies in a sub-folder, one is a file without
    offset or length, one stays inside; a Constant node and the initializers of If branches are outside too.
    """
    model = inline_model()
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    _outline(tensors["unaligned"], folder, "weights.bin")
    _outline(tensors["listed"], folder, "weights.bin", 3)
    _outline(
        tensors["aligned"], folder, "weights.bin", PAGE, checksum="0123456789abcdef0123456789abcdef01234567"
    )
    _outline(tensors["nested"], folder, "more/weights of layer 3.bin", PAGE)
    (folder / "whole.bin").write_bytes(tensors["whole_file"].raw_data)
    _refer(tensors["whole_file"], "whole.bin")
    for node in model.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Constant":
                _outline(attribute.t, folder, "weights.bin")
            for tensor in attribute.g.initializer if node.op_type == "If" else ():
                _outline(tensor, folder, "weights.bin", 64)
    path = folder / "small.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def _mark(file: BinaryIO, place: int, value: float) -> None:
    file.seek(place)
    file.write(np.float32(value).tobytes())


def write_large_external(folder: Path, tables: int = 3) -> Path:
    """Write a model with `tables` GiB of weights in `folder` within a moment, and return its path.

    The data file is sparse (nothing but its marks takes room on disk): all zeros save the first and the last
    element of table ``i``, which are ``i + 1`` and ``-(i + 1)``. Row ``ids`` of each table is summed.
    """
    net = Net()
    ids = net.input("ids", (1,), np.int64)
    shape = (GIB // 4096, 1024)
    with (folder / "large.bin").open("wb") as file:
        file.truncate(tables * GIB)
        for table in range(tables):
            _mark(file, table * GIB, table + 1)
            _mark(file, (table + 1) * GIB - 4, -(table + 1))
            name = net.tell(f"table{table}", shape)
            tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape)
            _refer(tensor, "large.bin", offset=table * GIB, length=GIB)
            net.initializers[name] = tensor
    rows = [net.op("Gather", name, ids) for name in net.initializers]
    model = net.model(net.tell(net.op("Sum", *rows), (1, shape[1])))
    path = folder / "large.onnx"
    path.write_bytes(model.SerializeToString())
    return path
