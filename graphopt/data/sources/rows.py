"""Row by row reading of ``.npy`` files and ``.npz`` members in constant memory; pickles are never read.

A row is one entry of the first axis.  Plain files and uncompressed members are read where the rows lie,
compressed members in one forward pass.  The ``.npy`` header is read with ``numpy.lib.format``.
"""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

import numpy as np
from numpy.lib import format as npy

from graphopt.data.remote_path import RemotePath
from graphopt.errors import DataError

_LOCAL_HEADER = 30  # bytes of a zip local file header before the name
_SKIP_CHUNK = 1 << 20
_BROKEN = (OSError, EOFError, ValueError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error)


class Rows(Protocol):
    """An array (N, ...) read by rows; `where` names it in errors."""

    @property
    def where(self) -> str:
        """What the array is called in errors."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, ...)"""
        ...

    @property
    def dtype(self) -> np.dtype:
        """The dtype of the rows."""
        ...

    def read(self, indices: Sequence[int]) -> Iterator[np.ndarray]:
        """Yield the rows of ascending `indices`, native byte order, read-only or fresh."""
        ...


@dataclass(frozen=True)
class ArrayRows:
    """Rows of an array in memory."""

    where: str
    array: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, ...)"""
        return self.array.shape

    @property
    def dtype(self) -> np.dtype:
        """The dtype of the rows, in native byte order."""
        native: np.dtype = self.array.dtype.newbyteorder("=")
        return native

    def read(self, indices: Sequence[int]) -> Iterator[np.ndarray]:
        """Yield the rows of `indices`."""
        for index in indices:
            yield self.array[index].astype(self.dtype, copy=False)


@dataclass(frozen=True)
class FileRows:
    """Rows of an array stored in C order: at `offset` of a file, or in a compressed member of an ``.npz``."""

    where: str
    path: Path | RemotePath
    stored: np.dtype
    shape: tuple[int, ...]
    offset: int
    member: str | None = None  # a compressed member: offset counts inside it

    @property
    def dtype(self) -> np.dtype:
        """The dtype of the rows, in native byte order."""
        native: np.dtype = self.stored.newbyteorder("=")
        return native

    def read(self, indices: Sequence[int]) -> Iterator[np.ndarray]:
        """Yield the rows of ascending `indices`, one at a time in memory."""
        row_bytes = math.prod(self.shape[1:]) * self.stored.itemsize
        try:
            with _opened(self.path, self.member) as stream:
                for index in indices:
                    _move_to(stream, self.offset + index * row_bytes)
                    row = np.frombuffer(_exactly(stream, row_bytes), self.stored)
                    yield row.reshape(self.shape[1:]).astype(self.dtype, copy=False)
        except _BROKEN as error:
            raise DataError(f"{self.where} is damaged: {error}", hint="write the file again") from error


def read_all(rows: Rows) -> np.ndarray:
    """The whole array, for what is small: labels and constants."""
    return (
        np.stack(list(rows.read(range(rows.shape[0])))) if rows.shape[0] else np.empty(rows.shape, rows.dtype)
    )


def open_npy(path: Path | RemotePath) -> Rows:
    """The rows of an ``.npy`` file.  Raises DataError for damaged files and arrays of objects."""
    try:
        with path.open("rb") as stream:
            size = path.stat().st_size
            return _open_array(stream, str(path), path, 0, size)
    except _BROKEN as error:
        raise DataError(
            f"{path} is not a readable .npy file: {error}", hint="write it with numpy.save"
        ) from error


def open_npz(path: Path | RemotePath) -> dict[str, Rows]:
    """The arrays of an ``.npz`` by name.  Raises DataError for damaged files and arrays of objects."""
    arrays: dict[str, Rows] = {}
    try:
        with path.open("rb") as whole, zipfile.ZipFile(whole) as archive:
            for info in archive.infolist():
                if info.filename.endswith(".npy"):
                    name = info.filename[: -len(".npy")]
                    arrays[name] = _open_member(archive, info, path, f"array '{name}' of {path}")
    except _BROKEN as error:
        raise DataError(
            f"{path} is not a readable .npz file: {error}", hint="write it with numpy.savez"
        ) from error
    if not arrays:
        raise DataError(f"{path} holds no arrays", hint="write it with numpy.savez(path, input_name=array)")
    return arrays


def _open_member(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path | RemotePath, where: str
) -> Rows:
    with archive.open(info) as stream:
        if info.compress_type != zipfile.ZIP_STORED:
            return _open_array(stream, where, path, 0, info.file_size, member=info.filename)
        with path.open("rb") as plain:
            plain.seek(info.header_offset)
            header = plain.read(_LOCAL_HEADER)
        start = info.header_offset + _LOCAL_HEADER
        start += int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
        return _open_array(stream, where, path, start, info.file_size)


def _open_array(
    stream: IO[bytes], where: str, path: Path | RemotePath, start: int, size: int, member: str | None = None
) -> Rows:
    version = npy.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise DataError(
            f"{where} has the .npy version {version}, which only records use", hint="save a plain array"
        )
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read_header(stream)
    if dtype.kind not in "biuf":
        raise DataError(
            f"{where} holds {dtype}, which is not a plain number type", hint="save float32 or uint8 arrays"
        )
    offset = stream.tell()
    needed = math.prod(shape) * dtype.itemsize
    if min(shape, default=1) < 0 or offset + needed > size:
        raise DataError(f"{where} is shorter than its shape {shape} says", hint="write the file again")
    if not shape or (fortran and len(shape) > 1):
        # scalars, and columns that lie apart: the rows exist only once all is read
        raw = np.frombuffer(_exactly(stream, needed), dtype)
        return ArrayRows(where, raw.reshape(shape, order="F" if fortran else "C"))
    return FileRows(where, path, dtype, shape, start + offset, member)


class _Member:
    """A member of a zip archive together with the archive that must stay open behind it."""

    def __init__(self, path: Path | RemotePath, member: str) -> None:
        self._file = path.open("rb")
        self._archive = zipfile.ZipFile(self._file)
        self._stream = self._archive.open(member)

    def __enter__(self) -> IO[bytes]:
        return self._stream

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        self._archive.close()
        self._file.close()


def _opened(path: Path | RemotePath, member: str | None) -> IO[bytes] | _Member:
    return path.open("rb") if member is None else _Member(path, member)


def _move_to(stream: IO[bytes], position: int) -> None:
    if isinstance(stream, io.BufferedReader):
        stream.seek(position)
        return
    while (gap := position - stream.tell()) > 0:
        if not stream.read(min(gap, _SKIP_CHUNK)):
            raise EOFError("it ends early")


def _exactly(stream: IO[bytes], count: int) -> bytes:
    parts = []
    while count > 0:
        part = stream.read(count)
        if not part:
            raise EOFError("it ends early")
        parts.append(part)
        count -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
