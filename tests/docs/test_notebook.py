"""The notebook runs from its first cell to its last, and ends with a model that keeps its limits."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.docs import pages as docs

NOTEBOOK = docs.ROOT / "docs" / "notebook.ipynb"


def cells() -> list[str]:
    document = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in document["cells"] if cell["cell_type"] == "code"]


def test_it_is_kept_without_outputs() -> None:
    document = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert document["nbformat"] == 4 and len(cells()) >= 5
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in document["cells"])


@pytest.mark.slow
def test_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(docs.ROOT / "models", tmp_path / "models")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for number, source in enumerate(cells()):
        exec(compile(source, f"cell {number}", "exec"), names)
    assert names["gate"].passed and Path("chosen.onnx").is_file()
    assert names["size"] < 0.4 * Path("models/fashion_residual.onnx").stat().st_size
    assert names["chosen"]._repr_html_().startswith("<div")
