"""A file or folder that lies elsewhere (``s3://``, ``gs://``, ``http(s)://``, ``hdfs://``), through fsspec.

Credentials come from fsspec's own configuration.  Those that stand in a URL (a user, a signed query) are used
to open it and shown nowhere: every text made of it leaves them out.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Any
from urllib.parse import urlsplit

from graphopt.errors import DataError, UsageError

REMOTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
AT_ONCE = 16  # time: files fetched at a time
_URL = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)(?P<user>[^/@\s]*@)?(?P<rest>[^\s?#'\"]*)(?P<query>\?[^\s#'\"]*)?"
)
_DRIVERS = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "http": "aiohttp", "https": "aiohttp"}


def is_remote(text: str) -> bool:
    """Whether a text names something that lies elsewhere."""
    return REMOTE.match(text) is not None


def without_secrets(text: str) -> str:
    """The text with user and query of every URL in it left out."""
    return _URL.sub(lambda url: url["scheme"] + url["rest"], text)


@dataclass(frozen=True)
class Stat:
    """What is known of a file without reading it; ``mark`` changes with its content, empty when unknown."""

    st_size: int
    mark: str = ""


@dataclass(frozen=True, repr=False)
class RemotePath:
    """As much of ``pathlib.Path`` as reading samples needs."""

    url: str

    def __str__(self) -> str:
        return without_secrets(self.url)

    __repr__ = __str__

    @property
    def name(self) -> str:
        """The last part."""
        return urlsplit(self.url).path.rstrip("/").rpartition("/")[2]

    @property
    def suffix(self) -> str:
        """What the name ends in, with its dot."""
        dot = self.name.rfind(".")
        return self.name[dot:] if dot > 0 else ""

    @property
    def parent(self) -> RemotePath:
        """What it lies in."""
        return RemotePath(self.url.partition("?")[0].rstrip("/").rpartition("/")[0])

    def __truediv__(self, name: str) -> RemotePath:
        base, _, query = self.url.partition("?")
        return RemotePath(f"{base.rstrip('/')}/{name}" + (f"?{query}" if query else ""))

    def exists(self) -> bool:
        """Whether it is there; DataError when that cannot be found out."""
        system, path = self._opened()
        return bool(self._try(lambda: system.exists(path)))

    def is_dir(self) -> bool:
        """Whether files lie in it."""
        system, path = self._opened()
        if self.suffix and not self.url.endswith("/"):
            return False
        return bool(self._try(lambda: system.isdir(path)))

    def stat(self) -> Stat:
        """Its size and mark."""
        system, path = self._opened()
        return _stat(self._try(lambda: system.info(path)))

    def open(self, mode: str = "rb") -> IO[bytes]:
        """Its content, read where it is wanted."""
        system, path = self._opened()
        return io.BufferedReader(self._try(lambda: system.open(path, mode)))

    def files(self) -> dict[str, Stat]:
        """All files below it by their relative names, with what is known of them."""
        system, path = self._opened()
        listing = self._try(lambda: system.find(path, detail=True))
        root = str(path).rstrip("/") + "/"
        return {
            name[len(root) :]: _stat(info)
            for name, info in sorted(listing.items())
            if name.startswith(root) and "?" not in name
        }

    def read(self, names: Sequence[str]) -> list[bytes]:
        """The content of files below it, fetched together; DataError that names one that is not there."""
        system, path = self._opened()
        wanted = [f"{str(path).rstrip('/')}/{name}" for name in names]
        answers = self._try(lambda: system.cat(wanted, on_error="return"))
        contents = dict(answers) if isinstance(answers, dict) else {wanted[0]: answers}
        read = []
        for name, full in zip(names, wanted, strict=True):
            content = contents.get(full, contents.get(system._strip_protocol(full)))
            if not isinstance(content, bytes):
                raise DataError(
                    f"{self}/{name} cannot be read: {_reason(content)}", hint="check that it is still there"
                )
            read.append(content)
        return read

    def _opened(self) -> tuple[Any, Any]:
        scheme = self.url.partition("://")[0].lower()
        try:
            from fsspec.core import url_to_fs

            return self._try(lambda: url_to_fs(self.url))
        except ImportError as error:
            install = (
                f'pip install "graphopt[remote]" {_DRIVERS.get(scheme, "and the fsspec package for it")}'
            )
            raise UsageError(f"{self} needs packages that are not installed", hint=install) from error

    def _try(self, action: Any) -> Any:
        try:
            return action()
        except (ImportError, UsageError):
            raise
        except Exception as error:  # every file system raises its own
            raise DataError(
                f"{self} cannot be read: {_reason(error)}",
                hint="check the address, and the credentials in fsspec's configuration",
            ) from None  # the original may show credentials


def _stat(info: Any) -> Stat:
    mark = info.get("ETag") or info.get("etag") or info.get("md5Hash") or info.get("LastModified") or ""
    return Stat(int(info.get("size") or 0), str(mark or info.get("mtime") or ""))


def _reason(error: Any) -> str:
    text = without_secrets(str(error)).splitlines()
    return text[0] if text and text[0] else type(error).__name__
