"""The rules of the house that code can check: what imports what, and what the package consists of."""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import networkx
import pytest

from tools import house

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
ENGINE = ROOT / "graphopt"
ROOMS = ROOT / "passes"
# A module imports only what stands left of it.
ORDER = (
    "errors",
    "util",
    "ir",
    "record",
    "data",
    "runtime",
    "execution",
    "metrics",
    "calibration",
    "backends",
    "cost",
    "solve",
    "targets",
    "pipeline",
    "analysis",
    "report",
    "api",
    "ui",
    "cli",
)
OWNERS = {"onnx": "ir", "onnx_graphsurgeon": "ir", "onnxruntime": "runtime"}

# Run by another interpreter, in an environment that has no graphopt; nothing of ours imports them.
WORKERS = (ROOMS / "distill" / "worker", ENGINE / "backends" / "workers")

pytestmark = pytest.mark.skipif(not ENGINE.is_dir(), reason="needs the checkout")


def is_worker(path: Path) -> bool:
    return any(path.is_relative_to(folder) for folder in WORKERS)


def sources(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*.py")) if "__pycache__" not in path.parts)


@cache
def statements(path: Path) -> tuple[ast.AST, ...]:
    """The imports of a file and its ``if TYPE_CHECKING``."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    wanted = (ast.Import, ast.ImportFrom, ast.If)
    return tuple(node for node in ast.walk(tree) if isinstance(node, wanted))


def imports(path: Path) -> Iterator[str]:
    """Every module a file imports, at any depth; relative ones resolved, names from a package included.

    What stands under ``if TYPE_CHECKING`` counts too, except an import upwards: types may know their users.
    """
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in statements(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, (base, node.module)))
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def typing_only(path: Path) -> set[str]:
    """The modules a file imports for types alone."""
    found: set[str] = set()
    for node in statements(path):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for inner in ast.walk(node):
                if isinstance(inner, ast.ImportFrom) and inner.module:
                    found |= {inner.module, *(f"{inner.module}.{alias.name}" for alias in inner.names)}
    return found


def room(module: str) -> str | None:
    """The room of the engine a dotted name lies in."""
    parts = module.split(".")
    return parts[1] if parts[0] == "graphopt" and len(parts) > 1 and parts[1] in ORDER else None


def engine_files() -> list[Path]:
    return [path for path in sources(ENGINE) if path.parent != ENGINE or path.stem in ORDER]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", engine_files(), ids=name_of)
def test_imports_point_one_way(path: Path) -> None:
    own = path.relative_to(ENGINE).with_suffix("").parts[0]
    upwards = {
        module
        for module in imports(path)
        if (other := room(module)) is not None and ORDER.index(other) > ORDER.index(own)
    }
    assert not upwards - typing_only(path)


@pytest.mark.parametrize("path", [*sources(ENGINE)], ids=name_of)
def test_the_engine_imports_no_room_by_name(path: Path) -> None:
    assert not [module for module in imports(path) if module.startswith("graphopt.passes")]


@pytest.mark.parametrize("path", [*sources(ENGINE), *sources(ROOMS)], ids=name_of)
def test_only_their_owners_import_onnx_and_onnxruntime(path: Path) -> None:
    if is_worker(path):
        pytest.skip("runs in an environment of its own")
    own = path.relative_to(ROOT).parts[1] if path.is_relative_to(ENGINE) else "passes"
    foreign = {m.split(".")[0] for m in imports(path)} & OWNERS.keys()
    assert not {package for package in foreign if OWNERS[package] != own}


@pytest.mark.parametrize("path", [*sources(ROOMS)], ids=name_of)
def test_rooms_do_not_know_each_other(path: Path) -> None:
    parts = path.relative_to(ROOMS).parts
    own = parts[0] if len(parts) > 1 else ""
    others = {folder.name for folder in ROOMS.iterdir() if folder.is_dir()} - {own}
    for module in imports(path):
        for prefix in ("passes.", "graphopt.passes."):
            if module.startswith(prefix):
                assert module.removeprefix(prefix).split(".")[0] not in others


def test_the_package_list_equals_the_folders() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = {
        *(str(p.parent.relative_to(ROOT)).replace("/", ".") for p in sources(ENGINE)),
        *(str(Path("graphopt") / p.parent.relative_to(ROOT)).replace("/", ".") for p in sources(ROOMS)),
    }
    assert sorted(listed) == sorted(found)


def test_every_package_has_an_init() -> None:
    folders = {path.parent for top in (ENGINE, ROOMS) for path in sources(top)}
    assert not [str(folder) for folder in folders if not (folder / "__init__.py").exists()]


def test_passes_is_not_imported_by_its_bare_name() -> None:
    for top in (ENGINE, ROOMS, ROOT / "tests"):
        for path in sources(top):
            assert not [m for m in imports(path) if m.split(".")[0] == "passes" and ROOMS not in path.parents]


# Distributions whose modules are called otherwise; what stands in extras is imported where it is wanted.
MODULES = {"pillow": "PIL", "ml-dtypes": "ml_dtypes", "protobuf": "google", "jinja2": "jinja2"}
OPTIONAL = {"distributed", "fsspec", "starlette", "torch", "uvicorn"}


def test_everything_that_is_imported_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {re.split(r"[><=;\[ ]", text, maxsplit=1)[0].lower() for text in project["dependencies"]}
    declared = {MODULES.get(name, name.replace("-", "_")) for name in names}
    used = {
        module.split(".")[0]
        for path in (*sources(ENGINE), *sources(ROOMS))
        if not is_worker(path)
        for module in set(absolute_imports(path)) - typing_only(path)
    }
    foreign = used - set(sys.stdlib_module_names) - {"graphopt"} - OPTIONAL
    assert foreign <= declared, foreign - declared


def absolute_imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield node.module


def test_the_picture_of_the_house_is_true() -> None:
    drawn = house.BLOCK.search(house.PAGE.read_text("utf-8"))
    assert drawn is not None and drawn[0] == house.picture(), "run: python tools/house.py"


def test_the_picture_shows_what_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """An arrow more, and it is drawn; one that follows from others is not."""
    assert house.imports().has_edge("pipeline", "errors") and "pipeline --> errors" not in house.picture()
    graph = house.imports()
    graph.remove_edge("cost", "runtime")
    monkeypatch.setattr(house, "imports", lambda: graph)
    assert "cost --> runtime" not in house.picture()


def test_the_table_of_the_house_is_in_the_order_of_imports() -> None:
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", house.PAGE.read_text("utf-8"), re.MULTILINE)
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert named == [name for name in ORDER if (ENGINE / name).is_dir() or (ENGINE / f"{name}.py").is_file()]


MOST_FILES = 14  # Python files in a folder
# Files that know each other for types alone: a graph, its nodes and its tensors; a model and its checker.
INHERENT = (
    {"graphopt.ir.graph", "graphopt.ir.node", "graphopt.ir.tensor"}
    | {"graphopt.ir.traversal", "graphopt.ir.io.weights"},
    {"graphopt.ir.model", "graphopt.ir.analysis.checker"},
)


def modules() -> dict[str, Path]:
    """Every file of the engine and of the passes by its dotted name."""
    named = {}
    for top in (ENGINE, ROOMS):
        for path in sources(top):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            named[f"graphopt.{name}" if top == ROOMS else name] = path
    return named


def imported_at_once(tree: ast.AST, *, types: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    """The import statements that run when a file is imported; with ``types`` also those for types alone."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        elif not isinstance(node, ast.If) or types or ast.unparse(node.test) != "TYPE_CHECKING":
            yield from imported_at_once(node, types=types)


def import_graph(*, types: bool) -> networkx.DiGraph:
    """Which file imports which."""
    files, graph = modules(), networkx.DiGraph()
    for name, path in files.items():
        package = name if path.stem == "__init__" else name.rpartition(".")[0]
        for node in imported_at_once(ast.parse(path.read_text(encoding="utf-8")), types=types):
            if isinstance(node, ast.Import):
                graph.add_edges_from((name, alias.name) for alias in node.names if alias.name in files)
                continue
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                target = f"{base}.{alias.name}" if f"{base}.{alias.name}" in files else base
                if target in files and target != name:
                    graph.add_edge(name, target)
    return graph


def circles(graph: networkx.DiGraph) -> list[set[str]]:
    return [part for part in networkx.strongly_connected_components(graph) if len(part) > 1]


def test_a_planted_circle_of_files_is_found() -> None:
    graph = import_graph(types=False)
    assert graph.has_edge("graphopt.ir", "graphopt.ir.model")
    graph.add_edge("graphopt.ir.model", "graphopt.ir")
    assert any(part >= {"graphopt.ir", "graphopt.ir.model"} for part in circles(graph))


def test_no_files_import_each_other_in_a_circle() -> None:
    assert not circles(import_graph(types=False))


def test_files_know_each_other_for_types_only_where_that_is_inherent() -> None:
    assert [part for part in circles(import_graph(types=True)) if part not in INHERENT] == []


@pytest.mark.parametrize("top", ["tools", "tests"])
def test_folders_of_tools_and_tests_are_small(top: str) -> None:
    counts = Counter(path.parent for path in sources(ROOT / top))
    assert counts
    assert {name_of(folder): count for folder, count in counts.items() if count > MOST_FILES} == {}


@pytest.mark.parametrize("folder", sorted({path.parent for path in modules().values()}), ids=name_of)
def test_folders_are_small_and_say_what_is_in_them(folder: Path) -> None:
    files = sorted(folder.glob("*.py"))
    assert len(files) <= MOST_FILES
    if folder in (ENGINE, ROOMS) or len(files) < 3:
        return
    text = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))) or ""
    named = re.findall(r"^- ``(\w+)``: \S", text, re.MULTILINE)
    inside = {path.stem for path in files if not path.stem.startswith("__")}
    assert folder.name == "cli" or sorted(named) == sorted(
        inside | {path.parent.name for path in folder.glob("*/__init__.py")}
    )
