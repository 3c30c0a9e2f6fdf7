"""A run that named no passes ends with what --passes auto would try."""

from __future__ import annotations

from pathlib import Path

import pytest

from graphopt import targets
from graphopt.cli.app import run


@pytest.mark.parametrize("named", [False, True])
def test_the_last_line_says_what_auto_would_try(
    named: bool, tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    passes = ["--passes", "clean"] if named else []
    assert run(["optimize", str(tiny), *passes, "--no-latency", "-o", str(tmp_path / "out.onnx")]) == 0
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert ("--passes auto" in last) is not named
    assert named or all(name in last for name in targets.load("ort-cpu").auto)
