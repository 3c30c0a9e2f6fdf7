"""Every test can fail: it asserts, expects an error, or calls a helper that does."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

TESTS = Path(__file__).parent
FAILING = {"raises", "warns", "fail", "check"}  # of pytest; ``Model.check`` raises for what is not valid
Function = ast.FunctionDef | ast.ClassDef


class Module:
    """The functions and classes of a file of tests, and what it imports from others."""

    def __init__(self, path: Path, text: str) -> None:
        tree = ast.parse(text)
        self.path = path
        self.functions = {node.name: node for node in ast.walk(tree) if isinstance(node, Function)}
        self.imports = {
            alias.asname or alias.name: (node.module, alias.name)
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("tests.")
            for alias in node.names
        }

    def named(self, name: str) -> Iterator[tuple[Module, str]]:
        """Where a name that this file uses may be defined: here, in another file, or as a fixture."""
        if name in self.functions:
            yield self, name
        elif name in self.imports:
            module, original = self.imports[name]
            base = TESTS.parent.joinpath(*module.split("."))
            path = next((p for p in (base.with_suffix(".py"), base / "__init__.py") if p.exists()), None)
            if path is not None:
                yield from read(path).named(original)
        else:
            for folder in [*self.path.relative_to(TESTS).parents]:
                shared = TESTS / folder / "conftest.py"
                if shared.exists() and name in read(shared).functions:
                    yield read(shared), name


@cache
def read(path: Path) -> Module:
    return Module(path, path.read_text(encoding="utf-8"))


def fails_by_itself(node: ast.AST) -> bool:
    if isinstance(node, ast.Assert | ast.Raise):
        return True
    name = getattr(node.func, "attr", getattr(node.func, "id", "")) if isinstance(node, ast.Call) else ""
    return name in FAILING or name.startswith("assert_")


def can_fail(module: Module, name: str, seen: set[tuple[Path, str]]) -> bool:
    if (module.path, name) in seen:
        return False
    seen.add((module.path, name))
    inside = list(ast.walk(module.functions[name]))
    used = {
        node.id if isinstance(node, ast.Name) else node.arg
        for node in inside
        if isinstance(node, ast.Name | ast.arg)
    }
    return any(map(fails_by_itself, inside)) or any(
        can_fail(*place, seen) for other in used for place in module.named(other)
    )


def idle(module: Module) -> list[str]:
    """The tests of a file that nothing can make fail but a crash."""
    tests = [name for name in module.functions if name.startswith("test_")]
    return [
        f"{module.path.relative_to(TESTS)}::{name}" for name in tests if not can_fail(module, name, set())
    ]


def test_every_test_can_fail() -> None:
    assert not [name for path in sorted(TESTS.rglob("test_*.py")) for name in idle(read(path))]


def test_a_test_that_only_runs_is_found() -> None:
    text = "def run():\n    return 1\n\ndef checked():\n    assert run()\n\ndef test_it():\n    "
    for body, is_idle in (("run()", True), ("checked()", False), ("assert run()", False)):
        planted = Module(TESTS / "test_planted.py", text + body)
        assert idle(planted) == (["test_planted.py::test_it"] if is_idle else [])
