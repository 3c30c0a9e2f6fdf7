"""Every command on the pages runs as it stands, in a folder that holds nothing but the sample models."""

from __future__ import annotations

import importlib.util
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from graphopt.cli import app

_SPEC = importlib.util.spec_from_file_location("docs_pages", Path(__file__).with_name("pages.py"))
assert _SPEC is not None and _SPEC.loader is not None
docs = importlib.util.module_from_spec(_SPEC)
sys.modules["docs_pages"] = docs  # dataclasses look their module up
_SPEC.loader.exec_module(docs)

PAGES = [page for page in docs.pages() if page.exists() and list(docs.commands(page.read_text("utf-8")))]


def _name(page: Path) -> str:
    return str(page.relative_to(docs.ROOT))


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_commands_run(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("models", "examples"):
        shutil.copytree(docs.ROOT / folder, tmp_path / folder)
    monkeypatch.chdir(tmp_path)
    ran = 0
    for command in docs.commands(page.read_text("utf-8")):
        if command.reason:
            continue
        code = app.run(shlex.split(command.text)[1:])
        told = capsys.readouterr()
        assert code == 0, f"{_name(page)}:{command.line}: {command.text}\n{told.err}"
        ran += 1
    if not ran:
        pytest.skip("; ".join({command.reason for command in docs.commands(page.read_text("utf-8"))}))


def test_commands_are_found() -> None:
    text = "x\n```bash\n$ graphopt passes  # all\npip install x\ngraphopt inspect \\\n  a.onnx\n```\n"
    text += "<!-- not run: why -->\n```console\ngraphopt optimize b\n```\n```text\ngraphopt no\n```\n"
    found = [(command.line, command.text, command.reason) for command in docs.commands(text)]
    assert found == [
        (3, "graphopt passes", ""),
        (5, "graphopt inspect a.onnx", ""),
        (10, "graphopt optimize b", "why"),
    ]
