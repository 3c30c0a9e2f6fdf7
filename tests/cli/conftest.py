"""What tests of the command line share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from graphopt.cli import app

Fails = Callable[..., str]


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Fails:
    """Call the command line, expect a code, one sentence, and every file as it was; returns stderr."""

    def call(code: int, *arguments: object) -> str:
        before = _contents(tmp_path)
        assert app.run([*map(str, arguments)]) == code, capsys.readouterr().err
        caught = capsys.readouterr()
        assert _contents(tmp_path) == before
        assert caught.out == ""
        assert "Traceback" not in caught.err
        errors = [line for line in caught.err.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1
        return caught.err

    return call


def _contents(folder: Path) -> dict[Path, bytes | None]:
    return {path: path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}
