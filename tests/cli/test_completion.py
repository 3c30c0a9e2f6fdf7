"""Shells complete commands, flags, passes with their options and values, targets and files."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from graphopt.cli.app import run
from graphopt.pipeline.spec.completion import spec_candidates
from graphopt.pipeline.spec.registry import passes


@pytest.mark.parametrize(
    ("text", "some"),
    [
        ("", {"clean", "prune", "quant"}),
        ("cl", {"clean"}),
        ("prune:mac", {"prune:macs="}),
        ("prune:macs=0.5,qu", {"prune:macs=0.5,quant"}),
        ("quant:calibrator=mi", {"quant:calibrator=minmax"}),
        ("quant:per_channel=", {"quant:per_channel=true", "quant:per_channel=false"}),
    ],
)
def test_a_spec_is_completed(text: str, some: set[str]) -> None:
    found = spec_candidates(text)
    assert some <= set(found) and all(candidate.startswith(text) for candidate in found)


@pytest.mark.parametrize(
    "text", ["nothing:", "prune:none_such=", "prune:macs=", "zzz", "prune:macs=0.5:macs"]
)
def test_what_leads_nowhere_offers_nothing(text: str) -> None:
    assert spec_candidates(text) == []


def test_every_value_that_is_offered_is_one_of_its_option() -> None:
    tried = 0
    for name in passes().names:
        options = {option.name: option for option in passes().load(name).describe()}
        for start in spec_candidates(f"{name}:"):
            for written in spec_candidates(start):
                key, _, value = written.removeprefix(f"{name}:").partition("=")
                options[key].convert(value)  # a ValueError otherwise
                tried += 1
    assert tried > len(passes().names)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_printed(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--completion", shell]) == 0
    assert "_GRAPHOPT_COMPLETE" in capsys.readouterr().out


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("line", "reply"),
    [
        ("graphopt opt", "optimize"),
        ("graphopt optimize m.onnx --pass", "--passes"),
        ("graphopt optimize m.onnx --passes prune:max_r", "max_ratio="),  # what stands before : is done
        ("graphopt optimize m.onnx --passes quant:calibrator=ent", "entropy"),
        ("graphopt optimize m.onnx --target tens", "tensorrt"),
    ],
)
def test_bash_completes_behind_colons_and_equal_signs(
    line: str, reply: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(["--completion", "bash"])
    command = tmp_path / "graphopt"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m graphopt "$@"\n')
    command.chmod(0o755)
    script = f'{capsys.readouterr().out}\nCOMP_LINE="{line}"; COMP_POINT=${{#COMP_LINE}}\n'
    script += f'_graphopt_completion {command}; printf "%s\\n" "${{COMPREPLY[@]}}"'
    found = subprocess.run(
        ["bash", "--norc", "-c", script], capture_output=True, text=True, env={**os.environ, "COLUMNS": "80"}
    )
    assert found.stdout.split() == [reply], found.stderr
