"""Image files that lie elsewhere: in a folder, or in the ``.tar`` shards of one (WebDataset layout)."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from graphopt.data.feeder import content_key
from graphopt.data.labels import TABLE
from graphopt.data.remote_path import AT_ONCE, RemotePath, Stat
from graphopt.errors import DataError

CLASS = ".cls"  # of a WebDataset member with the class number of the image of the same name


@dataclass(frozen=True)
class RemoteFolder:
    """Images below a remote folder; only those that are wanted are fetched, a few together."""

    where: str
    root: RemotePath
    names: tuple[str, ...]
    stats: tuple[Stat, ...]
    table_names: tuple[str, ...] = ()

    def order(self, indices: Sequence[int]) -> list[int]:
        """`indices` sorted."""
        return sorted(indices)

    def read(self, indices: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        """Yield the files of `indices` in sorted order; DataError for one that is gone or has changed."""
        ordered = self.order(indices)
        for start in range(0, len(ordered), AT_ONCE):
            some = ordered[start : start + AT_ONCE]
            for index, content in zip(some, self.root.read([self.names[i] for i in some]), strict=True):
                _refuse_change(self.root / self.names[index], self.stats[index], len(content))
                yield index, content

    def keys(self, indices: Sequence[int]) -> Iterator[str]:
        """Yield what changes with the content of each file, without fetching it where the store knows."""
        for index in self.order(indices):
            stat = self.stats[index]
            if stat.mark:
                yield content_key(f"{self.root / self.names[index]} {stat.st_size} {stat.mark}".encode())
            else:
                ((_, content),) = self.read([index])
                yield content_key(content)

    def tables(self) -> Mapping[str, bytes]:
        """The content of every ``labels.csv``."""
        return (
            dict(zip(self.table_names, self.root.read(self.table_names), strict=True))
            if self.table_names
            else {}
        )


@dataclass(frozen=True)
class Shard:
    """A ``.tar`` and where its images lie in it: (offset, bytes) of each."""

    path: RemotePath
    stat: Stat
    names: tuple[str, ...]
    places: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class RemoteShards:
    """The images of several ``.tar`` files; of each only the bytes of those that are wanted are fetched."""

    where: str
    shards: tuple[Shard, ...]
    names: tuple[str, ...]
    table_contents: Mapping[str, bytes]

    def order(self, indices: Sequence[int]) -> list[int]:
        """`indices` sorted: shard by shard."""
        return sorted(indices)

    def read(self, indices: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        """Yield the images of `indices`, shard by shard as they lie there."""
        wanted, first = self.order(indices), 0
        for shard in self.shards:
            own = [index for index in wanted if first <= index < first + len(shard.names)]
            if own:
                _refuse_change(shard.path, shard.stat, shard.path.stat().st_size)
                with shard.path.open() as stream:
                    for index in own:
                        offset, size = shard.places[index - first]
                        stream.seek(offset)
                        content = stream.read(size)
                        if len(content) < size:
                            raise DataError(f"{shard.path} ends inside {shard.names[index - first]}")
                        yield index, content
            first += len(shard.names)

    def tables(self) -> Mapping[str, bytes]:
        """The labels of the shards as one ``labels.csv``."""
        return self.table_contents


def open_remote(path: RemotePath, folder: str, suffixes: Sequence[str]) -> RemoteFolder | RemoteShards:
    """List the images of a remote folder, of its ``.tar`` shards, or of one shard.

    Raises DataError when there is nothing to read.
    """
    if path.name.lower().endswith(".tar"):
        return _shards(path.parent, {path.name: path.stat()}, path, suffixes)
    root = path / folder.strip("/") if folder.strip("/") else path
    stats = root.files()
    names = tuple(name for name in stats if _is_image(name, suffixes))
    if not names:
        tars = {name: stat for name, stat in stats.items() if name.lower().endswith(".tar")}
        if tars:
            return _shards(root, tars, root, suffixes)
        raise DataError(
            f"{root} has no images ({', '.join(suffixes)}) and no .tar shards", hint="check the address"
        )
    tables = tuple(name for name in stats if PurePosixPath(name).name == TABLE)
    return RemoteFolder(str(root), root, names, tuple(stats[name] for name in names), tables)


def _shards(
    root: RemotePath, stats: Mapping[str, Stat], where: RemotePath, suffixes: Sequence[str]
) -> RemoteShards:
    shards: list[Shard] = []
    classes: dict[str, int] = {}
    for name, stat in stats.items():
        shard, own = _index(where if where.name == name else root / name, stat, suffixes)
        shards.append(shard)
        classes |= {f"{name}/{member}": number for member, number in own.items()}
    names = tuple(f"{shard.path.name}/{name}" for shard in shards for name in shard.names)
    if not names:
        raise DataError(f"the shards of {where} hold no images", hint="check the address")
    return RemoteShards(str(where), tuple(shards), names, _table(names, classes))


def _index(path: RemotePath, stat: Stat, suffixes: Sequence[str]) -> tuple[Shard, dict[str, int]]:
    """Where the images of a shard lie, and the classes by the names of members without their endings."""
    places: dict[str, tuple[int, int]] = {}
    classes: dict[str, int] = {}
    try:
        with path.open() as stream, tarfile.open(fileobj=stream, mode="r:") as archive:
            for info in archive:
                if info.isreg() and _is_image(info.name, suffixes):
                    places[info.name] = (info.offset_data, info.size)
                elif info.isreg() and info.name.endswith(CLASS):
                    content = archive.extractfile(info)
                    assert content is not None  # regular members have content
                    classes[info.name.removesuffix(CLASS)] = int(content.read(32))
    except (tarfile.TarError, EOFError, ValueError, OSError) as error:
        raise DataError(f"{path} is not a readable archive: {error}", hint="make it again") from error
    return Shard(path, stat, tuple(places), tuple(places.values())), classes


def _table(names: Sequence[str], classes: Mapping[str, int]) -> dict[str, bytes]:
    """A ``labels.csv`` of the classes of all images, where each has one."""
    stems = [name.rpartition(".")[0] for name in names]
    if not all(stem in classes for stem in stems):
        return {}
    lines = [f'"{name}",{classes[stem]}' for name, stem in zip(names, stems, strict=True)]
    return {TABLE: "\n".join(["file,label", *lines]).encode()}


def _refuse_change(path: RemotePath, stat: Stat, size: int) -> None:
    if stat.st_size and stat.st_size != size:
        raise DataError(
            f"{path} has changed since the run began: {size} bytes, not {stat.st_size}",
            hint="start again when nobody writes to it",
        )


def _is_image(name: str, suffixes: Sequence[str]) -> bool:
    path = PurePosixPath(name)
    return path.suffix.lower() in suffixes and not any(part.startswith(".") for part in path.parts)
