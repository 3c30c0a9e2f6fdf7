"""Image files of a folder, a ``.tar`` (also compressed) or a ``.zip``; archives are not extracted."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, Protocol, cast

from graphopt.data.labels import TABLE
from graphopt.data.remote_path import RemotePath
from graphopt.data.sources.remote import open_remote
from graphopt.errors import DataError

SUFFIXES = (
    ".bmp", ".gif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp",
)  # fmt: skip
ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".zip")
_LARGEST = 1 << 30  # bytes of one image file; more is damage or an attack
_BROKEN = (
    OSError, EOFError, ValueError, RuntimeError, NotImplementedError,
    tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError,
)  # fmt: skip
_COMPRESSED: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
}


class ImageFiles(Protocol):
    """Image files with sorted `names` (relative, ``/``) and the label `tables` that lie among them."""

    @property
    def where(self) -> str:
        """What the files are called in errors."""
        ...

    @property
    def names(self) -> Sequence[str]:
        """Sorted names of the images."""
        ...

    def order(self, indices: Sequence[int]) -> list[int]:
        """`indices` in the order in which the files are stored."""
        ...

    def read(self, indices: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        """Yield (index, file content) for `indices`, in the order in which the files are stored."""
        ...

    def tables(self) -> Mapping[str, bytes]:
        """The content of every ``labels.csv``."""
        ...


@dataclass(frozen=True)
class FolderFiles:
    """Files below a folder."""

    where: str
    root: Path
    names: tuple[str, ...]
    table_names: tuple[str, ...] = ()

    def order(self, indices: Sequence[int]) -> list[int]:
        """`indices` sorted."""
        return sorted(indices)

    def read(self, indices: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        """Yield the files of `indices` in sorted order."""
        for index in sorted(indices):
            yield index, _content(self.root / self.names[index])

    def tables(self) -> Mapping[str, bytes]:
        """The content of every ``labels.csv``."""
        return {name: _content(self.root / name) for name in self.table_names}


@dataclass(frozen=True)
class TarFiles:
    """Members of a tar archive, read in one forward pass."""

    where: str
    path: Path
    names: tuple[str, ...]
    places: tuple[tuple[int, int], ...]  # (offset, bytes) of each image
    table_contents: Mapping[str, bytes]

    def order(self, indices: Sequence[int]) -> list[int]:
        """`indices` as they lie in the archive."""
        return sorted(indices, key=lambda index: self.places[index])

    def read(self, indices: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        """Yield the files of `indices` in the order of the archive."""
        try:
            with _decompressed(self.path) as stream:
                for index in self.order(indices):
                    offset, size = self.places[index]
                    stream.seek(offset)
                    content = stream.read(size)
                    if len(content) < size:
                        raise EOFError(f"it ends inside {self.names[index]}")
                    yield index, content
        except _BROKEN as error:
            raise DataError(f"{self.path} is damaged: {error}", hint="make the archive again") from error

    def tables(self) -> Mapping[str, bytes]:
        """The content of every ``labels.csv``."""
        return self.table_contents


@dataclass(frozen=True)
class ZipFiles:
    """Members of a zip archive."""

    where: str
    path: Path
    names: tuple[str, ...]
    members: tuple[str, ...]  # the names inside the archive
    table_contents: Mapping[str, bytes]

    def order(self, indices: Sequence[int]) -> list[int]:
        """`indices` sorted."""
        return sorted(indices)

    def read(self, indices: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        """Yield the files of `indices` in sorted order."""
        try:
            with zipfile.ZipFile(self.path) as archive:
                for index in sorted(indices):
                    yield index, archive.read(self.members[index])
        except _BROKEN as error:
            raise DataError(f"{self.path} is damaged: {error}", hint="make the archive again") from error

    def tables(self) -> Mapping[str, bytes]:
        """The content of every ``labels.csv``."""
        return self.table_contents


def open_images(path: Path | RemotePath, folder: str = "") -> ImageFiles:
    """List the images of `path` (a folder, an archive or one image), or of `folder` inside it.

    Raises DataError when there is nothing to read, or when an archive is damaged or has members that point
    outside it.
    """
    if isinstance(path, RemotePath):
        return open_remote(path, folder, SUFFIXES)
    prefix = f"{folder.strip('/')}/" if folder.strip("/") else ""
    if path.is_dir():
        files = _open_folder(path, prefix)
    elif path.suffix.lower() in SUFFIXES:
        return FolderFiles(str(path), path.parent, (path.name,))
    else:
        try:
            files = _open_zip(path, prefix) if path.suffix.lower() == ".zip" else _open_tar(path, prefix)
        except _BROKEN as error:
            raise DataError(
                f"{path} is not a readable archive: {error}", hint="make the archive again"
            ) from error
    if not files.names:
        raise DataError(
            f"{files.where} has no images ({', '.join(SUFFIXES)})", hint="give a folder or archive of images"
        )
    return files


def _open_folder(path: Path, prefix: str) -> ImageFiles:
    root = path / prefix
    if not root.is_dir():
        raise DataError(f"there is no folder {prefix.rstrip('/')} in {path}", hint="check what follows the #")
    listing = sorted(_walk(root))
    names = tuple(name for name in listing if _is_image(name))
    return FolderFiles(str(root), root, names, tuple(name for name in listing if _is_table(name)))


def _walk(root: Path) -> Iterator[str]:
    """Relative names of all files; folders behind links are entered, each real folder once."""
    seen: set[str] = set()
    for top, folders, files in os.walk(root, onerror=_unreadable, followlinks=True):
        real = os.path.realpath(top)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        yield from ((Path(top) / file).relative_to(root).as_posix() for file in files)


def _unreadable(error: OSError) -> None:
    raise DataError(
        f"the folder {error.filename} cannot be read: {error}", hint="check its permissions"
    ) from error


def _open_tar(path: Path, prefix: str) -> ImageFiles:
    images: dict[str, tuple[int, int]] = {}
    tables: dict[str, bytes] = {}
    with _decompressed(path) as stream, tarfile.open(fileobj=stream, mode="r:") as archive:
        for info in archive:
            if not info.isreg() or info.issparse():
                continue
            name = _inside(info.name, info.size, prefix, path)
            if name and _is_image(name):
                images[name] = (info.offset_data, info.size)
            elif name and _is_table(name):
                content = archive.extractfile(info)
                assert content is not None  # regular members have content
                tables[name] = content.read()
    names = tuple(sorted(images))
    return TarFiles(_place(path, prefix), path, names, tuple(images[name] for name in names), tables)


def _open_zip(path: Path, prefix: str) -> ImageFiles:
    images: dict[str, str] = {}
    tables: dict[str, bytes] = {}
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if info.is_dir():
                continue
            name = _inside(info.filename, info.file_size, prefix, path)
            if name and _is_image(name):
                images[name] = info.filename
            elif name and _is_table(name):
                tables[name] = archive.read(info)
    names = tuple(sorted(images))
    return ZipFiles(_place(path, prefix), path, names, tuple(images[name] for name in names), tables)


def _inside(member: str, size: int, prefix: str, path: Path) -> str | None:
    """The member's name below `prefix`, None when it lies elsewhere; refuses members that escape."""
    name = PurePosixPath(member.replace("\\", "/"))
    if name.is_absolute() or ".." in name.parts or (name.parts and name.parts[0].endswith(":")):
        raise DataError(
            f"{path} has a member that points outside the archive: {member}", hint="make the archive again"
        )
    if size > _LARGEST:
        raise DataError(f"{path} has a member of {size} bytes: {member}", hint="leave out files of over 1 GB")
    text = name.as_posix()
    return text[len(prefix) :] if text.startswith(prefix) else None


def _decompressed(path: Path) -> IO[bytes]:
    with path.open("rb") as plain:
        magic = plain.read(6)
    for start, opener in _COMPRESSED.items():
        if magic.startswith(start):
            return cast(IO[bytes], opener(path, "rb"))
    return path.open("rb")


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error}", hint="check the file and its permissions"
        ) from error


def _is_image(name: str) -> bool:
    """Image by suffix; hidden files and what macOS adds to archives do not count."""
    path = PurePosixPath(name)
    return path.suffix.lower() in SUFFIXES and not any(p.startswith((".", "__MACOSX")) for p in path.parts)


def _is_table(name: str) -> bool:
    return PurePosixPath(name).name == TABLE


def _place(path: Path, prefix: str) -> str:
    return f"{path}#{prefix.rstrip('/')}" if prefix else str(path)
