"""The training environment: a Python of its own with onnxruntime-training.

It shares none with onnxruntime, because both packages own the folder ``onnxruntime``: in one
environment the one installed last wins, silently.
"""

from __future__ import annotations

import json
import os
import platform
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from graphopt.errors import OutputError, PassError, UsageError
from graphopt.util.progress import Progress

PACKAGE, VERSION = "onnxruntime-training-cpu", "1.19.2"
PLACE = "GRAPHOPT_TRAINER"  # the environment variable that says where it is
MARKER = "graphopt-trainer.json"
NEWEST_PYTHON = (3, 12)  # fixed: for which onnxruntime-training has wheels
PYTHONS = ("3.11", "3.12", "3.10")
# What training needs of what the package asks for, each in the versions that were tried.
REQUIREMENTS = (
    f"{PACKAGE}=={VERSION}",
    "onnx==1.23.2; python_version >= '3.11'",
    "onnx>=1.16,<1.20; python_version < '3.11'",
    "numpy==2.4.6; python_version >= '3.11'",
    "numpy>=1.26,<2.3; python_version < '3.11'",
    "protobuf>=4.25,<8",
    "flatbuffers>=23",
    "packaging>=23",
    "ml_dtypes>=0.4",
    "typing_extensions>=4.8",
)
WHEELS = {  # of the package, by system: the machines there are wheels for
    "Linux": ("x86_64", "AMD64"),
    "Darwin": ("x86_64", "arm64"),
    "Windows": ("AMD64", "x86_64"),
}
TIMEOUT = 900.0  # time: seconds that one step of installing may take


def trainer_path() -> Path:
    """Where the trainer is or goes: ``GRAPHOPT_TRAINER``, else a folder for the user's data."""
    given = os.environ.get(PLACE)
    if given:
        return Path(given).expanduser().absolute()
    return _data_folder() / "graphopt" / f"trainer-{VERSION}"


def _data_folder() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")


def python_of(path: Path) -> Path:
    """The interpreter of an environment."""
    return path / "Scripts" / "python.exe" if sys.platform == "win32" else path / "bin" / "python"


@dataclass(frozen=True)
class Status:
    """An installed trainer that answers."""

    path: Path
    python: str
    versions: Mapping[str, str]
    bytes: int


def require(path: Path) -> Path:
    """The interpreter of the trainer at ``path``; UsageError when there is none."""
    python = python_of(path)
    if not (path / MARKER).is_file() or not python.exists():
        raise UsageError(
            f"there is no trainer at {path}", hint="graphopt trainer install, or --install-trainer"
        )
    return python


def status(path: Path) -> Status:
    """Look at the trainer, and let it train two steps of a tiny model.

    Raises UsageError when there is none, PassError when it is broken or of another version.
    """
    from .selftest import selftest

    reported = selftest(require(path))
    number = reported["versions"].get("onnxruntime", "")
    if number.partition("+")[0] != VERSION:
        raise PassError(
            f"the trainer at {path} has onnxruntime-training {number or 'of no version'}, "
            f"and {VERSION} is needed",
            hint="graphopt trainer install --force",
        )
    size = sum(file.lstat().st_size for file in path.rglob("*") if file.is_file() and not file.is_symlink())
    return Status(path, reported["python"], reported["versions"], size)


def install(
    path: Path, *, python: str | None = None, using: str | None = None, force: bool = False
) -> Status:
    """Make the environment at ``path``, with ``using`` uv or pip (uv when it is there), and try it.

    It appears only when it works.  Raises UsageError when one is there already and ``force`` is not set, or
    when there is no wheel for this machine; OutputError when the folder cannot be written.
    """
    _require_wheel()
    if path.exists() and not force:
        raise UsageError(f"there is a trainer at {path} already", hint="--force replaces it")
    if path.exists() and not (path / MARKER).is_file() and any(path.iterdir()):
        raise UsageError(f"{path} is not a trainer, so it is not replaced", hint="name another folder")
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _make(draft, python, using)
        reported = {"package": PACKAGE, "version": VERSION}
        (draft / MARKER).write_text(json.dumps(reported) + "\n", encoding="utf-8")
        trainer = status(draft)
        if path.exists():
            shutil.rmtree(path)
        draft.replace(path)
    except OSError as error:
        raise OutputError(
            f"the trainer cannot be written to {path}: {error.strerror or error}",
            hint=f"name another folder with --path, or with the environment variable {PLACE}",
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return replace(trainer, path=path)


def install_if_missing(progress: Progress) -> None:
    """Install the trainer when it is not there."""
    path = trainer_path()
    if (path / MARKER).is_file():
        return
    for _ in progress("installing the trainer", range(1), 1):
        install(path)


def remove(path: Path) -> None:
    """Delete the trainer at ``path``, and only a trainer.  Raises UsageError when there is none."""
    if not (path / MARKER).is_file():
        raise UsageError(f"there is no trainer at {path}")
    shutil.rmtree(path)


def _require_wheel() -> None:
    system, machine = platform.system(), platform.machine()
    if machine not in WHEELS.get(system, ()):
        raise UsageError(
            f"{PACKAGE} {VERSION} has no wheel for {system} on {machine}",
            hint='train with PyTorch instead: pip install "graphopt[torch]" and backend=torch',
        )


def _make(path: Path, python: str | None, using: str | None) -> None:
    tool = _find_uv() if using in (None, "uv") else None
    if using == "uv" and tool is None:
        raise UsageError("uv is not installed", hint="use --with pip")
    interpreter = python or _interpreter(tool is not None)
    if tool is not None:
        _run([tool, "venv", "--quiet", "--python", interpreter, str(path)])
        _install([tool, "pip", "install", "--quiet", "--python", str(python_of(path))])
        return
    _run([interpreter, "-m", "venv", str(path)])
    own = str(python_of(path))
    _install([own, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"])
    _run([own, "-m", "pip", "uninstall", "--quiet", "--yes", "pip", "setuptools"])


def _find_uv() -> str | None:
    beside = Path(sys.executable).with_name("uv.exe" if sys.platform == "win32" else "uv")
    return str(beside) if beside.is_file() else shutil.which("uv")


def _interpreter(has_uv: bool) -> str:
    """A Python that there are wheels for: this one, else one on the path, else one that uv finds."""
    if sys.version_info[:2] <= NEWEST_PYTHON:
        return sys.executable
    for version in PYTHONS:
        program = shutil.which(f"python{version}")
        if program:
            return program
    if has_uv:
        return PYTHONS[0]
    raise UsageError(
        f"{PACKAGE} {VERSION} needs Python 3.10 to 3.12, and this is "
        f"{sys.version_info.major}.{sys.version_info.minor}",
        hint="name one with --python, or install uv, which fetches one",
    )


def _install(command: Sequence[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "requirements.txt")
        file.write_text("\n".join(REQUIREMENTS) + "\n", encoding="utf-8")
        _run([*command, "--no-deps", "-r", str(file)])


def _run(command: Sequence[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except FileNotFoundError as error:
        raise UsageError(f"there is no program {command[0]}") from error
    except subprocess.TimeoutExpired as error:
        raise PassError(f"{Path(command[0]).name} did not end within {TIMEOUT:.0f} s") from error
    if done.returncode:
        raise _failed(command, " ".join((done.stderr or done.stdout).split()))


def _failed(command: Sequence[str], text: str) -> UsageError | PassError:
    if PACKAGE in text and any(
        word in text for word in ("No matching distribution", "no wheels", "no version")
    ):
        return UsageError(
            f"there is no wheel of {PACKAGE} {VERSION} for this Python and machine: {text[-200:]}",
            hint="name another Python with --python 3.11, or train with backend=torch",
        )
    return PassError(f"the trainer could not be installed: {Path(command[0]).name} says: {text[-400:]}")
