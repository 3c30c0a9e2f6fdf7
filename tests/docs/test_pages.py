"""The site is complete: a page for every pass, links that lead somewhere, options from the code."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

from graphopt.pipeline.spec.registry import passes

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def hooks() -> Any:
    spec = importlib.util.spec_from_file_location("docs_hooks", ROOT / "tools" / "docs_hooks.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["clean", "fold-bn", "surgeon", "prune", "quant"])
def test_options_come_from_the_code(name: str, hooks: Any) -> None:
    text = hooks.on_page_markdown(f"# x\n\n{{{{ options:{name} }}}}\n")
    for option in passes().load(name).describe():
        assert f"| `{option.name}` |" in text
    assert all(line.count("|") == 5 for line in text.splitlines() if line.startswith("|"))


def test_help_comes_from_the_code(hooks: Any) -> None:
    assert "--calibration DATA" in hooks.on_page_markdown("{{ help:optimize }}")
    with pytest.raises(ValueError, match="no command"):
        hooks.on_page_markdown("{{ help:nothing }}")


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: str(page.relative_to(DOCS)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+\.(?:md|svg|png))(?:#[^)]*)?\)", page.read_text("utf-8")):
        assert (page.parent / target).exists(), target


def test_nothing_heavy_lies_in_the_docs() -> None:
    assert sum(path.stat().st_size for path in DOCS.rglob("*") if path.is_file()) < 600_000
