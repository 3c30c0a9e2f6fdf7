"""The weight store: payloads stay in their files until somebody reads them."""

from __future__ import annotations

import hashlib
import math
import mmap
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from graphopt.errors import ModelError
from graphopt.ir.declared import as_dtype
from graphopt.ir.io.wire import DETACH_BYTES, Buffer

if TYPE_CHECKING:
    from graphopt.ir.tensor import Constant

Array = NDArray[Any]
DIGEST_CHUNK = 16 * 2**20


class Weights:
    """Payloads of one model: views into mapped files, or arrays that passes made.

    A TensorProto refers to a payload by a marker in its ``external_data``; the marker's key is drawn
    at random for each store, so that a file cannot forge one.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.marker = f"graphopt.payload.{secrets.token_hex(8)}"
        self.folder = folder
        self.payloads: list[Buffer] = []
        self.paths: list[Path] = []  # of the files that are mapped: the model and its external data
        self._files: dict[str, memoryview] = {}
        self._maps: list[mmap.mmap] = []
        self._inlined: dict[tuple[str, ...], int] = {}  # payload numbers of external data

    @property
    def is_external(self) -> bool:
        """Whether tensors of the file keep their data in other files."""
        return bool(self._files)

    def keep(self, payload: Buffer) -> int:
        """Store ``payload`` and return its number."""
        self.payloads.append(payload)
        return len(self.payloads) - 1

    def buffer(self, proto: TensorProto) -> Buffer | None:
        """Return the payload of a tensor that lives in this store or in an external file."""
        for entry in proto.external_data:
            if entry.key == self.marker:
                return self.payloads[int(entry.value)]
        if proto.data_location == TensorProto.EXTERNAL:
            return self._external(proto)
        return None

    def array(self, proto: TensorProto) -> Array:
        """Return the values of a tensor as a read-only array; nothing is copied where the type allows.

        Raises ModelError when external data is missing, too short or outside the model's folder.
        """
        payload = self.buffer(proto)
        if payload is None:
            values = _decoded(proto)
        elif (plain := _plain_dtype(proto)) is not None:
            values = _view(payload, plain, tuple(proto.dims), proto.name)
        else:
            packed = TensorProto(dims=proto.dims, data_type=proto.data_type, raw_data=bytes(payload))
            values = _decoded(packed)
        values.flags.writeable = False
        return values

    def proto(self, name: str, values: Array, like: TensorProto | None = None) -> TensorProto:
        """Return a TensorProto for ``values``; a large payload is kept here and only referred to."""
        made = TensorProto(name=name, dims=values.shape, data_type=_element_type(values.dtype))
        if like is not None:
            made.doc_string = like.doc_string
            made.metadata_props.extend(like.metadata_props)
        if values.nbytes < DETACH_BYTES or _plain_dtype(made) is None:
            full = onnx.numpy_helper.from_array(values, name)
            full.MergeFrom(TensorProto(doc_string=made.doc_string, metadata_props=made.metadata_props))
            return full
        payload = _bytes_of(values)
        made.external_data.add(key=self.marker, value=str(self.keep(payload)))
        return made

    def nbytes(self, proto: TensorProto) -> int:
        """Size of a tensor's payload in bytes, as it is or would be in ``raw_data``."""
        payload = self.buffer(proto)
        if payload is not None:
            return len(payload)
        if proto.data_type == TensorProto.STRING:
            return sum(map(len, proto.string_data))
        return len(proto.raw_data) or _raw_bytes(proto)

    def is_marked(self, proto: TensorProto) -> bool:
        """Whether the payload belongs into the model's own message."""
        return any(entry.key == self.marker for entry in proto.external_data)

    def is_held(self, proto: TensorProto) -> bool:
        """Whether the payload stands outside the proto: in this store or in an external file."""
        return self.is_marked(proto) or proto.data_location == TensorProto.EXTERNAL

    def digest(self, tensor: Constant) -> bytes:
        """A hash of a constant's bytes, read piece by piece."""
        values = np.ascontiguousarray(tensor.values)
        if values.dtype == object:
            return repr(values.tolist()).encode()
        data = _bytes_of(values)
        digest = hashlib.blake2b(digest_size=16)
        for start in range(0, len(data), DIGEST_CHUNK):
            digest.update(data[start : start + DIGEST_CHUNK])
            if len(data) > DIGEST_CHUNK:
                self.release()
        return digest.digest()

    def release(self) -> None:
        """Give mapped pages back to the system; they are read again when needed."""
        for mapped in self._maps:
            if hasattr(mapped, "madvise"):
                mapped.madvise(mmap.MADV_DONTNEED)

    def inline(self, proto: TensorProto) -> TensorProto:
        """Return ``proto`` with an external payload turned into a marker of this store."""
        if proto.data_location != TensorProto.EXTERNAL:
            return proto
        place = tuple(entry.value for entry in proto.external_data)
        if place not in self._inlined:
            self._inlined[place] = self.keep(self._external(proto))
        made = TensorProto()
        made.CopyFrom(proto)
        made.ClearField("data_location")
        del made.external_data[:]
        made.external_data.add(key=self.marker, value=str(self._inlined[place]))
        return made

    def embed(self, proto: TensorProto) -> None:
        """Move an external payload into the message, for tensors that stand where no marker is found."""
        payload = bytes(self._external(proto))
        proto.ClearField("data_location")
        del proto.external_data[:]
        proto.raw_data = payload

    def _external(self, proto: TensorProto) -> Buffer:
        entries = {entry.key: entry.value for entry in proto.external_data}
        data = self._open(proto.name, entries.get("location", ""))
        try:
            offset = int(entries.get("offset", 0) or 0)
            length = int(entries.get("length", 0) or 0) or _raw_bytes(proto)
        except ValueError:
            raise ModelError(f"the external data of tensor '{proto.name}' has no readable position") from None
        if offset < 0 or length < 0 or offset + length > len(data):
            raise ModelError(
                f"the external data of tensor '{proto.name}' ends at byte {offset + length}, "
                f"but its file has only {len(data)} bytes",
                hint="copy the data file again; it is shorter than the model promises",
            )
        return data[offset : offset + length]

    def _open(self, tensor: str, location: str) -> memoryview:
        """Map an external file; it must lie in the model's folder."""
        if location in self._files:
            return self._files[location]
        if self.folder is None:
            raise ModelError(
                f"tensor '{tensor}' keeps its data in a file, but the model came without a folder",
                hint="load the model from its file",
            )
        root = self.folder.resolve()
        path = (root / location).resolve()
        if not location or not path.is_relative_to(root):
            raise ModelError(
                f"tensor '{tensor}' wants its data from '{location}', which lies outside the model's folder",
                hint="external data must lie beside the model; a file that asks for more is not trusted",
            )
        if not path.is_file():
            raise ModelError(
                f"the external data file '{location}' of tensor '{tensor}' is missing",
                hint=f"put it into {self.folder}",
            )
        self._files[location] = self.map(path)
        return self._files[location]

    def map(self, path: Path) -> memoryview:
        """Map a file for reading; an empty file gives an empty view."""
        self.paths.append(path)
        with path.open("rb") as file:
            if path.stat().st_size == 0:
                return memoryview(b"")
            self._maps.append(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        return memoryview(self._maps[-1])


def _bytes_of(values: Array) -> memoryview:
    return memoryview(np.ascontiguousarray(values).reshape(-1).view(np.uint8))  # type: ignore[arg-type]


def _element_type(dtype: np.dtype[Any]) -> int:
    return onnx.helper.np_dtype_to_tensor_dtype(dtype)


def _plain_dtype(proto: TensorProto) -> np.dtype[Any] | None:
    """The numpy type whose bytes are the payload's; None for strings and types packed below a byte."""
    if proto.data_type == TensorProto.STRING or _bits(proto.data_type) < 8:
        return None
    return as_dtype(proto.data_type)


def _bits(element_type: int) -> int:
    """Width of one element in ``raw_data``."""
    dtype = as_dtype(element_type)
    name = TensorProto.DataType.Name(element_type)
    return next((bits for prefix, bits in _NARROW if name.startswith(prefix)), 8 * dtype.itemsize)


_NARROW = (("INT4", 4), ("UINT4", 4), ("FLOAT4", 4), ("INT2", 2), ("UINT2", 2), ("FLOAT6", 6))


def _raw_bytes(proto: TensorProto) -> int:
    """Bytes of a payload whose length the file does not tell."""
    return -(-math.prod(proto.dims) * _bits(proto.data_type) // 8)


def _decoded(proto: TensorProto) -> Array:
    """Return the values in a message; text that is not UTF-8 stays bytes."""
    try:
        return np.asarray(onnx.numpy_helper.to_array(proto))
    except UnicodeDecodeError:
        return np.array(list(proto.string_data), object).reshape(tuple(proto.dims))
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"the values of tensor '{proto.name}' cannot be read: {error}") from error


def _view(payload: Buffer, dtype: np.dtype[Any], shape: tuple[int, ...], name: str) -> Array:
    count = math.prod(shape)
    if count * dtype.itemsize != len(payload):
        raise ModelError(
            f"tensor '{name}' of shape {list(shape)} needs {count * dtype.itemsize} bytes, not {len(payload)}"
        )
    if len(payload) == 0:
        return np.empty(shape, dtype)
    return np.frombuffer(payload, np.uint8).view(dtype).reshape(shape)
