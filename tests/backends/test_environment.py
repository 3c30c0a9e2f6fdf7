"""Backends are where their environments are, in the version that is there, and never guessed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from graphopt import backends
from graphopt.backends import environment
from graphopt.errors import OutputError, UsageError


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(environment.PLACE, str(tmp_path))
    return tmp_path


def packages(folder: Path) -> Path:
    made = (
        folder / "Lib" / "site-packages"
        if sys.platform == "win32"
        else folder / "lib/python3.11/site-packages"
    )
    made.mkdir(parents=True)
    return made


def test_the_version_is_read_from_the_environment(place: Path) -> None:
    (packages(place / "opencv") / "opencv_python_headless-5.0.0.93.dist-info").mkdir()
    for name in ("opencv", "opencv-classic"):
        found = backends.installed(name)
        assert found is not None and found.version == "5.0.0.93"
        assert found.program.is_relative_to(place / "opencv")


def test_what_is_beside_graphopt_is_used_from_there() -> None:
    found = backends.installed("reference")
    assert found is not None and found.program == Path(sys.executable) and found.folder is None


def test_what_is_missing_names_the_command_that_installs_it() -> None:
    assert backends.installed("iree") is None
    with pytest.raises(UsageError, match="IREE is not installed") as caught:
        backends.require("iree")
    assert caught.value.hint == "graphopt targets --install iree"
    with pytest.raises(UsageError, match="there is no program"):
        backends.require("iree", "/nowhere/python")


def test_an_unknown_backend_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="no backend 'opnvino'; did you mean 'openvino'"):
        backends.find("opnvino")


def test_an_environment_that_is_there_is_not_replaced(place: Path) -> None:
    (place / "mnn").mkdir()
    with pytest.raises(UsageError, match="is installed already"):
        backends.install("mnn")


def test_a_failed_installation_leaves_nothing(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(backend: object, folder: Path) -> None:
        folder.mkdir()
        (folder / "half").touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(environment, "_install_python", fail)
    with pytest.raises(OutputError, match="No space left") as caught:
        backends.install("mnn")
    assert environment.PLACE in caught.value.hint and not list(place.iterdir())


def test_every_backend_has_its_worker_and_lower_bounds() -> None:
    from graphopt.backends import runner

    for backend in backends.BACKENDS.values():
        assert (runner.WORKERS / backend.worker).is_file()
        assert all(">=" in text and "==" not in text for text in (*backend.requirements, *backend.alone))
