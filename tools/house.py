"""Draw which part of the engine imports which, and write the picture into CONTRIBUTING.md.

An arrow points to what is imported; one that follows from others is left out.  Imports within functions
count, imports for types alone do not.

Usage: python tools/house.py
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import networkx

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "CONTRIBUTING.md"
BLOCK = re.compile(r"(?<=```mermaid\n).*?(?=```)", re.DOTALL)


def picture() -> str:
    """The Mermaid text of the picture."""
    graph = networkx.transitive_reduction(imports())
    order = list(networkx.lexicographical_topological_sort(graph))
    lines = [f"    {name} --> {other}" for name in order for other in sorted(graph[name], key=order.index)]
    return "\n".join(["flowchart TD", *lines, ""])


def imports() -> networkx.DiGraph:
    """Which part of the engine, or ``passes``, imports which."""
    graph = networkx.DiGraph()
    for folder, package in ((ROOT / "graphopt", "graphopt"), (ROOT / "passes", "graphopt.passes")):
        for path in sorted(folder.rglob("*.py")):
            own = f"{package}.{'.'.join(path.relative_to(folder).with_suffix('').parts)}"
            part = own.split(".")[1]
            if not part.startswith("__"):
                tree = ast.parse(path.read_text(encoding="utf-8"))
                others = {module.split(".")[1] for module in imported(tree) if module.count(".")}
                graph.add_edges_from((part, other) for other in others - {part} if is_part(other))
    return graph


def is_part(name: str) -> bool:
    """Whether a name after ``graphopt.`` is one of the packages or files of the engine."""
    return (ROOT / "graphopt" / name).is_dir() or (ROOT / "graphopt" / f"{name}.py").is_file()


def imported(tree: ast.AST) -> Iterator[str]:
    """The modules of graphopt that a file imports, except for types."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("graphopt."))
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            if node.module == "graphopt":
                yield from (f"graphopt.{alias.name}" for alias in node.names)
            elif node.module.startswith("graphopt."):
                yield node.module
        yield from imported(node)


def main() -> None:
    """Write the picture."""
    PAGE.write_text(BLOCK.sub(lambda _: picture(), PAGE.read_text("utf-8"), count=1), encoding="utf-8")


if __name__ == "__main__":
    main()
