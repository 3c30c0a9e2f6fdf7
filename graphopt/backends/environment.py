"""Where a backend is installed, in which version, and the command that installs it.

Each has a folder in ``GRAPHOPT_BACKENDS``, else in the user's cache; one that is installed beside graphopt is
used from there.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from graphopt.backends.backend import Backend, find
from graphopt.errors import OutputError, PassError, UsageError
from graphopt.util.files import user_cache

PLACE = "GRAPHOPT_BACKENDS"  # the environment variable that says where environments are
TIMEOUT = 1800.0  # time: seconds that one step of installing may take


@dataclass(frozen=True)
class Installed:
    """A backend that is there: its version, and the program that runs its worker."""

    backend: Backend
    version: str
    program: Path
    folder: Path | None  # of its environment; None when it is beside graphopt


def place() -> Path:
    """The folder of all environments."""
    given = os.environ.get(PLACE)
    return Path(given).expanduser().absolute() if given else user_cache() / "backends"


def installed(name: str) -> Installed | None:
    """The backend as it is installed, or None; nothing is started for it."""
    backend = find(name)
    folder = place() / backend.folder
    if backend.is_node:
        return _node(backend, folder)
    if number := _version_in(folder, backend.package):
        return Installed(backend, number, _python_of(folder), folder)
    try:
        return Installed(backend, version(backend.package), Path(sys.executable), None)
    except PackageNotFoundError:
        return None


def require(name: str, python: str | Path | None = None) -> Installed:
    """The backend as it is installed, or in the environment of ``python``.

    Raises UsageError, which names the command that installs it.
    """
    backend = find(name)
    if python is not None:
        return _given(backend, Path(python))
    there = installed(name)
    if there is None:
        raise UsageError(
            f"{backend.title} is not installed", hint=f"graphopt targets --install {backend.folder}"
        )
    return there


def install(name: str) -> Installed:
    """Make the environment of a backend, which appears only when it is complete.

    Raises UsageError when the backend is there already or node is missing, PassError when pip or npm fails,
    OutputError when the folder cannot be written.
    """
    backend = find(name)
    folder = place() / backend.folder
    if folder.exists():
        raise UsageError(
            f"{backend.title} is installed already, in {folder}", hint=f"to replace it, remove {folder} first"
        )
    draft = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        (_install_node if backend.is_node else _install_python)(backend, draft)
        draft.replace(folder)
    except OSError as error:
        raise OutputError(
            f"{backend.title} cannot be installed in {folder}: {error.strerror or error}",
            hint=f"name another folder by the environment variable {PLACE}",
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return require(name)


def _given(backend: Backend, program: Path) -> Installed:
    program = program.expanduser()
    if not program.is_file():
        raise UsageError(f"there is no program {program} to run {backend.title} with")
    folder = program.absolute().parent.parent
    return Installed(backend, _version_in(folder, backend.package) or "", program, folder)


def _node(backend: Backend, folder: Path) -> Installed | None:
    node = shutil.which("node")
    package = folder / "node_modules" / backend.package / "package.json"
    try:
        text = package.read_text("utf-8")
    except OSError:
        return None
    number = re.search(r'"version": *"([^"]+)"', text)
    return Installed(backend, number[1] if number else "", Path(node), folder) if node else None


def _version_in(folder: Path, package: str) -> str:
    """The version of a distribution in an environment, by the name of its folder; empty when it has none."""
    stem = re.sub(r"[-_.]+", "_", package)
    pattern = re.compile(rf"{re.escape(stem)}-(.+)\.dist-info", re.IGNORECASE)
    for packages in (*folder.glob("lib/python3*/site-packages"), folder / "Lib" / "site-packages"):
        for metadata in packages.glob("*.dist-info"):
            if match := pattern.fullmatch(metadata.name):
                return match[1]
    return ""


def _python_of(folder: Path) -> Path:
    return folder / "Scripts" / "python.exe" if sys.platform == "win32" else folder / "bin" / "python"


def _install_python(backend: Backend, folder: Path) -> None:
    _run(backend, [sys.executable, "-m", "venv", str(folder)])
    pip = [
        str(_python_of(folder)),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-compile",
    ]
    _run(backend, [*pip, *backend.requirements])
    if backend.alone:
        _run(backend, [*pip, "--no-deps", *backend.alone])


def _install_node(backend: Backend, folder: Path) -> None:
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        raise UsageError(
            f"{backend.title} needs node and npm, which are not on the path",
            hint="install Node.js 18 or later",
        )
    folder.mkdir()
    _run(backend, [npm, "install", "--silent", "--prefix", str(folder), *backend.requirements])


def _run(backend: Backend, command: Sequence[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired as error:
        raise PassError(f"installing {backend.title} did not end within {TIMEOUT:.0f} s") from error
    if done.returncode:
        text = " ".join((done.stderr or done.stdout).split())
        raise PassError(
            f"{backend.title} could not be installed: {Path(command[0]).name} says: {text[-400:]}"
        )
